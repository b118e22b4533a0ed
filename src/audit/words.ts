/** The words in which a history is told: kinds of operations and of their steps, outcomes, and what a record carried. */

/** What an operation is about; each allows certain steps (operation.ts). */
export type OperationKind =
  | "send"
  | "poll"
  /**
   * Sends, polls, commits and the handling of records that take effect together or not at all: ok is committed,
   * fail aborted. Its polls show committed data only.
   */
  | "transaction"
  /** A producer was made the only one of its transactional id: all others before it are fenced. */
  | "init"
  | "assign"
  | "subscribe"
  /** The client is gone, and a fresh one that knows nothing goes on under its name. */
  | "crash"
  /** A member learned its part of a group's generation. */
  | "join"
  /** A handler of a group's member has finished with records. */
  | "handle"
  | "commit"
  | "fetch-offsets"
  /** A group's position was set by somebody who meant it: an admin, a seek, a reset policy. */
  | "reset"
  /** Watermarks, and lookups by time. */
  | "look";

/**
 * ok: it took effect. fail: it surely did not, and never will. unknown: it may have, or may yet. An operation
 * that was never ended is unknown.
 */
export type Outcome = "ok" | "fail" | "unknown";

export const StepKind = {
  send: 0,
  poll: 1,
  /** A reader came to the end of a partition, or a group to the end of what it had to handle. */
  end: 2,
  rebalanced: 3,
  take: 4,
  own: 5,
  handled: 6,
  commit: 7,
  committed: 8,
  reset: 9,
  logStart: 10,
  lastStable: 11,
  highWatermark: 12,
  logEnd: 13,
  lookup: 14,
  /** A record shown to a reader who asked for uncommitted ones too: it may be aborted yet. */
  glimpse: 15,
} as const;
export type StepKind = (typeof StepKind)[keyof typeof StepKind];

declare const brand: unique symbol;
/** A partition or a group of one history; only it makes them. */
export type PartitionNumber = number & { readonly [brand]: "audit partition" };
export type GroupNumber = number & { readonly [brand]: "audit group" };

/** What a record carried. Each is compared where both writer and reader told it. */
export interface RecordFacts {
  /** A checksum over the value's bytes. */
  readonly payload?: number;
  readonly key?: string | null;
  /** A checksum over names and values of the headers, in order. */
  readonly headers?: number;
  /** Where the topic keeps the producer's time; tell it not where the broker sets it. */
  readonly timestampMs?: number;
  /** It says that its key is gone, and may leave a compacted partition itself. Default false. */
  readonly isTombstone?: boolean;
}

/** What may leave a partition: nothing, its oldest records (log start moves), or records superseded by a newer one of their key. */
export type Cleanup = "none" | "delete" | "compact" | "compact,delete";

export interface HistoryOptions {
  /** Longest time that a transaction may be open, in ms, with all outages: from then on its readers are stuck. */
  readonly openMsMax?: number;
}

export interface ClientOptions {
  /** Whether what it sends is stored once and in order whatever happens. Default true. */
  readonly idempotent?: boolean;
}

/**
 * What a generation says. classic: it is the whole group's. consumer: each member's epoch is its own. both: a
 * group that is empty when a member of the other protocol comes begins again at 1, so it is not asked for.
 */
export type GroupProtocol = "classic" | "consumer" | "both";

export interface GroupOptions {
  /** Default "classic". */
  readonly protocol?: GroupProtocol;
}

/** Row 0 of no column: "there is none". */
export const NONE = -1;

/** What a broker says of a partition; each may be left out. */
export interface Watermarks {
  readonly logStart?: number;
  readonly lastStable?: number;
  readonly highWatermark?: number;
  readonly logEnd?: number;
}
