/**
 * Takes records out of a batch, as compaction does. Offsets, sequences, producer and epoch stay what they
 * were, so that a record that stays is the same record at the same place: the batch keeps its first and
 * last offset, and the records in it have gaps (KIP-98). What stays of a record is copied byte for byte.
 */
import { concatBytes } from "../base/bytes.ts";
import { type BatchView, Codec } from "./batch.ts";
import { type BatchHeader, wrapRecords } from "./builder.ts";
import { inflatedPayload, putVarint, putVarlong, RecordCursor, varintBytes, varlongBytes } from "./record.ts";

export interface ThinRules {
  /** Whether the record that the cursor stands at stays. */
  readonly keeps: (record: RecordCursor) => boolean;
  /**
   * Until when tombstones (and, in a control batch, its marker) stay, ms since 1970 (KIP-534): written into
   * a batch that keeps one of them and has no such time yet. Null: none is written.
   */
  readonly horizonMs: number | null;
  /** A batch whose records take more is not opened: `InflationError`. */
  readonly inflatedBytesMax: number;
}

/** `horizonMs`: until when what stays of its tombstones and markers stays; −1: there is none, or no such time. */
export type Thinned =
  | { readonly kind: "unchanged"; readonly horizonMs: number }
  | { readonly kind: "changed"; readonly horizonMs: number; readonly bytes: Uint8Array }
  /** None of its records stays. */
  | { readonly kind: "empty" };

/** Times beyond this are not written as a horizon, since records are stored by their distance from it. */
const horizonMsMax = 2 ** 50;

interface Place {
  readonly start: number;
  readonly fieldsStart: number;
  readonly end: number;
  readonly timestampDelta: number;
  readonly offsetDelta: number;
}

/** Throws `MalformedError` or `InflationError` when the records cannot be read; nothing is known of them then. */
export function thinBatch(batch: BatchView, rules: ThinRules): Thinned {
  const payload = inflatedPayload(batch, rules.inflatedBytesMax);
  const cursor = new RecordCursor(payload, batch.recordCount);
  const kept: Place[] = [];
  let holdsDeletion = batch.isControl;
  let latestDelta = Number.NEGATIVE_INFINITY;
  let earliestDelta = Number.POSITIVE_INFINITY;
  while (cursor.next()) {
    if (!rules.keeps(cursor)) continue;
    const { start, fieldsStart, end, timestampDelta, offsetDelta } = cursor;
    kept.push({ start, fieldsStart, end, timestampDelta, offsetDelta });
    if (cursor.valueLength < 0) holdsDeletion = true;
    latestDelta = Math.max(latestDelta, timestampDelta);
    earliestDelta = Math.min(earliestDelta, timestampDelta);
  }
  if (kept.length === 0) return { kind: "empty" };
  const { baseTimestamp } = batch;
  const isFar =
    Math.abs(baseTimestamp + latestDelta) > horizonMsMax ||
    Math.abs(baseTimestamp + earliestDelta) > horizonMsMax;
  const wantsHorizon = rules.horizonMs !== null && holdsDeletion && !batch.hasDeleteHorizon && !isFar;
  const horizonMs = wantsHorizon ? Math.min(rules.horizonMs as number, horizonMsMax) : null;
  const ownHorizonMs = holdsDeletion && batch.hasDeleteHorizon ? baseTimestamp : -1;
  if (kept.length === batch.recordCount && horizonMs === null) {
    return { kind: "unchanged", horizonMs: ownHorizonMs };
  }
  const records =
    horizonMs === null
      ? concatBytes(kept.map(({ start, end }) => payload.subarray(start, end)))
      : writeRelativeTo(horizonMs - baseTimestamp, kept, payload);
  const header: BatchHeader = {
    ...headerOf(batch),
    codec: batch.codec as Codec,
    recordCount: kept.length,
    baseTimestamp: horizonMs ?? baseTimestamp,
    maxTimestamp: baseTimestamp + latestDelta,
    hasDeleteHorizon: horizonMs !== null || batch.hasDeleteHorizon,
  };
  return { kind: "changed", bytes: wrapRecords(records, header), horizonMs: horizonMs ?? ownHorizonMs };
}

/** The batch without records: it still says which offsets it takes, and of which producer. */
export function emptiedBatch(batch: BatchView): Uint8Array {
  return wrapRecords(new Uint8Array(0), {
    ...headerOf(batch),
    codec: Codec.none,
    recordCount: 0,
    // Of no record: nobody finds a time here.
    baseTimestamp: -1,
    maxTimestamp: -1,
    ...(batch.isLogAppendTime ? { logAppendTimeMs: -1 } : {}),
  });
}

function headerOf(batch: BatchView) {
  const { baseOffset, leaderEpoch, lastOffsetDelta, producerId, producerEpoch, baseSequence } = batch;
  const { isTransactional, isControl, isLogAppendTime, maxTimestamp } = batch;
  return {
    baseOffset,
    leaderEpoch,
    lastOffsetDelta,
    producerId,
    producerEpoch,
    baseSequence,
    isTransactional,
    isControl,
    ...(isLogAppendTime ? { logAppendTimeMs: maxTimestamp } : {}),
  };
}

/** The records with times relative to a base that lies `shiftMs` later. */
function writeRelativeTo(shiftMs: number, kept: readonly Place[], payload: Uint8Array): Uint8Array {
  let bytes = 0;
  const lengths = kept.map(({ fieldsStart, end, timestampDelta, offsetDelta }) => {
    const body = 1 + varlongBytes(timestampDelta - shiftMs) + varintBytes(offsetDelta) + end - fieldsStart;
    bytes += varintBytes(body) + body;
    return body;
  });
  const into = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const [i, { fieldsStart, end, timestampDelta, offsetDelta }] of kept.entries()) {
    at = putVarint(into, at, lengths[i] as number);
    into[at++] = 0;
    at = putVarlong(into, at, timestampDelta - shiftMs);
    at = putVarint(into, at, offsetDelta);
    into.set(payload.subarray(fieldsStart, end), at);
    at += end - fieldsStart;
  }
  return into;
}
