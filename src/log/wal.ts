/**
 * What a write-ahead log promises, whatever it is made of. Entries are given an order by `append`,
 * travel in groups, and become durable in that order. Only a WAL moves the durable position, and only
 * after everything up to it is durable; whoever asks where an acknowledgement is born ends here.
 * After a failed or unknown write it closes for ever: recovery decides what is there (I9).
 */
import type {
  BrokerEpoch,
  LeaderEpoch,
  Offset,
  PartitionIndex,
  ProducerEpoch,
  ProducerId,
  TopicId,
  WalPosition,
} from "../base/ids.ts";

/** int8 on disk; never reused for another meaning. An unknown kind stops recovery, it is never skipped. */
export const EntryKind = {
  /** One record batch, data or control. */
  batch: 0,
  /** The log start moved forward (DeleteRecords): `baseOffset` is the new start; no payload. */
  logStart: 1,
} as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

/** One row of a frame's index with its payload. The WAL keeps both by reference until they are durable. */
export interface WalEntry {
  readonly kind: EntryKind;
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  readonly baseOffset: Offset;
  /** How many offsets it takes, from `baseOffset`. */
  readonly count: number;
  readonly leaderEpoch: LeaderEpoch;
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
  /** First sequence number; −1 without a producer. */
  readonly sequence: number;
  /**
   * When the broker took it, ms since 1970. Part of the row on disk: producers expire and retention counts
   * by this, so that a replay decides as the live broker did.
   */
  readonly appendedMs: number;
  readonly payload: Uint8Array;
  /** CRC32C of the payload, where the author knows it already. */
  readonly payloadChecksum?: number | undefined;
}

/** Entries that became durable together: one frame, one sync. */
export interface WalGroup {
  readonly entries: readonly WalEntry[];
  /** Number of the last entry; see `Wal.append`. */
  readonly lastNumber: number;
  readonly begin: WalPosition;
  /** Exclusive, and a position at which the WAL can be released. */
  readonly end: WalPosition;
}

export interface WalEvents {
  /** In WAL order, once per group, before anybody who waits is woken. Must not throw. */
  onDurable(group: WalGroup): void;
  /** Again and again while the store has no room: what is appended waits for it, and producers must not add to that. Must not throw. */
  onFull?(): void;
  /** Once, when the WAL closed because of an error: nothing more will become durable. */
  onFailure(cause: Error): void;
}

export interface Wal {
  readonly epoch: BrokerEpoch;
  /**
   * Takes the entries in this order, all in one frame (I4), and returns the number of the last one.
   * Numbers start at 1 and are dense. Synchronous. Throws `WalClosedError`.
   */
  append(entries: readonly WalEntry[]): number;
  /** Number of the newest entry that was appended. */
  readonly appended: number;
  /** Entries up to and including this number are durable. */
  readonly durable: number;
  /** End of the newest durable frame. Everything below can be recovered. */
  readonly durablePosition: WalPosition;
  /** Bytes appended and not yet durable. */
  readonly pendingBytes: number;
  /** Resolves when `durable ≥ number`; rejects with `WalClosedError`. */
  whenDurable(number: number): Promise<void>;
  /** Everything below is in segments and its FLUSH is decided: files that end at or below it may go. */
  release(below: WalPosition): void;
  /** Waits until all is durable, writes a last mark, closes the files. */
  close(): Promise<void>;
}
