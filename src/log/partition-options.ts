/** What a partition is before it is loaded: what the journal and its newest segment say of it. */
import type { LeaderEpoch, Offset, PartitionIndex, TopicId } from "../base/ids.ts";
import type { ColdReader } from "./cold-reader.ts";
import type { OffsetRange } from "./damaged-ranges.ts";
import type { LogConfig } from "./log-config.ts";
import type { ProducerBounds } from "./producer-state.ts";
import type { FooterState } from "./segment-format.ts";
import type { PartitionSegments } from "./segment-list.ts";

export interface PartitionOptions {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  /** Of this ownership. */
  readonly leaderEpoch: LeaderEpoch;
  readonly config: LogConfig;
  /** As the journal has them. */
  readonly logStart: Offset;
  readonly flushedEnd: Offset;
  /** Whether records of older WALs may be missing in the segments: the next FLUSH then needs a row in any case. */
  readonly isDependent: boolean;
  /** Damaged ranges of older WALs. */
  readonly holes: readonly OffsetRange[];
  /** Of the newest segment's footer; undefined: there is no segment. */
  readonly state: FooterState | undefined;
  /** Asks the journal, at each call. */
  readonly segments: () => PartitionSegments;
  readonly cold: ColdReader;
  readonly producerBounds?: ProducerBounds;
}
