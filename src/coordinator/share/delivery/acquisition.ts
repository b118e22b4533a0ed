/** Of what a member is given: how it asks, what it is told, and when a record goes alone. */
import { type Range, sizeOf } from "./ranges.ts";

export interface AcquireRequest {
  readonly memberId: string;
  /** Where the read began. */
  readonly first: number;
  /** No record behind it is acquired. */
  readonly last: number;
  /** The batches that were read, in order; those of aborted transactions left out. */
  readonly batches: readonly { readonly first: number; readonly last: number }[];
  readonly recordsMax: number;
  /** "strict": never more than `recordsMax`. "batch": a batch that was begun goes whole. (KIP-1206) */
  readonly mode: "batch" | "strict";
  readonly nowMs: number;
  /** The last of what the same answer gives already. */
  readonly besides?: AcquiredRecords | undefined;
  /** Longer runs are told in pieces of about this many records, cut where batches begin. */
  readonly batchSize?: number;
}

export interface AcquiredRecords {
  readonly first: number;
  readonly last: number;
  /** With this delivery. */
  readonly deliveryCount: number;
}

/** With a smaller limit there are too few deliveries to find out which record it is. */
const isolatingLimitMin = 3;
/** As often a record has been delivered at least before it is set apart. */
const isolatedDeliveriesMin = 2;

const suspectsFrom = (limit: number): number => Math.max(isolatedDeliveriesMin, Math.ceil(limit / 2));

/** Whether records that were delivered so often may be what ends their workers. */
const areSuspects = (deliveryCount: number, limit: number): boolean =>
  limit >= isolatingLimitMin && deliveryCount >= suspectsFrom(limit);

/** Whether records among these that a member has, or is about to get, are such: nothing else goes with them. */
export const goAlone = (ranges: readonly Range[], limit: number): boolean =>
  ranges.some(({ state, deliveryCount }) => state === "acquired" && areSuspects(deliveryCount - 1, limit));

/**
 * How many of these records may go together, and with no others: null if they are not suspects. One record that
 * ends each worker that has it must not use up the deliveries of its neighbours: from half the limit on they go
 * in smaller and smaller parts, and each goes alone the last time.
 */
export function isolatedCount(range: Range, limit: number): number | null {
  const { deliveryCount } = range;
  if (!areSuspects(deliveryCount, limit)) return null;
  const from = suspectsFrom(limit);
  if (deliveryCount >= limit - 1) return 1;
  return Math.max(1, Math.floor(sizeOf(range) / 2 ** (deliveryCount - from + 1)));
}

/** What the member is told of what it acquired. */
export function told(
  taken: readonly Range[],
  batches: readonly { readonly first: number }[],
  batchSize: number,
): readonly AcquiredRecords[] {
  const records: AcquiredRecords[] = [];
  for (const { first, last, state, deliveryCount } of taken) {
    if (state !== "acquired") continue;
    const before = records.at(-1);
    if (before?.last === first - 1 && before.deliveryCount === deliveryCount)
      records[records.length - 1] = { ...before, last };
    else records.push({ first, last, deliveryCount });
  }
  if (records.every((each) => sizeOf(each) <= batchSize)) return records;
  return records.flatMap((each) => pieces(each, batches, batchSize));
}

/** Whether all of what was told is the member's as it was told. `ranges`: what is known of these records now. */
export function isHeld(
  { first, deliveryCount }: AcquiredRecords,
  memberId: string,
  ranges: readonly Range[],
): boolean {
  return (
    ranges[0]?.first === first &&
    ranges.every((range) => range.lock?.memberId === memberId && range.deliveryCount === deliveryCount)
  );
}

function pieces(
  { first, last, deliveryCount }: AcquiredRecords,
  batches: readonly { readonly first: number }[],
  batchSize: number,
): readonly AcquiredRecords[] {
  const cut: AcquiredRecords[] = [];
  let begin = first;
  for (const batch of batches) {
    if (batch.first > last) break;
    if (batch.first - begin < batchSize) continue;
    cut.push({ first: begin, last: batch.first - 1, deliveryCount });
    begin = batch.first;
  }
  return [...cut, { first: begin, last, deliveryCount }];
}
