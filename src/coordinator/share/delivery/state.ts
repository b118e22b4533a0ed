/**
 * The states of a record of a share-partition, and what of them is kept (KIP-932, KIP-1191). Beside these a
 * record can be acquired, which nobody is told of and nothing keeps: after a restart it is available again.
 */

import type { Offset } from "../../../base/ids.ts";
import type { LetterIdentity, StateBatch } from "../state-batch.ts";

export interface DeliveryState {
  /** What lies before is complete, or no longer in the log. */
  readonly startOffset: Offset;
  /** In any order, without overlap. What they leave out below their end was in flight or never delivered. */
  readonly batches: readonly StateBatch[];
}

/** Why a record is not delivered again though nobody accepted it. */
export type DeathReason = "rejected" | "expired";

/** Records that go to the dead-letter topic, or are dropped where there is none. */
export interface DeadRecords {
  readonly first: number;
  readonly last: number;
  /** How often they were delivered. */
  readonly deliveryCount: number;
  /** "expired": delivered as often as allowed. After a restart it is told by the delivery count. */
  readonly reason: DeathReason;
  /** After a restart: as whom their dead letters may have been written already. */
  readonly letter: LetterIdentity | null;
}

/** What is different from what was taken before. Written in order, each is true of one moment. */
export interface DeliveryChanges extends DeliveryState {
  /** Of the records from `startOffset` on, how many are complete (KIP-1226). */
  readonly deliveryCompleteCount: number;
  /** Where dead letters are written, `batches` says of them that they are archiving; else they are archived. */
  readonly dead: readonly DeadRecords[];
}

/** What one share-partition obeys. Read each time, so that a change of the group's configs holds at once. */
export interface DeliverySettings {
  /** `share.record.lock.duration.ms`. */
  readonly lockDurationMs: number;
  /** `share.delivery.count.limit`. */
  readonly deliveryCountLimit: number;
  /** `share.partition.max.record.locks`: how many records may be in flight. */
  readonly recordLocksMax: number;
  /** Whether there is a dead-letter topic: dead records then stay "archiving" until `archive` is called. */
  readonly hasDeadLetters: boolean;
}
