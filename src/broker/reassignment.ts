/**
 * Moves of partitions that an admin wishes. A wish is one node, written in the journal as the preferred owner of
 * a partition; the owner of now gives the partition to it as soon as it is there (cluster/moves.ts), and whoever
 * takes over after a death looks at it first. Until then the move is under way, and can be called off.
 */
import type { NodeId, PartitionIndex } from "../base/ids.ts";
import { type Clock, sleep } from "../base/ports.ts";
import type { Journal } from "../metadata/journal.ts";
import { type ClusterState, NO_NODE, type PartitionState, type TopicState } from "../metadata/state.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { whenToldToAll } from "./cluster/cluster.ts";
import type { Services } from "./context.ts";
import { accepted, attempt, type Refusal, refusal, voidRefusal } from "./refusal.ts";

/** A partition that lies with another node than the one that is preferred. */
export interface PendingMove {
  readonly from: NodeId;
  readonly to: NodeId;
  /** Whether that node is there to take it. */
  readonly isPossible: boolean;
}

/** Null: the partition is where it is wished, or there is no wish. */
export function pendingMove({ owner, preferred }: PartitionState, state: ClusterState): PendingMove | null {
  const from = state.brokers.get(owner)?.nodeId ?? NO_NODE;
  if (preferred === null || preferred === from) return null;
  const isPossible = [...state.brokers.values()].some(
    ({ nodeId, status, draining }) => nodeId === preferred && status === "live" && !draining,
  );
  return { from, to: preferred, isPossible };
}

/** Writes the wish down; null takes it back. Resolves when all who answer know of it. */
export async function prefer(
  topic: TopicState,
  partition: PartitionIndex,
  node: NodeId | null,
  { journal, cluster }: Services,
): Promise<Refusal> {
  const wish = { topicId: topic.id, partition, nodeId: node ?? NO_NODE };
  const outcome = await attempt(() => journal.append({ kind: "prefer", ...wish }));
  if ("errorCode" in outcome) return outcome;
  if (outcome.kind === "void") return outcome.reason === "level" ? tooOld : voidRefusal(outcome.reason);
  await whenToldToAll(cluster.peers, journal);
  return accepted;
}

const tooOld = refusal(
  ErrorCode.UNSUPPORTED_VERSION,
  "Partitions move from format level 2 on; raise the feature holdfast.format when every broker runs a version that knows it.",
);

/** How often a move is looked at: the plan that makes it is as slow. */
const lookMs = 100;

/** Whether the partition came to lie with that node in time. */
export async function whenMoved(
  topic: TopicState,
  index: PartitionIndex,
  to: NodeId,
  { clock, journal, endMs }: { readonly clock: Clock; readonly journal: Journal; readonly endMs: number },
): Promise<boolean> {
  for (;;) {
    const { topics, brokers } = journal.state;
    const owner = topics.get(topic.id)?.partitions[index]?.owner;
    if (owner === undefined) return false;
    if (brokers.get(owner)?.nodeId === to) return true;
    if (clock.monotonicMs() >= endMs) return false;
    await sleep(clock, lookMs);
  }
}
