/**
 * Where a partition is served, as handlers ask it: the partition itself, when it is here and takes what is
 * asked, or what its client is told instead. A partition that is loading, or on its way to another broker, is
 * nobody's to append to; clients that hear NOT_LEADER_OR_FOLLOWER look for the owner again and go on.
 */
import { type LeaderEpoch, leaderEpoch, type NodeId, nodeId, type TopicId } from "../base/ids.ts";
import type { Partition } from "../log/partition.ts";
import type { PartitionState } from "../metadata/state.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { addressOf, type BrokerAddress } from "./cluster-view.ts";
import type { RequestContext, Services } from "./context.ts";
import { epochMismatch } from "./leader-epoch-check.ts";

/** "reads": records below the high watermark. "owner": appends, and whatever tells an end or denies something. */
export type Use = "reads" | "owner";

/**
 * The partition, or why not; of a topic that is not there UNKNOWN_TOPIC_OR_PARTITION. `claimed`: the leader
 * epoch that the client believes in (KIP-320), −1 when it names none.
 */
export function placeOf(
  topic: TopicId | undefined,
  index: Partition["partition"],
  use: Use,
  { partitions, journal }: Pick<Services, "partitions" | "journal">,
  claimed: LeaderEpoch = noEpoch,
): Partition | ErrorCode {
  if (topic === undefined) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  const partition = partitions.get(topic, index);
  if (partition !== undefined && (use === "reads" ? partition.isServing : partition.takesAppends)) {
    return epochMismatch(claimed, partition.leaderEpoch) ?? partition;
  }
  const state = journal.state.topics.get(topic)?.partitions[index];
  if (state === undefined) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  return epochMismatch(claimed, state.leaderEpoch) ?? ErrorCode.NOT_LEADER_OR_FOLLOWER;
}

const noEpoch = leaderEpoch(-1);
const noNode = nodeId(-1);
const none: readonly BrokerAddress[] = [];

/** Told along with an error that sends a client away (KIP-951). */
export interface CurrentLeader {
  readonly leaderId: NodeId;
  readonly leaderEpoch: LeaderEpoch;
}
export const noLeader: CurrentLeader = { leaderId: noNode, leaderEpoch: noEpoch };

/** Whether the client is to ask another broker, or the same one in a later epoch. */
export const sendsAway = (code: ErrorCode): boolean =>
  code === ErrorCode.NOT_LEADER_OR_FOLLOWER || code === ErrorCode.FENCED_LEADER_EPOCH;

/** Whom the answer to one request sends its client to, with their addresses. */
export class Referrals {
  readonly #context: RequestContext;
  /** Not made for the many answers that send nobody away. */
  #addresses: Map<NodeId, BrokerAddress> | null = null;

  constructor(context: RequestContext) {
    this.#context = context;
  }

  /** Each once. */
  get endpoints(): readonly BrokerAddress[] {
    return this.#addresses === null ? none : [...this.#addresses.values()];
  }

  /** The owner as the journal has it; none when it is not live. */
  leaderOf(topic: TopicId | undefined, index: PartitionState["index"]): CurrentLeader {
    const state =
      topic === undefined
        ? undefined
        : this.#context.services.journal.state.topics.get(topic)?.partitions[index];
    const address = state === undefined ? undefined : addressOf(state.owner, this.#context);
    if (state === undefined || address === undefined) return noLeader;
    this.#addresses ??= new Map();
    this.#addresses.set(address.nodeId, address);
    return { leaderId: address.nodeId, leaderEpoch: state.leaderEpoch };
  }
}
