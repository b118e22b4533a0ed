/**
 * The records of one partition that a share fetch acquired. Brokers send whole batches; only offsets that they name
 * as acquired are the worker's. It promises that every acquired offset is in exactly one of the three lists, and that only
 * one that lies before the end of what was read whole is called a gap: what was cut off or cannot be read is not done.
 */
import type { Offset } from "../../base/ids.ts";
import type { ShareFetchResponse } from "../../protocol/messages/share-fetch.ts";
import { DamagedRecordsError } from "../consumer-errors.ts";
import { FetchedRecords } from "../fetched-records.ts";
import type { IncomingRecord } from "../incoming-record.ts";

type PartitionAnswer = ShareFetchResponse["responses"][number]["partitions"][number];

export interface Range {
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
}

export interface Acquired {
  readonly records: readonly { readonly record: IncomingRecord; readonly deliveryCount: number }[];
  /** Acquired, and there is no record: compaction took it, or it is a marker. */
  readonly gaps: readonly Range[];
  /** Cannot be read here; told by the error. */
  readonly damaged: readonly Range[];
  readonly damage: DamagedRecordsError | undefined;
}

const nothing: Acquired = { records: [], gaps: [], damaged: [], damage: undefined };

export function acquiredOf(topic: string, partition: number, answer: PartitionAnswer): Acquired {
  const ranges = answer.acquiredRecords.toSorted((a, b) => a.firstOffset - b.firstOffset);
  const [first] = ranges;
  if (first === undefined) return nothing;
  try {
    return sortOut(ranges, new Reading(topic, partition, first.firstOffset, answer.records ?? []));
  } catch (cause) {
    if (!(cause instanceof DamagedRecordsError)) throw cause;
    const damaged = ranges.map(({ firstOffset, lastOffset }) => ({ first: firstOffset, last: lastOffset }));
    return { ...nothing, damaged, damage: cause };
  }
}

/** Record after record, with what was passed over before each. */
class Reading {
  readonly #fetched: FetchedRecords;
  record: IncomingRecord | undefined = undefined;
  /** What is missing from here on, up to the record or the end, could not be read: nobody knows what it was. */
  damagedFrom = Number.POSITIVE_INFINITY;
  damage: DamagedRecordsError | undefined = undefined;

  /** Throws `DamagedRecordsError`. */
  constructor(topic: string, partition: number, from: Offset, chunks: readonly Uint8Array[]) {
    this.#fetched = new FetchedRecords(chunks, {
      topic,
      partition,
      from,
      stopAt: Number.POSITIVE_INFINITY,
      aborted: null,
      onDamage: "skip",
      onSkipped: (skipped) => this.#damaged(skipped),
    });
    this.next();
  }

  next(): void {
    this.damagedFrom = Number.POSITIVE_INFINITY;
    try {
      this.record = this.#fetched.next();
      // Brokers acquire what they send: what lies behind it was cut off, or spoilt on the way.
      if (this.record === undefined) this.#damaged(this.#fetched.end);
    } catch (cause) {
      if (!(cause instanceof DamagedRecordsError)) throw cause;
      this.damage = cause;
      this.record = undefined;
      this.#damaged(cause.offset);
    }
  }

  #damaged(from: number): void {
    this.damagedFrom = Math.min(this.damagedFrom, from);
  }
}

function sortOut(ranges: PartitionAnswer["acquiredRecords"], reading: Reading): Acquired {
  const records: { record: IncomingRecord; deliveryCount: number }[] = [];
  const gaps: Range[] = [];
  const damaged: Range[] = [];
  const missing = (first: number, last: number): void => {
    const { damagedFrom } = reading;
    if (first <= Math.min(last, damagedFrom - 1)) gaps.push({ first, last: Math.min(last, damagedFrom - 1) });
    if (Math.max(first, damagedFrom) <= last) damaged.push({ first: Math.max(first, damagedFrom), last });
  };
  for (const { firstOffset, lastOffset, deliveryCount } of ranges) {
    while (reading.record !== undefined && reading.record.offset < firstOffset) reading.next();
    let at: number = firstOffset;
    for (; reading.record !== undefined && reading.record.offset <= lastOffset; reading.next()) {
      const { record } = reading;
      missing(at, record.offset - 1);
      records.push({ record, deliveryCount });
      at = record.offset + 1;
    }
    missing(at, lastOffset);
  }
  return { records, gaps, damaged, damage: reading.damage };
}
