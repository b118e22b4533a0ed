/**
 * The checks of a produced batch that need its records: for topics whose settings ask for them, since
 * everywhere else a batch passes by its header alone (`record/validate.ts`). Inflates with a bound, keeps
 * nothing, and answers as Apache Kafka does, record by record. Call it after the header's check.
 */
import { HoldfastError } from "../base/errors.ts";
import type { BatchView } from "../record/batch.ts";
import { InflationError } from "../record/errors.ts";
import { inflatedPayload, RecordCursor } from "../record/record.ts";
import { isWithinBounds, type ProduceLimits } from "../record/validate.ts";

export interface RecordRules
  extends Pick<ProduceLimits, "timestampType" | "timestampBeforeMaxMs" | "timestampAfterMaxMs"> {
  /** The topic is compacted: a record without a key could never be replaced. */
  readonly needsKeys: boolean;
  /**
   * A batch whose records take more than this is refused as too large, which makes a client divide it. Each
   * record counts for at least `recordBytesMin`, since the smallest are dear to walk over.
   */
  readonly inflatedBytesMax: number;
}

/** One record of a refused batch; `batchIndex` counts from 0 (KIP-467). */
export interface RecordError {
  readonly batchIndex: number;
  readonly message: string;
}

export type RecordsCheck =
  | {
      readonly kind: "ok";
      /** The records, inflated; shares memory with the batch when that is not compressed. */
      readonly payload: Uint8Array;
      /** The latest of the records' own times; −1: none has one. */
      readonly maxTimestamp: number;
    }
  | RecordsRefusal;

export interface RecordsRefusal {
  readonly kind: "refused";
  readonly error: "INVALID_RECORD" | "INVALID_TIMESTAMP" | "MESSAGE_TOO_LARGE";
  readonly message: string;
  /** The first `recordErrorsMax` of the records that are at fault. */
  readonly recordErrors: readonly RecordError[];
}

const recordBytesMin = 32;

/** What it cost to open a batch, in bytes of `inflatedBytesMax`. */
export function openedBytes(payload: Uint8Array, batch: BatchView): number {
  return Math.max(payload.byteLength, batch.recordCount * recordBytesMin);
}

/** An answer names at most so many records, however many the batch has. */
const recordErrorsMax = 20;

/**
 * Reads every record's lengths, offset, time and whether it has a key. `nowMs` is the wall clock.
 * Records must be numbered from 0 without gaps, since offsets are given by the batch alone.
 */
export function checkRecords(batch: BatchView, rules: RecordRules, nowMs: number): RecordsCheck {
  if (batch.recordCount * recordBytesMin > rules.inflatedBytesMax) {
    const message = `the batch counts ${batch.recordCount} records; ${Math.floor(rules.inflatedBytesMax / recordBytesMin)} are looked into`;
    return { kind: "refused", error: "MESSAGE_TOO_LARGE", message, recordErrors: [] };
  }
  try {
    const payload = inflatedPayload(batch, rules.inflatedBytesMax);
    return walk(payload, batch, rules, nowMs);
  } catch (cause) {
    if (!(cause instanceof HoldfastError)) throw cause;
    const error = cause instanceof InflationError ? "MESSAGE_TOO_LARGE" : "INVALID_RECORD";
    return { kind: "refused", error, message: cause.message, recordErrors: [] };
  }
}

function walk(payload: Uint8Array, batch: BatchView, rules: RecordRules, nowMs: number): RecordsCheck {
  const cursor = new RecordCursor(payload, batch.recordCount);
  const { baseTimestamp } = batch;
  const recordErrors: RecordError[] = [];
  let error: RecordsRefusal["error"] = "INVALID_RECORD";
  let atFault = 0;
  let maxTimestamp = -1;
  while (cursor.next()) {
    const timestamp = baseTimestamp + cursor.timestampDelta;
    const fault = faultOf(cursor, timestamp, rules, nowMs);
    maxTimestamp = Math.max(maxTimestamp, timestamp);
    if (fault === undefined) continue;
    if (fault.error === "INVALID_TIMESTAMP") error = fault.error;
    atFault++;
    if (recordErrors.length < recordErrorsMax) {
      recordErrors.push({ batchIndex: cursor.index, message: fault.message });
    }
  }
  if (atFault === 0) return { kind: "ok", payload, maxTimestamp };
  const message = `${atFault} of ${batch.recordCount} records are refused: ${recordErrors[0]?.message}`;
  return { kind: "refused", error, message, recordErrors };
}

function faultOf(
  cursor: RecordCursor,
  timestamp: number,
  rules: RecordRules,
  nowMs: number,
): { readonly error: "INVALID_RECORD" | "INVALID_TIMESTAMP"; readonly message: string } | undefined {
  if (cursor.offsetDelta !== cursor.index) {
    return { error: "INVALID_RECORD", message: `the record's offset delta is ${cursor.offsetDelta}` };
  }
  if (rules.needsKeys && !cursor.hasKey) {
    return { error: "INVALID_RECORD", message: "a compacted topic takes no record without a key" };
  }
  if (rules.timestampType === "create" && (timestamp < -1 || !isWithinBounds(timestamp, rules, nowMs))) {
    const first = nowMs - rules.timestampBeforeMaxMs;
    const last = nowMs + rules.timestampAfterMaxMs;
    return { error: "INVALID_TIMESTAMP", message: `timestamp ${timestamp} is outside [${first}, ${last}]` };
  }
  return undefined;
}
