/**
 * The truth for `transaction-life.ts`: everything that was appended to one partition, what a committed
 * reader must get of it, and such a reader, which works as Kafka's clients do.
 */
import { offset } from "../../src/base/ids.ts";
import type { Partition } from "../../src/log/partition.ts";
import { type BatchView, batchesIn } from "../../src/record/batch.ts";
import { readControl } from "../../src/record/control.ts";
import { recordsIn } from "../../src/record/record.ts";

interface ModelBatch {
  readonly base: number;
  /** None in a marker. */
  readonly records: readonly { readonly key: string; readonly value: string | null }[];
  /** Null: outside of transactions. */
  readonly producer: number | null;
  readonly marker: "commit" | "abort" | null;
  /** Entry of this life's WAL; 0: an older life's. */
  readonly walNumber: number;
}

interface ReadRecord {
  readonly offset: number;
  readonly key: string;
  readonly value: string | null;
}

type Fate = "committed" | "aborted" | "open";

export class TransactionModel {
  #batches: ModelBatch[] = [];

  add(batch: ModelBatch): void {
    this.#batches.push(batch);
  }

  /** A crash took the entries above `number`; what is left is of an older life from now on. */
  forgetAbove(number: number): readonly ModelBatch[] {
    const lost = this.#batches.filter(({ walNumber }) => walNumber > number);
    this.#batches = this.#batches
      .filter(({ walNumber }) => walNumber <= number)
      .map((batch) => ({ ...batch, walNumber: 0 }));
    return lost;
  }

  /** What has become of each durable batch, by durable markers. */
  #fates(durable: number): ReadonlyMap<ModelBatch, Fate> {
    const fates = new Map<ModelBatch, Fate>();
    const open = new Map<number, ModelBatch[]>();
    for (const batch of this.#batches) {
      if (batch.walNumber > durable) break;
      const { producer, marker } = batch;
      if (producer === null) {
        fates.set(batch, "committed");
      } else if (marker === null) {
        const own = open.get(producer) ?? [];
        own.push(batch);
        open.set(producer, own);
        fates.set(batch, "open");
      } else {
        for (const own of open.get(producer) ?? []) {
          fates.set(own, marker === "commit" ? "committed" : "aborted");
        }
        open.delete(producer);
      }
    }
    return fates;
  }

  lastStable(durable: number): number {
    for (const [{ base }, fate] of this.#fates(durable)) if (fate === "open") return base;
    const last = this.#batches.findLast(({ walNumber }) => walNumber <= durable);
    return last === undefined ? 0 : last.base + Math.max(1, last.records.length);
  }

  /** Throws when a committed reader of [from, next) has got anything else than what is committed there. */
  compare(
    read: { readonly from: number; readonly next: number; readonly records: readonly ReadRecord[] },
    now: { readonly durable: number; readonly compacts: boolean },
  ): { readonly superseded: number; readonly aborted: number } {
    const { from, next } = read;
    const got = new Map(read.records.map((record) => [record.offset, record]));
    const lastStable = this.lastStable(now.durable);
    const newest = new Map<string, number>();
    const expected: ReadRecord[] = [];
    let aborted = 0;
    for (const [{ base, records }, fate] of this.#fates(now.durable)) {
      for (const [i, { key, value }] of records.entries()) {
        const at = base + i;
        if (fate === "committed" && at < lastStable) newest.set(key, at);
        if (at < from || at >= next) continue;
        if (fate === "committed") expected.push({ offset: at, key, value });
        else aborted++;
        if (fate !== "committed" && got.has(at)) {
          throw new Error(`a committed reader got offset ${at}, which is ${fate}`);
        }
      }
    }
    let superseded = 0;
    for (const { offset: at, key, value } of expected) {
      const record = got.get(at);
      got.delete(at);
      if (record === undefined) {
        // A tombstone may go by itself, when its time is over.
        const isGone = now.compacts && (value === null || (newest.get(key) as number) > at);
        if (!isGone) throw new Error(`a committed reader of ${from} to ${next} missed offset ${at}`);
        superseded++;
      } else if (record.key !== key || record.value !== value) {
        throw new Error(`a committed reader got something else at offset ${at}`);
      }
    }
    for (const at of got.keys()) {
      if (at >= from) throw new Error(`a committed reader got offset ${at}, where nothing is`);
    }
    const offsets = read.records.map((record) => record.offset);
    if (offsets.some((at, i) => i > 0 && at <= (offsets[i - 1] as number))) {
      throw new Error("a committed reader got records out of order");
    }
    return { superseded, aborted };
  }
}

/** Reads on from `first` until nothing comes. Null: the log start has passed it. */
export async function readCommitted(
  partition: Partition,
  first: number,
  bytesMax: number,
): Promise<{ readonly from: number; readonly next: number; readonly records: readonly ReadRecord[] } | null> {
  const records: ReadRecord[] = [];
  let next = first;
  for (;;) {
    const outcome = await partition.read({
      offset: offset(next),
      bytesMax,
      orOneBatch: true,
      isolation: "committed",
    });
    if (outcome.kind === "out-of-range") return null;
    if (outcome.kind === "damaged") throw new Error(`offsets ${next} to ${outcome.resumeAt} are lost`);
    const batches = outcome.chunks.flatMap((chunk) => [...batchesIn(Buffer.from(chunk))]);
    if (batches.length === 0) return { from: first, next, records };
    const last = batches.at(-1) as BatchView;
    if (last.baseOffset >= outcome.lastStable) {
      throw new Error(
        `a committed reader got offset ${last.baseOffset} at or above ${outcome.lastStable}, which is open`,
      );
    }
    const answer = { batches, aborted: outcome.aborted };
    for (const record of committedOf(answer)) if (record.offset >= next) records.push(record);
    next = last.nextOffset;
  }
}

/** What a client makes of one answer: an aborted transaction counts from its first offset to its producer's next abort marker. */
function* committedOf(answer: {
  readonly batches: readonly BatchView[];
  readonly aborted: readonly { readonly producerId: number; readonly firstOffset: number }[];
}): Generator<ReadRecord, void, void> {
  const waiting = [...answer.aborted];
  if (waiting.some(({ firstOffset }, i) => i > 0 && firstOffset < (waiting[i - 1]?.firstOffset ?? 0))) {
    throw new Error("aborted transactions are not sorted");
  }
  const now = new Set<number>();
  for (const batch of answer.batches) {
    while (waiting[0] !== undefined && waiting[0].firstOffset <= batch.lastOffset) {
      now.add((waiting.shift() as { producerId: number }).producerId);
    }
    if (batch.isControl) {
      if (batch.recordCount > 0 && readControl(batch).kind === "abort") now.delete(batch.producerId);
      continue;
    }
    if (batch.isTransactional && now.has(batch.producerId)) continue;
    for (const record of recordsIn(batch, 1 << 20)) {
      yield { offset: record.offset, key: text(record.key) as string, value: text(record.value) };
    }
  }
}

const text = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString();
