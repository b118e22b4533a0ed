/**
 * The records of one partition that a share fetch acquired. Brokers send whole batches; only offsets that they name
 * as acquired are the worker's. It promises that every acquired offset is in exactly one of the three lists.
 */
import { offset } from "../../base/ids.ts";
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
  const skipped: Range[] = [];
  let fetched: FetchedRecords;
  try {
    fetched = new FetchedRecords(answer.records ?? [], {
      topic,
      partition,
      from: offset(first.firstOffset),
      stopAt: Number.POSITIVE_INFINITY,
      aborted: null,
      onDamage: "skip",
      onSkipped: (from, to) => skipped.push({ first: from, last: to - 1 }),
    });
  } catch (cause) {
    if (!(cause instanceof DamagedRecordsError)) throw cause;
    const damaged = ranges.map(({ firstOffset, lastOffset }) => ({ first: firstOffset, last: lastOffset }));
    return { ...nothing, damaged, damage: cause };
  }
  return sortOut(ranges, fetched, skipped);
}

function sortOut(
  ranges: PartitionAnswer["acquiredRecords"],
  fetched: FetchedRecords,
  skipped: readonly Range[],
): Acquired {
  const records: { record: IncomingRecord; deliveryCount: number }[] = [];
  const gaps: Range[] = [];
  const damaged: Range[] = [];
  let damage: DamagedRecordsError | undefined;
  const next = (): IncomingRecord | undefined => {
    try {
      return fetched.next();
    } catch (cause) {
      if (!(cause instanceof DamagedRecordsError)) throw cause;
      damage = cause;
      return undefined;
    }
  };
  let record = next();
  for (const { firstOffset, lastOffset, deliveryCount } of ranges) {
    while (record !== undefined && record.offset < firstOffset) record = next();
    let at: number = firstOffset;
    const missing = (to: number): void => {
      if (to >= at)
        split(
          { first: at, last: to },
          damage === undefined ? skipped : [{ first: at, last: to }],
          gaps,
          damaged,
        );
    };
    for (; record !== undefined && record.offset <= lastOffset; record = next()) {
      missing(record.offset - 1);
      records.push({ record, deliveryCount });
      at = record.offset + 1;
    }
    missing(lastOffset);
  }
  return { records, gaps, damaged, damage };
}

/** What of the range is in `bad` is damaged, and the rest a gap. */
function split(range: Range, bad: readonly Range[], gaps: Range[], damaged: Range[]): void {
  let at = range.first;
  for (const each of bad) {
    const first = Math.max(at, each.first);
    const last = Math.min(range.last, each.last);
    if (first > last) continue;
    if (first > at) gaps.push({ first: at, last: first - 1 });
    damaged.push({ first, last });
    at = last + 1;
  }
  if (at <= range.last) gaps.push({ first: at, last: range.last });
}
