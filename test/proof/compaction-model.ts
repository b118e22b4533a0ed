/**
 * What a compacted partition must still tell, whatever passes went over it: the model beside which
 * `compaction-life.ts` holds what it reads. It knows every record that was ever acknowledged.
 */
import { BatchView } from "../../src/record/batch.ts";
import { recordsIn } from "../../src/record/record.ts";

export interface ModelRecord {
  readonly offset: number;
  readonly key: string;
  /** Null: a tombstone. */
  readonly value: string | null;
  readonly appendedMs: number;
  /** Null: of no transaction. */
  readonly transaction: Transaction | null;
  readonly isMarker: boolean;
}

export interface Transaction {
  readonly producer: number;
  outcome: "open" | "committed" | "aborted";
  /** Of the marker. */
  markerOffset: number;
}

/** Every record of the batches: what somebody who reads without isolation gets, markers included. */
export function decode(batches: Iterable<BatchView>): Map<number, { key: string; value: string | null }> {
  const found = new Map<number, { key: string; value: string | null }>();
  let end = -1;
  for (const batch of batches) {
    if (batch.baseOffset < end) throw new Error(`offset ${batch.baseOffset} is lost: it comes again`);
    end = batch.nextOffset;
    if (!batch.isIntact()) throw new Error(`offset ${batch.baseOffset} is lost: its batch is not intact`);
    for (const { offset, key, value } of recordsIn(batch, 1 << 24)) {
      const text = (bytes: Uint8Array | null): string => Buffer.from(bytes ?? []).toString();
      found.set(offset, { key: text(key), value: value === null ? null : text(value) });
    }
  }
  return found;
}

export interface Reading {
  readonly found: ReadonlyMap<number, { readonly key: string; readonly value: string | null }>;
  /** Markers of aborted transactions that the segments' footers name, and all that are in the WAL. */
  readonly abortedMarkers: ReadonlySet<number>;
  readonly start: number;
  readonly nowMs: number;
  readonly deleteRetentionMs: number;
}

/** Throws at the first record that is missing, wrong, or back again. Returns how many were superseded and are gone. */
export function compare(truth: readonly ModelRecord[], reading: Reading): number {
  const { found, start } = reading;
  const byOffset = new Map(truth.map((record) => [record.offset, record]));
  for (const [offset, { key, value }] of found) {
    const record = byOffset.get(offset);
    if (record?.key !== key || record.value !== value) throw lost(offset, "it names something else");
  }
  let gone = 0;
  const newest = new Map<string, ModelRecord>();
  const live = truth.filter(({ offset }) => offset >= start);
  for (const record of live) {
    if (!found.has(record.offset)) gone++;
    checkTransaction(record, reading);
    if (record.isMarker || record.transaction?.outcome === "aborted") continue;
    newest.set(record.key, record);
  }
  for (const record of newest.values()) checkNewest(record, live, reading);
  return gone;
}

function checkTransaction({ offset, transaction, isMarker }: ModelRecord, reading: Reading): void {
  const { found, abortedMarkers, start } = reading;
  if (transaction === null || isMarker || !found.has(offset) || transaction.outcome === "open") return;
  const { markerOffset, outcome } = transaction;
  if (markerOffset >= start && !found.has(markerOffset)) {
    throw lost(markerOffset, `a record of its transaction is there at ${offset}, and the marker is not`);
  }
  if (outcome === "aborted" && !abortedMarkers.has(markerOffset)) {
    throw lost(markerOffset, `nobody is told that the record at ${offset} was aborted`);
  }
}

function checkNewest(record: ModelRecord, live: readonly ModelRecord[], reading: Reading): void {
  const { found, nowMs, deleteRetentionMs } = reading;
  if (found.has(record.offset)) return;
  if (record.value !== null) throw lost(record.offset, `it is the newest of key ${record.key}`);
  if (nowMs < record.appendedMs + deleteRetentionMs) {
    throw lost(record.offset, `the tombstone of ${record.key} went before its time`);
  }
  const older = live.find(({ offset, key, isMarker, transaction }) => {
    return !isMarker && key === record.key && found.has(offset) && transaction?.outcome !== "aborted";
  });
  if (older !== undefined) {
    throw lost(record.offset, `key ${record.key} was deleted by it and is back at ${older.offset}`);
  }
}

const lost = (offset: number, why: string): Error => new Error(`offset ${offset} is lost: ${why}`);
