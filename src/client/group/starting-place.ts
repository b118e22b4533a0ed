/**
 * Where a group begins in a partition. What it has committed counts; else the partition may be one that
 * was added to a topic which the group reads, all of whose records are the group's to read (C24), or one
 * of a topic that is new to the group, for which the settings count. To tell them apart after a restart,
 * a group that does not begin at the start writes beside each offset how many partitions the topic had then.
 */
import type { StartingPoint } from "../consumer-options.ts";
import type { TopicPartition } from "./assignor.ts";
import type { CommittedOffset } from "./offsets.ts";

export interface StartingPlace {
  readonly to: StartingPoint;
  /** What the group has committed, if that is where it begins. */
  readonly committed: CommittedOffset | undefined;
  /** To write beside each offset from now on. */
  readonly metadata: string | null;
}

/** `committed`: all that the group has of the topic. `count`: partitions that the topic has now. */
export function startingPlaceOf(
  { topic, partition }: TopicPartition,
  facts: {
    readonly committed: readonly CommittedOffset[];
    readonly count: number;
    readonly from: StartingPoint;
  },
): StartingPlace {
  const { committed, from } = facts;
  const own = committed.find((each) => each.topic === topic && each.partition === partition);
  const ofTopic = committed.filter((each) => each.topic === topic);
  const known = Math.max(-1, ...ofTopic.map(({ metadata }) => countIn(metadata)));
  const count = ofTopic.length === 0 ? facts.count : known;
  const metadata = from === "start" || count < 0 ? null : `${prefix}${count}`;
  if (own !== undefined) return { to: own.offset, committed: own, metadata };
  const isNew = ofTopic.length > 0 && partition >= count;
  return { to: isNew ? "start" : from, committed: undefined, metadata };
}

const prefix = "partitions when the group began: ";

/** −1: it does not say. */
function countIn(metadata: string): number {
  const digits = metadata.startsWith(prefix) ? metadata.slice(prefix.length) : "";
  return /^\d{1,9}$/.test(digits) ? Number(digits) : -1;
}
