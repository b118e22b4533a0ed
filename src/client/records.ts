/**
 * Records as users send them, and what a broker says about those that it took. What comes in is
 * `incoming-record.ts`. Offsets and partitions are plain numbers here, since they come from and go to people's own code.
 */
/** A string becomes UTF-8. */
export type Bytes = Uint8Array | string;

/** Headers in order, or as an object when no name repeats. */
export type OutgoingHeaders =
  | readonly { readonly key: string; readonly value: Bytes | null }[]
  | { readonly [name: string]: Bytes | null };

export interface OutgoingRecord {
  readonly topic: string;
  /** Records with equal keys go to the same partition, the one that Java's client would choose. */
  readonly key?: Bytes | null | undefined;
  /** Null or absent: a tombstone. The bytes are taken before `send` returns. */
  readonly value?: Bytes | null | undefined;
  readonly headers?: OutgoingHeaders | undefined;
  /** Overrules the partitioner. */
  readonly partition?: number | undefined;
  /** Ms since 1970; the default is now. */
  readonly timestampMs?: number | undefined;
}

/** Where an acknowledged record lies. */
export interface RecordMetadata {
  readonly topic: string;
  readonly partition: number;
  /** −1: it is written, and the broker did not say where (acks 0, or a retry of a batch that it remembers no more). */
  readonly offset: number;
  /** Of the record, or of the broker's clock where the topic says LogAppendTime; ms since 1970. */
  readonly timestampMs: number;
}

/** Where a run of acknowledged records lies, which were given in this order. */
export interface Acknowledgement {
  readonly topic: string;
  readonly partition: number;
  /** Of the run's first record; −1 as in `RecordMetadata`. */
  readonly offset: number;
  readonly recordCount: number;
}
