/**
 * Carries out what share groups wish for elsewhere: that share state begins, or ends. It is told to the group
 * whatever came of it, so that nothing is forgotten: what failed is wished for again with the next heartbeat.
 */
import type { PartitionIndex, TopicId } from "../../base/ids.ts";
import type { PartitionSet } from "../../coordinator/group/partition-set.ts";
import type { ShareWork, StateBeginning } from "../../coordinator/group/share-request.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import type { Services } from "../context.ts";
import { accepted, type Refusal, refusal } from "../refusal.ts";
import type { SharePartitionKey, SharePersister, Told } from "./persister.ts";

/** In Kafka's words: its tools for share groups show what the broker says. */
export const noSuchPartition: Refusal = refusal(
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  "This server does not host this topic-partition.",
);

/** Calls of one group that are under way at a time. */
const callsAtOnceMax = 64;

export interface Carried {
  readonly began: PartitionSet;
  /** Topics of which all share state is gone. */
  readonly gone: ReadonlySet<TopicId>;
  /** What came of each, in the order of `work.beginning`. */
  readonly beginnings: readonly Refusal[];
  /** What was refused of each topic that was to go. */
  readonly endings: ReadonlyMap<TopicId, Refusal>;
}

/** Carries it out, and tells the group. Rejects where the log of this broker fails. */
export async function settleWork(
  { groups, sharePersister, env }: Pick<Services, "groups" | "sharePersister" | "env">,
  groupId: string,
  work: ShareWork,
): Promise<Carried> {
  const carried = await carryOut(sharePersister, groupId, work);
  const failed = [...carried.beginnings, ...carried.endings.values()].filter((each) => each !== accepted);
  const [first] = failed;
  if (first !== undefined) {
    // Until it is done nobody of the group reads there, or the group cannot go.
    const why = errorFacts(first.errorCode).name;
    env.log.warn("share-group.state-waits", { group: groupId, count: failed.length, why });
  }
  await groups.run(
    groupId,
    (shard, turn) => shard.share.settled(turn, groupId, work, carried),
    // Whoever has the group now finds in its records what was to be done.
    () => undefined,
  );
  return carried;
}

async function carryOut(persister: SharePersister, groupId: string, work: ShareWork): Promise<Carried> {
  const { beginning, ending, stateEpoch } = work;
  const endings: { readonly topicId: TopicId; readonly partition: PartitionIndex }[] = [];
  for (const [topicId, partitions] of ending) {
    for (const partition of partitions) endings.push({ topicId, partition });
  }
  const begun = await inTurns(beginning, (each) => begin(persister, groupId, stateEpoch, each));
  const ended = await inTurns(endings, (each) => end(persister, { groupId, ...each }));
  const began = new Map<TopicId, Set<PartitionIndex>>();
  for (const [at, { topicId, partition }] of beginning.entries()) {
    if (begun[at]?.kind !== "told") continue;
    const partitions = began.get(topicId);
    if (partitions === undefined) began.set(topicId, new Set([partition]));
    else partitions.add(partition);
  }
  const refused = new Map<TopicId, Refusal>();
  for (const [at, { topicId }] of endings.entries()) {
    const refusal = refusalOf(ended[at] as Told<void>);
    // Of a topic that was deleted meanwhile nothing is left.
    const isDone = [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION].some(
      (code) => code === refusal.errorCode,
    );
    if (!isDone) refused.set(topicId, refusal);
  }
  return {
    began,
    gone: new Set([...ending.keys()].filter((topicId) => !refused.has(topicId))),
    beginnings: begun.map(refusalOf),
    endings: refused,
  };
}

/**
 * Where the offset is given, state that is there begins anew: with a number after its newest, so that whoever still
 * knows the old one is fenced, whatever the clock of who decided it says.
 */
async function begin(
  persister: SharePersister,
  groupId: string,
  stateEpoch: number,
  { topicId, partition, startOffset }: StateBeginning,
): Promise<Told<void>> {
  const key = { groupId, topicId, partition };
  if (startOffset < 0) return persister.initialize(key, { stateEpoch, startOffset });
  const newest = await persister.readSummary(key);
  if (newest.kind !== "told") return newest;
  const next = Math.max(stateEpoch, newest.value.stateEpoch + 1);
  return persister.initialize(key, { stateEpoch: next, startOffset });
}

/** That which is there now, and none that somebody begins after it. */
async function end(persister: SharePersister, key: SharePartitionKey): Promise<Told<void>> {
  const newest = await persister.readSummary(key);
  return newest.kind === "told" ? persister.delete(key, newest.value.stateEpoch) : newest;
}

export function refusalOf(told: Told<unknown>): Refusal {
  if (told.kind === "told") return accepted;
  return { errorCode: told.errorCode, errorMessage: told.kind === "refused" ? told.errorMessage : null };
}

/** So many at a time; results in the order of what was given. */
export async function inTurns<T, R>(all: readonly T[], work: (each: T) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < all.length) {
      const at = next++;
      results[at] = await work(all[at] as T);
    }
  };
  await Promise.all(Array.from({ length: Math.min(callsAtOnceMax, all.length) }, lane));
  return results;
}
