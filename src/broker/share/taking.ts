/**
 * What one member takes of a share-partition in one step: batch after batch is read and acquired, within what the
 * member asks for. Synchronous. A first delivery rests on nothing: it is not kept, and after a restart it is the first
 * again. One that comes again rests on what ended the delivery before it, and must not be told before that is durable
 * (I1): else the same record could be told to another member as given fewer times.
 */
import type { Offset } from "../../base/ids.ts";
import type { AcquiredRecords } from "../../coordinator/share/delivery/acquisition.ts";
import type { DeliveryTable } from "../../coordinator/share/delivery/table.ts";
import type { RecordRead } from "./record-read.ts";

/** How much a fetch may take. */
export interface TakeWish {
  readonly memberId: string;
  readonly recordsMax: number;
  readonly bytesMax: number;
  /** The first batch comes even if it is larger. */
  readonly orOneBatch: boolean;
  readonly mode: "batch" | "strict";
  readonly batchSize: number;
}

export interface TakenRecords {
  readonly acquired: readonly AcquiredRecords[];
  readonly count: number;
  readonly chunks: readonly Uint8Array[];
  readonly bytes: number;
}

/** Null: there is nothing, or not yet. */
type Read = (from: Offset, bytesMax: number, orOneBatch: boolean) => RecordRead | null;

/** Turns of one take: each has acquired something, or passed over what has no records. */
const turnsMax = 1_000;

export function takeRecords(table: DeliveryTable, wish: TakeWish, nowMs: number, read: Read): TakenRecords {
  const taken = { acquired: [] as AcquiredRecords[], count: 0, chunks: [] as Uint8Array[], bytes: 0 };
  for (let turn = 0; turn < turnsMax && taken.count < wish.recordsMax; turn++) {
    const from = table.nextFetchOffset;
    // Records go out in the order of their offsets: what came free below is for the next fetch.
    if (from <= (taken.acquired.at(-1)?.last ?? -1)) break;
    const records = read(from, wish.bytesMax - taken.bytes, wish.orOneBatch && taken.bytes === 0);
    if (records === null) break;
    const besides = taken.acquired.at(-1);
    const acquired = acquire(table, from, records, wish, wish.recordsMax - taken.count, nowMs, besides);
    if (acquired.length > 0) {
      const { chunks, bytes } = records.bytesOf(acquired);
      taken.acquired.push(...acquired);
      taken.chunks.push(...chunks);
      taken.bytes += bytes;
      for (const { first, last } of acquired) taken.count += last - first + 1;
    } else if (table.nextFetchOffset === from) break;
  }
  return taken;
}

function acquire(
  table: DeliveryTable,
  from: Offset,
  records: RecordRead,
  { memberId, mode, batchSize }: TakeWish,
  recordsMax: number,
  nowMs: number,
  besides: AcquiredRecords | undefined,
): readonly AcquiredRecords[] {
  const { last, full, empty } = records;
  const acquired = table.acquire({
    memberId,
    first: from,
    last,
    batches: full,
    recordsMax,
    mode,
    nowMs,
    besides,
    ...(batchSize > 0 ? { batchSize } : {}),
  });
  // Compaction may have left a gap before a marker that stayed: without any records, all of it is passed.
  if (full.length === 0) table.skip(from, last);
  for (const span of empty) table.skip(Math.max(span.first, from), span.last);
  return acquired;
}

/** Whether any of them was given before. */
export const isAgain = ({ acquired }: TakenRecords): boolean =>
  acquired.some(({ deliveryCount }) => deliveryCount > 1);
