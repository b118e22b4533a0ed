/**
 * What a partition answers. Expected refusals are values; the broker maps them to Kafka's error codes.
 * `walNumber`: the answer, a refusal too, may leave once this WAL entry is durable, because it reveals
 * what that entry changed (I1). It is 0 when everything it reveals is durable.
 */
import type { LeaderEpoch, Offset, ProducerEpoch, ProducerId } from "../base/ids.ts";
import type { TransactionEnd } from "./producer-state.ts";

export type AppendOutcome =
  | {
      readonly kind: "appended" | "duplicate";
      /** Offset of the first record; for a duplicate, the one it got the first time. */
      readonly baseOffset: Offset;
      /** −1 with CreateTime. */
      readonly logAppendTimeMs: number;
      readonly logStart: Offset;
      /** For a duplicate that of its original, which may still be in flight. */
      readonly walNumber: number;
    }
  | AppendRefusal;

/**
 * Nothing was changed. `logStart` belongs into the answer: without it the Java producer takes
 * UNKNOWN_PRODUCER_ID for a passing trouble and sends the same batch again until it times out.
 */
export type AppendRefusal = { readonly walNumber: number; readonly logStart: Offset } & (
  | {
      /** KIP-98: the producer's next sequence is another one. */
      readonly kind: "out-of-order-sequence";
      readonly expected: number;
      readonly received: number;
    }
  /** KIP-360: nothing is known of this producer id and the sequence is not 0. */
  | { readonly kind: "unknown-producer" }
  | { readonly kind: "stale-producer-epoch"; readonly current: ProducerEpoch }
  /** A retry that certainly was appended, but its offset is no longer remembered. */
  | { readonly kind: "duplicate-sequence" }
  /** Not part of a transaction, while the producer has one open here. */
  | { readonly kind: "invalid-transaction-state" }
);

/** What ends a producer's transaction in a partition. */
export interface MarkerWish {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  readonly coordinatorEpoch: number;
  readonly outcome: TransactionEnd;
  /**
   * 2: each transaction has an epoch of its own, and its marker has a higher one; a marker with the epoch of
   * the open transaction is then a late one of the transaction before (KIP-1228). Default 0.
   */
  readonly transactionVersion?: number;
}

export type MarkOutcome =
  | { readonly kind: "marked"; readonly offset: Offset; readonly walNumber: number }
  | {
      readonly kind: "stale-producer-epoch";
      readonly current: ProducerEpoch;
      readonly walNumber: number;
    }
  /** A later coordinator has ended a transaction of this producer here. */
  | { readonly kind: "coordinator-fenced"; readonly walNumber: number };

export type TrimOutcome =
  | { readonly kind: "trimmed"; readonly logStart: Offset; readonly walNumber: number }
  | { readonly kind: "out-of-range" };

/** "committed": nothing of a transaction that is not committed. */
export type Isolation = "uncommitted" | "committed";

export interface ReadOptions {
  readonly offset: Offset;
  readonly bytesMax: number;
  /** The first batch comes even if it is larger than `bytesMax` (KIP-74). */
  readonly orOneBatch: boolean;
  /** Nothing is read from segments: what lies there is left to a later read. Default false. */
  readonly memoryOnly?: boolean;
  /** "committed": only what lies below the last stable offset, and what of it was aborted is named. */
  readonly isolation?: Isolation;
}

export type ReadOutcome =
  | {
      readonly kind: "read";
      /** Whole batches; the first may begin below the offset that was asked for. */
      readonly chunks: readonly Uint8Array[];
      readonly bytes: number;
      readonly highWatermark: Offset;
      readonly lastStable: Offset;
      readonly logStart: Offset;
      /**
       * With isolation "committed": all aborted transactions with records in `chunks`, by first offset. Each
       * counts from its first offset to its producer's next abort marker.
       */
      readonly aborted: readonly AbortedRange[];
    }
  | {
      readonly kind: "out-of-range";
      readonly logStart: Offset;
      readonly lastStable: Offset;
      readonly highWatermark: Offset;
    }
  /** The range was damaged and is quarantined (I10); reading goes on at `resumeAt`. */
  | {
      readonly kind: "damaged";
      readonly resumeAt: Offset;
      readonly lastStable: Offset;
      readonly highWatermark: Offset;
      readonly logStart: Offset;
    };

export interface AbortedRange {
  readonly producerId: ProducerId;
  readonly firstOffset: Offset;
}

export interface TimestampAndOffset {
  /** −1: none found. */
  readonly timestamp: number;
  readonly offset: Offset;
  readonly leaderEpoch: LeaderEpoch;
}
