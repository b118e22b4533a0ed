/**
 * Dead letters as bytes (KIP-1191): the record as it was, with headers beside its own that say which it was, of
 * which group, how often it was delivered, why it is here and since when. Where a group wants no copies, or the
 * record cannot be read, the headers are all there is. Nothing is written here.
 */
import { producerEpoch, type ProducerId } from "../../base/ids.ts";
import { HoldfastError } from "../../base/errors.ts";
import type { DeathReason } from "../../coordinator/share/delivery/state.ts";
import { batchesIn } from "../../record/batch.ts";
import { BatchBuilder } from "../../record/builder.ts";
import { type BatchRecord, type RecordHeader, recordsIn } from "../../record/record.ts";

/** Such a producer has one life: what it writes again is what it wrote before. */
const firstEpoch = producerEpoch(0);

const headerPrefix = "__dlq.errors.";
/** Kafka's names; the last is ours. Numbers are decimal text. */
const LetterHeader = {
  topic: `${headerPrefix}topic`,
  partition: `${headerPrefix}partition`,
  offset: `${headerPrefix}offset`,
  group: `${headerPrefix}group`,
  deliveryCount: `${headerPrefix}delivery.count`,
  message: `${headerPrefix}message`,
  timestamp: `${headerPrefix}timestamp`,
} as const;

const messages: Readonly<Record<DeathReason, string>> = {
  rejected: "A member of the share group rejected the record.",
  expired: "The record was delivered as often as the share group allows, and nobody accepted it.",
};

export interface LetterOrigin {
  readonly topic: string;
  readonly partition: number;
  readonly groupId: string;
  readonly deliveryCount: number;
  readonly reason: DeathReason;
  /** When it became a dead letter, ms since 1970. */
  readonly wallMs: number;
}

/** Letters of the records `first` to `last`, in one batch. */
export interface LetterBatch {
  readonly first: number;
  /** Inclusive; where there was no room for all of them, less than what was asked for. */
  readonly last: number;
  /** Letters in it: records that compaction took have none. */
  readonly count: number;
  /** Not yet as anybody's. Empty where there are no letters. */
  readonly builder: BatchBuilder;
}

/** A batch inflates to at most so much; one that is larger gets letters of headers alone. */
const inflatedBytesMax = 16 * 1024 * 1024;

/** Records by offset: what of [first, last] is in these chunks. Null: it is there, and cannot be read. */
export function recordsFrom(
  chunks: readonly Uint8Array[],
  first: number,
  last: number,
): ReadonlyMap<number, BatchRecord | null> {
  const found = new Map<number, BatchRecord | null>();
  for (const chunk of chunks) {
    for (const batch of batchesIn(chunk)) {
      if (batch.isControl || batch.lastOffset < first || batch.baseOffset > last) continue;
      try {
        for (const record of recordsIn(batch, inflatedBytesMax)) {
          if (record.offset >= first && record.offset <= last) found.set(record.offset, record);
        }
      } catch (cause) {
        // Who wrote it lied about its content: that may be why nobody could handle it.
        if (!(cause instanceof HoldfastError)) throw cause;
        const end = Math.min(last, batch.lastOffset);
        for (let at = Math.max(first, batch.baseOffset); at <= end; at++)
          if (!found.has(at)) found.set(at, null);
      }
    }
  }
  return found;
}

/** At least one letter, if there is any record; then as many as `bytesMax` has room for. */
export function letterBatch(
  records: ReadonlyMap<number, BatchRecord | null>,
  { first, last }: { readonly first: number; readonly last: number },
  origin: LetterOrigin,
  copies: boolean,
  bytesMax: number,
): LetterBatch {
  const builder = new BatchBuilder();
  for (let at = first; at <= last; at++) {
    const record = records.get(at);
    if (record === undefined) continue;
    const bytes =
      record === null || !copies ? 0 : (record.key?.byteLength ?? 0) + (record.value?.byteLength ?? 0);
    if (builder.recordCount > 0 && builder.bytes + bytes + headerBytes > bytesMax) {
      return { first, last: at - 1, count: builder.recordCount, builder };
    }
    const context = contextHeaders(origin, at, record === null);
    if (record === null || !copies) {
      builder.append({ headers: context, timestamp: record?.timestamp ?? origin.wallMs });
    } else {
      const { key, value, timestamp } = record;
      const own = record.headers.filter((header) => !header.key.startsWith(headerPrefix));
      builder.append({ key, value, timestamp, headers: [...own, ...context] });
    }
  }
  return { first, last, count: builder.recordCount, builder };
}

/** About what the headers of a letter take. */
const headerBytes = 512;

function contextHeaders(
  { topic, partition, groupId, deliveryCount, reason, wallMs }: LetterOrigin,
  offset: number,
  isUnreadable: boolean,
): readonly RecordHeader[] {
  const message = isUnreadable ? `${messages[reason]} Its batch cannot be read.` : messages[reason];
  const headers: readonly (readonly [string, string | number])[] = [
    [LetterHeader.topic, topic],
    [LetterHeader.partition, partition],
    [LetterHeader.offset, offset],
    [LetterHeader.group, groupId],
    [LetterHeader.deliveryCount, deliveryCount],
    [LetterHeader.message, message],
    [LetterHeader.timestamp, Math.floor(wallMs)],
  ];
  return headers.map(([key, value]) => ({ key, value: Buffer.from(String(value)) }));
}

/** Fresh bytes, as nobody's, or as the producer whose next sequence this is. */
export function bytesOfLetters({ builder }: LetterBatch, as: Author | null): Uint8Array {
  if (as === null) return builder.build();
  return builder.build({ producerId: as.producerId, producerEpoch: firstEpoch, baseSequence: as.sequence });
}

export interface Author {
  readonly producerId: ProducerId;
  readonly sequence: number;
}
