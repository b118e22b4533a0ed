/** What a partition answers. Expected refusals are values; the broker maps them to Kafka's error codes. */
import type { LeaderEpoch, Offset, ProducerEpoch } from "../base/ids.ts";

export type AppendOutcome =
  | {
      readonly kind: "appended" | "duplicate";
      /** Offset of the first record; for a duplicate, the one it got the first time. */
      readonly baseOffset: Offset;
      /** −1 with CreateTime. */
      readonly logAppendTimeMs: number;
      readonly logStart: Offset;
      /** The answer may leave once this WAL entry is durable (also for a duplicate, whose original may be in flight). */
      readonly walNumber: number;
    }
  /** KIP-98: the producer's next sequence is another one. */
  | { readonly kind: "out-of-order-sequence"; readonly expected: number; readonly received: number }
  /** KIP-360: nothing is known of this producer id and the sequence is not 0. */
  | { readonly kind: "unknown-producer" }
  | { readonly kind: "stale-producer-epoch"; readonly current: ProducerEpoch }
  /** An old duplicate beyond the window of remembered batches. */
  | { readonly kind: "duplicate-sequence" };

export type ReadOutcome =
  | {
      readonly kind: "read";
      /** Whole batches; the first may begin below the offset that was asked for. */
      readonly chunks: readonly Uint8Array[];
      readonly bytes: number;
      readonly highWatermark: Offset;
      readonly lastStable: Offset;
      readonly logStart: Offset;
    }
  | { readonly kind: "out-of-range"; readonly logStart: Offset; readonly highWatermark: Offset }
  /** The range was damaged and is quarantined (I10); reading goes on at `resumeAt`. */
  | {
      readonly kind: "damaged";
      readonly resumeAt: Offset;
      readonly highWatermark: Offset;
      readonly logStart: Offset;
    };

export interface TimestampAndOffset {
  /** −1: none found. */
  readonly timestamp: number;
  readonly offset: Offset;
  readonly leaderEpoch: LeaderEpoch;
}
