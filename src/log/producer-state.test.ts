import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { offset, type ProducerEpoch, producerEpoch, type ProducerId, producerId } from "../base/ids.ts";
import { batchesRemembered, ProducerState, type SequencedEntry } from "./producer-state.ts";

const LAST_SEQUENCE = 2 ** 31 - 1;

/** An appended batch; 3 records of producer 7 in epoch 0 at sequence 0 and offset 0, unless said otherwise. */
function anEntry(
  fields: Partial<{ [K in Exclude<keyof SequencedEntry, "isTransactional" | "marker">]: number }> &
    Partial<Pick<SequencedEntry, "isTransactional" | "marker">> = {},
): SequencedEntry {
  return {
    baseOffset: offset(fields.baseOffset ?? 0),
    count: fields.count ?? 3,
    producerId: producerId(fields.producerId ?? 7),
    producerEpoch: producerEpoch(fields.producerEpoch ?? 0),
    sequence: fields.sequence ?? 0,
    isTransactional: fields.isTransactional ?? false,
    marker: fields.marker ?? null,
    appendedMs: fields.appendedMs ?? 1000,
    logAppendTimeMs: fields.logAppendTimeMs ?? -1,
    walNumber: fields.walNumber ?? 1,
  };
}

function judge(state: ProducerState, entry: SequencedEntry) {
  const { producerId: id, producerEpoch: epoch, sequence, count, appendedMs, isTransactional } = entry;
  return state.check(id, epoch, sequence, count, appendedMs, isTransactional);
}

/** `count` batches of one record each, from sequence `first` on, at offsets 100, 101, … */
function withBatches(count: number, first = 0): ProducerState {
  const state = new ProducerState();
  for (let i = 0; i < count; i++) {
    state.apply(
      anEntry({ sequence: (first + i) % 2 ** 31, count: 1, baseOffset: 100 + i, walNumber: i + 1 }),
    );
  }
  return state;
}

describe("idempotent producers", () => {
  it("a retry among the remembered batches is a duplicate with the offset and the WAL entry of the first time", () => {
    const state = withBatches(9);
    for (let i = 9 - batchesRemembered; i < 9; i++) {
      const verdict = judge(state, anEntry({ sequence: i, count: 1 }));
      assert.equal(verdict.kind, "duplicate");
      assert.ok(verdict.kind === "duplicate");
      assert.equal(verdict.batch.baseOffset, 100 + i);
      assert.equal(verdict.batch.walNumber, i + 1);
    }
  });

  it("at least five batches are remembered", () => assert.ok(batchesRemembered >= 5));

  it("a retry older than the remembered batches is a duplicate without an offset", () => {
    assert.equal(judge(withBatches(9), anEntry({ sequence: 3, count: 1 })).kind, "duplicate-sequence");
    assert.equal(judge(withBatches(9), anEntry({ sequence: 0, count: 4 })).kind, "duplicate-sequence");
  });

  it("a sequence that was never taken is not called a duplicate, however old it looks", () => {
    const state = new ProducerState();
    state.apply(anEntry({ sequence: 0, count: 1 }));
    // What a log holds counts, even if it does not begin at 0: nothing is known of 1 to 49.
    for (let i = 50; i < 60; i++) state.apply(anEntry({ sequence: i, count: 1, baseOffset: i }));
    assert.deepEqual(judge(state, anEntry({ sequence: 49, count: 1 })), {
      kind: "out-of-order-sequence",
      expected: 60,
    });
    assert.equal(judge(state, anEntry({ sequence: 51, count: 1 })).kind, "duplicate-sequence");
  });

  it("a gap is not called a duplicate, however many sequence numbers were taken", () => {
    const [producer] = withBatches(9).snapshot();
    assert.ok(producer);
    const producers = [{ ...producer, sequenceCount: LAST_SEQUENCE }];
    const state = ProducerState.restore({ recordedMs: 1000, producers });
    for (const sequence of [10, 11, 1000, 2 ** 30]) {
      assert.equal(judge(state, anEntry({ sequence, count: 1 })).kind, "out-of-order-sequence");
    }
    assert.equal(judge(state, anEntry({ sequence: LAST_SEQUENCE, count: 1 })).kind, "duplicate-sequence");
  });

  it("a gap is refused and names what is expected", () => {
    const verdict = judge(withBatches(2), anEntry({ sequence: 3 }));
    assert.deepEqual(verdict, { kind: "out-of-order-sequence", expected: 2 });
  });

  it("a batch that overlaps remembered ones without being one of them is refused", () => {
    const state = withBatches(4);
    assert.equal(judge(state, anEntry({ sequence: 3, count: 2 })).kind, "out-of-order-sequence");
    assert.equal(judge(state, anEntry({ sequence: 1, count: 2 })).kind, "out-of-order-sequence");
  });

  it("sequences go on at 0 behind 2^31 − 1, also inside a batch", () => {
    const state = withBatches(3, LAST_SEQUENCE - 2);
    assert.equal(judge(state, anEntry({ sequence: 0 })).kind, "next");
    assert.equal(judge(state, anEntry({ sequence: 1 })).kind, "out-of-order-sequence");
    const across = withBatches(1, LAST_SEQUENCE - 2);
    const batch = anEntry({ sequence: LAST_SEQUENCE - 1, count: 5, baseOffset: 200 });
    assert.equal(judge(across, batch).kind, "next");
    across.apply(batch);
    assert.equal(judge(across, batch).kind, "duplicate");
    assert.equal(judge(across, anEntry({ sequence: 3 })).kind, "next");
  });

  it("a new epoch begins at sequence 0 and fences the one before", () => {
    const state = withBatches(4);
    assert.deepEqual(judge(state, anEntry({ producerEpoch: 1, sequence: 4 })), {
      kind: "out-of-order-sequence",
      expected: 0,
    });
    const first = anEntry({ producerEpoch: 1, sequence: 0 });
    assert.equal(judge(state, first).kind, "next");
    state.apply(first);
    assert.deepEqual(judge(state, anEntry({ producerEpoch: 0, sequence: 4 })), {
      kind: "stale-producer-epoch",
      current: 1,
    });
    assert.equal(judge(state, anEntry({ producerEpoch: 1, sequence: 3 })).kind, "next");
  });

  it("an unknown producer begins at sequence 0", () => {
    const state = new ProducerState();
    assert.equal(judge(state, anEntry({ sequence: 0 })).kind, "next");
    assert.equal(judge(state, anEntry({ sequence: 1 })).kind, "unknown-producer");
  });

  it("a producer is forgotten when the recorded time has left it behind, also that of other producers' batches", () => {
    const state = new ProducerState({ expirationMs: 100 });
    state.apply(anEntry({ sequence: 0, count: 1, appendedMs: 1000 }));
    assert.equal(judge(state, anEntry({ sequence: 1, appendedMs: 1100 })).kind, "next");
    assert.equal(judge(state, anEntry({ sequence: 1, appendedMs: 1101 })).kind, "unknown-producer");
    state.apply(anEntry({ producerId: -1, sequence: -1, appendedMs: 1101 }));
    assert.equal(state.size, 0);
    assert.equal(judge(state, anEntry({ sequence: 1, appendedMs: 1000 })).kind, "unknown-producer");
  });

  it("over the bound the producer that was silent longest is forgotten", () => {
    const state = new ProducerState({ producersMax: 2 });
    for (const id of [1, 2, 1, 3]) state.apply(anEntry({ producerId: id, sequence: id === 1 ? 3 : 0 }));
    assert.equal(state.size, 2);
    assert.equal(judge(state, anEntry({ producerId: 2, sequence: 3 })).kind, "unknown-producer");
    assert.equal(judge(state, anEntry({ producerId: 1, sequence: 6 })).kind, "next");
  });

  it("judging changes nothing", () => {
    const state = withBatches(7);
    const before = state.snapshot();
    for (const sequence of [0, 3, 7, 9]) judge(state, anEntry({ sequence, count: 1, appendedMs: 10 ** 12 }));
    assert.deepEqual(state.snapshot(), before);
    assert.equal(state.recordedMs, 1000);
  });

  it("agrees with a model that remembers everything; a copy and a restored snapshot agree as well", () => {
    const step = fc.record({
      producer: fc.integer({ min: 1, max: 4 }),
      epoch: fc.constantFrom(0, 0, 0, 1, 2),
      /** Relative to the next sequence of that producer. */
      shift: fc.constantFrom(0, 0, 0, 0, -1, -2, -3, -5, -9, 1, 2),
      count: fc.integer({ min: 1, max: 3 }),
      restart: fc.constantFrom(false, false, false, true),
      forwardMs: fc.constantFrom(0, 0, 1, 5, 60, -20),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, wrapping) => {
        const bounds = { producersMax: 3, expirationMs: 100 };
        let state = new ProducerState(bounds);
        const model = new Model(bounds);
        let nowMs = 1000;
        let end = 0;
        for (const { producer, epoch, shift, count, restart, forwardMs } of steps) {
          nowMs += forwardMs;
          const next = model.next(producer, epoch);
          const wrapped = (next + shift + 2 ** 31) % 2 ** 31;
          const sequence = restart ? 0 : wrapping || next + shift >= 0 ? wrapped : 0;
          const entry = anEntry({
            producerId: producer,
            producerEpoch: epoch,
            sequence,
            count,
            baseOffset: end,
            appendedMs: nowMs,
            walNumber: 0,
          });
          const verdict = judge(state, entry);
          assert.deepEqual(simple(verdict), model.judge(entry));
          if (verdict.kind === "next") {
            state.apply(entry);
            model.apply(entry);
            end += count;
          }
          const restored = ProducerState.restore(
            { recordedMs: state.recordedMs, producers: state.snapshot() },
            bounds,
          );
          const copy = state.clone();
          assert.deepEqual(restored.snapshot(), state.snapshot());
          assert.deepEqual([restored.recordedMs, copy.recordedMs], [state.recordedMs, state.recordedMs]);
          state.apply(anEntry({ producerId: 99, appendedMs: 0 }));
          state = end % 2 === 0 ? restored : copy;
        }
      }),
      { numRuns: 300 },
    );
  });
});

type Judgement = { kind: string; offset?: number; expected?: number; current?: number };

function simple(verdict: ReturnType<ProducerState["check"]>): Judgement {
  if (verdict.kind === "duplicate") return { kind: verdict.kind, offset: verdict.batch.baseOffset };
  return verdict;
}

/** The same rules with unbounded memory: every sequence number that was taken, one by one. */
class Model {
  readonly #bounds: { producersMax: number; expirationMs: number };
  #clock = 0;
  #known = new Map<ProducerId, { epoch: ProducerEpoch; lastMs: number; batches: SequencedEntry[] }>();

  constructor(bounds: { producersMax: number; expirationMs: number }) {
    this.#bounds = bounds;
  }

  next(id: number, epoch: number): number {
    const known = this.#known.get(producerId(id));
    const last = known?.epoch === epoch ? known.batches.at(-1) : undefined;
    return last === undefined ? 0 : (last.sequence + last.count) % 2 ** 31;
  }

  judge(entry: SequencedEntry): Judgement {
    const known = this.#known.get(entry.producerId);
    const clock = Math.max(this.#clock, entry.appendedMs);
    if (known === undefined || clock - known.lastMs > this.#bounds.expirationMs) {
      return { kind: entry.sequence === 0 ? "next" : "unknown-producer" };
    }
    if (entry.producerEpoch < known.epoch) return { kind: "stale-producer-epoch", current: known.epoch };
    const expected = this.next(entry.producerId, entry.producerEpoch);
    if (entry.sequence === expected) return { kind: "next" };
    if (entry.producerEpoch === known.epoch) {
      const same = known.batches
        .slice(-batchesRemembered)
        .find((batch) => batch.sequence === entry.sequence && batch.count === entry.count);
      if (same !== undefined) return { kind: "duplicate", offset: same.baseOffset };
      const taken = new Set(known.batches.slice(0, -batchesRemembered).flatMap(sequencesOf));
      if (sequencesOf(entry).every((sequence) => taken.has(sequence))) return { kind: "duplicate-sequence" };
    }
    return { kind: "out-of-order-sequence", expected };
  }

  apply(entry: SequencedEntry): void {
    this.#clock = Math.max(this.#clock, entry.appendedMs);
    for (const [id, known] of this.#known) {
      if (this.#clock - known.lastMs > this.#bounds.expirationMs) this.#known.delete(id);
    }
    const known = this.#known.get(entry.producerId);
    const batches = known?.epoch === entry.producerEpoch ? known.batches : [];
    this.#known.delete(entry.producerId);
    this.#known.set(entry.producerId, {
      epoch: entry.producerEpoch,
      lastMs: this.#clock,
      batches: [...batches, entry],
    });
    const [oldest] = this.#known.keys();
    if (this.#known.size > this.#bounds.producersMax && oldest !== undefined) this.#known.delete(oldest);
  }
}

function sequencesOf(entry: SequencedEntry): number[] {
  return Array.from({ length: entry.count }, (_, index) => (entry.sequence + index) % 2 ** 31);
}

/** A batch of one record in a transaction of producer 7. */
const transactional = (fields: Parameters<typeof anEntry>[0] = {}) =>
  anEntry({ count: 1, isTransactional: true, ...fields });

const marker = (fields: Parameters<typeof anEntry>[0] = {}) =>
  transactional({ sequence: -1, marker: { outcome: "abort", coordinatorEpoch: 0 }, ...fields });

describe("transactions of producers", () => {
  it("a transaction is open from its first batch to its marker", () => {
    const state = new ProducerState();
    assert.deepEqual(state.apply(transactional({ baseOffset: 10 })), { kind: "opened" });
    assert.equal(state.apply(transactional({ baseOffset: 12, sequence: 1 })), null);
    assert.equal(state.facts(producerId(7))?.openFrom, 10);
    assert.deepEqual(state.apply(marker({ baseOffset: 13 })), { kind: "ended", from: 10, outcome: "abort" });
    assert.equal(state.facts(producerId(7))?.openFrom, -1);
  });

  it("a marker without an open transaction ends nothing and moves the epoch", () => {
    const state = new ProducerState();
    state.apply(transactional());
    state.apply(marker());
    assert.equal(state.apply(marker({ producerEpoch: 3 })), null);
    assert.equal([...state.active()][0]?.producerEpoch, 3);
    assert.equal(judge(state, transactional({ producerEpoch: 3, sequence: 0 })).kind, "next");
    assert.equal(
      judge(state, transactional({ producerEpoch: 3, sequence: 1 })).kind,
      "out-of-order-sequence",
    );
    assert.equal(judge(state, transactional({ producerEpoch: 2, sequence: 1 })).kind, "stale-producer-epoch");
  });

  it("sequence numbers go on behind a marker of the same epoch", () => {
    const state = new ProducerState();
    state.apply(transactional());
    state.apply(marker());
    assert.equal(judge(state, transactional({ sequence: 1 })).kind, "next");
  });

  it("a batch outside of the producer's open transaction is refused, a retry of one before it is not", () => {
    const state = new ProducerState();
    state.apply(anEntry({ count: 1 }));
    state.apply(transactional({ sequence: 1, baseOffset: 1 }));
    assert.equal(judge(state, anEntry({ sequence: 2, count: 1 })).kind, "invalid-transaction-state");
    assert.equal(judge(state, anEntry({ sequence: -1, count: 1 })).kind, "invalid-transaction-state");
    assert.equal(judge(state, anEntry({ sequence: 0, count: 1 })).kind, "duplicate");
  });

  it("a marker of an older epoch, or of an older coordinator, is refused", () => {
    const state = new ProducerState();
    state.apply(transactional({ producerEpoch: 4 }));
    const kind = (epoch: number, coordinator: number, version?: number) =>
      state.checkMarker(producerId(7), producerEpoch(epoch), coordinator, version).kind;
    assert.equal(kind(3, 5), "stale-producer-epoch");
    assert.equal(kind(4, 5), "next");
    assert.equal(kind(4, 5, 2), "stale-producer-epoch");
    assert.equal(kind(5, 5, 2), "next");
    state.apply(marker({ producerEpoch: 5, marker: { outcome: "commit", coordinatorEpoch: 5 } }));
    assert.equal(kind(5, 4, 2), "coordinator-fenced");
    assert.equal(kind(5, 5, 2), "next");
  });

  it("a producer with an open transaction is neither expired nor evicted, and its snapshot has the transaction", () => {
    const state = new ProducerState({ producersMax: 2, expirationMs: 1000 });
    state.apply(transactional({ baseOffset: 3, producerEpoch: 2, appendedMs: 0 }));
    for (let id = 20; id < 30; id++) {
      state.apply(anEntry({ producerId: id, count: 1, appendedMs: 1000 * id }));
    }
    const restored = ProducerState.restore({ recordedMs: state.recordedMs, producers: state.snapshot() });
    for (const each of [state, state.clone(), restored]) {
      assert.equal(each.facts(producerId(7))?.openFrom, 3);
      assert.equal(judge(each, transactional({ sequence: 1, producerEpoch: 2 })).kind, "next");
      const late = transactional({ sequence: 1, producerEpoch: 2, appendedMs: 10 ** 9 });
      assert.equal(judge(each, late).kind, "next");
    }
  });
});
