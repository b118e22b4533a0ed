/**
 * Where the state of share-partitions is kept, as the rest of the broker sees it: here or at another broker of
 * the cluster makes no difference, but for `writeIn`. What is answered is durable (I1); a refusal is final for
 * who asked with these epochs; "away" says nothing: it may have been carried out, and is to be asked again.
 */
import type { LeaderEpoch, Offset, PartitionIndex, TopicId } from "../../base/ids.ts";
import type { StateBatch } from "../../coordinator/share/state-batch.ts";
import type { AppendSession } from "../../log/memory-tail.ts";
import type { ErrorCode } from "../../protocol/errors.ts";

export interface SharePartitionKey {
  readonly groupId: string;
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
}

/** How the state begins, or begins anew. */
export interface Beginning {
  /**
   * At least: what was deleted has had others. Where a start is given, one that is older than that of the state
   * that is there is refused with FENCED_STATE_EPOCH, and the same one was carried out already.
   */
  readonly stateEpoch: number;
  /** −1: not known yet; whoever reads it first sets it, and what is there stays. */
  readonly startOffset: Offset;
}

/** What a leader of the partition has decided since its last write. */
export interface StateChange {
  /** As it was read. */
  readonly stateEpoch: number;
  readonly leaderEpoch: LeaderEpoch;
  /** −1: as it was. What lies before it is forgotten. */
  readonly startOffset: Offset;
  /** Offsets from the start on that are done; −1: not known. */
  readonly deliveryCompleteCount: number;
  /** In order, none over another; each replaces what was said of its offsets before. */
  readonly batches: readonly StateBatch[];
}

export interface ReadState {
  readonly stateEpoch: number;
  /** −1: not known yet. */
  readonly startOffset: Offset;
  readonly batches: readonly StateBatch[];
}

export interface StateSummary {
  readonly stateEpoch: number;
  readonly leaderEpoch: LeaderEpoch;
  /** −1: not known yet, or there is no state at all. */
  readonly startOffset: Offset;
  readonly deliveryCompleteCount: number;
}

/**
 * "refused": FENCED_LEADER_EPOCH (a newer leader has read it), FENCED_STATE_EPOCH (it began anew),
 * UNKNOWN_TOPIC_OR_PARTITION, or INVALID_REQUEST (never begun, or nonsense). "away": nobody said anything that
 * counts, within `awayMsMax`.
 */
export type Told<T> =
  | { readonly kind: "told"; readonly value: T }
  | { readonly kind: "refused"; readonly errorCode: ErrorCode; readonly errorMessage: string }
  | { readonly kind: "away"; readonly errorCode: ErrorCode };

/** Of `writeIn`: appended to the caller's session, or nothing was. */
export type WrittenIn =
  | { readonly kind: "appended" }
  | { readonly kind: "refused"; readonly errorCode: ErrorCode; readonly errorMessage: string }
  /** The state is at another broker, or not read yet. */
  | { readonly kind: "elsewhere" };

export interface SharePersister {
  initialize(key: SharePartitionKey, beginning: Beginning): Promise<Told<void>>;
  /** For the leader that begins to deliver: from now on no older one writes. */
  read(key: SharePartitionKey, leaderEpoch: LeaderEpoch): Promise<Told<ReadState>>;
  write(key: SharePartitionKey, change: StateChange): Promise<Told<void>>;
  /** What is not there is deleted already; a state with a later epoch stays, so that what comes late harms no other. */
  delete(key: SharePartitionKey, stateEpoch: number): Promise<Told<void>>;
  /** Fences nobody. What was never begun has state epoch 0 and start offset −1. */
  readSummary(key: SharePartitionKey): Promise<Told<StateSummary>>;
  /** Whether `writeIn` would be carried out here and now. */
  isHere(key: SharePartitionKey): boolean;
  /**
   * Synchronous: as `write`, into a session of the caller's, so that it is one WAL frame with what else is
   * there. To be called before anything else is put into the session; its `commit` must follow in the same
   * step, and what was appended is durable when the session is.
   */
  writeIn(session: AppendSession, key: SharePartitionKey, change: StateChange): WrittenIn;
}

/** So long a call looks for whoever has the state. */
export const awayMsMax = 30_000;

/** About what a record takes without batches, and each of these. */
const recordBytes = 128;
const batchBytes = 24;

/** About what it takes in the log. */
export function weighChange({ groupId }: { readonly groupId: string }, batches = 0): number {
  return recordBytes + groupId.length + batches * batchBytes;
}
