/**
 * Finding a record by its time inside one batch, for ListOffsets and the time index. Inflates the batch;
 * callers choose it by its header first (`maxTimestamp`).
 */
import { offset, type Offset } from "../base/ids.ts";
import type { BatchView } from "./batch.ts";
import { inflatedPayload, RecordCursor, recordTimestamps } from "./record.ts";

export interface RecordPlace {
  /** Ms since 1970; −1: the records have none. */
  readonly timestamp: number;
  readonly offset: Offset;
}

/**
 * The first record whose time is at or after `timestamp` and whose offset is at or after `from`; null when
 * the batch has none. Throws `MalformedError` and `InflationError`.
 */
export function firstRecordAtOrAfter(
  batch: BatchView,
  timestamp: number,
  bounds: { readonly from: Offset; readonly inflatedBytesMax: number },
): RecordPlace | null {
  if (batch.maxTimestamp < timestamp) return null;
  return firstRecord(batch, bounds.inflatedBytesMax, (time, at) => time >= timestamp && at >= bounds.from);
}

/**
 * The first record that has the batch's latest time; where no record has it (the header lied), the last
 * offset stands for it, as Kafka's own index has it. Throws as above.
 */
export function maxTimestampRecord(batch: BatchView, inflatedBytesMax: number): RecordPlace {
  const timestamp = batch.maxTimestamp;
  const found = firstRecord(batch, inflatedBytesMax, (time) => time === timestamp);
  return found ?? { timestamp, offset: batch.lastOffset };
}

function firstRecord(
  batch: BatchView,
  inflatedBytesMax: number,
  matches: (timestamp: number, at: number) => boolean,
): RecordPlace | null {
  const cursor = new RecordCursor(inflatedPayload(batch, inflatedBytesMax), batch.recordCount);
  const { baseOffset } = batch;
  const timestampOf = recordTimestamps(batch);
  while (cursor.next()) {
    const timestamp = timestampOf(cursor.timestampDelta);
    const at = baseOffset + cursor.offsetDelta;
    if (matches(timestamp, at)) return { timestamp, offset: offset(at) };
  }
  return null;
}
