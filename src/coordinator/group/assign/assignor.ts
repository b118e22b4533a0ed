/** What the broker is asked when it divides partitions among members itself (KIP-848). Assignors are pure. */
import type { TopicId } from "../../../base/ids.ts";
import type { PartitionSet } from "../partition-set.ts";

export interface Candidate {
  readonly memberId: string;
  /** Topics that it wants, of those that are there. */
  readonly topics: ReadonlySet<TopicId>;
  /** What it was meant to have so far. */
  readonly target: PartitionSet;
}

/** What each member is to have. Every partition of a topic that somebody wants is given to exactly one who wants it. */
export type Assignor = (
  candidates: readonly Candidate[],
  partitionCounts: ReadonlyMap<TopicId, number>,
) => ReadonlyMap<string, PartitionSet>;
