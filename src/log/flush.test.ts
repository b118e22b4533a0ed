import assert from "node:assert/strict";
import { test } from "node:test";
import { DamageError, DiskError } from "../base/errors.ts";
import {
  brokerEpoch,
  leaderEpoch,
  offset,
  partitionIndex,
  type WalPosition,
  walPosition,
} from "../base/ids.ts";
import {
  aBatch,
  anEnv,
  emptyState,
  ManualClock,
  MemoryStore,
  orders,
  settle,
} from "../../test/proof/segment-world.ts";
import { OutcomeUnknownError } from "../store/errors.ts";
import { Flusher } from "./flush.ts";
import type { FlushSource, SegmentBatch, Unflushed } from "./flush-source.ts";
import type { FoldRequest, FoldSource } from "./fold.ts";
import { ObjectNames } from "./object-names.ts";
import { SegmentIndex } from "./segment-index.ts";
import type { Flush, FlushRow, ListPointer, SegmentRef } from "./segment-ref.ts";

/** A partition whose WAL positions are its offsets times ten. */
class FakePartition implements FlushSource, FoldSource {
  readonly topicId = orders.topicId;
  readonly partition;
  readonly leaderEpoch = leaderEpoch(4);
  logStart = offset(0);
  flushed = offset(0);
  loadedEnd = offset(0);
  isDependent = false;
  startMoved = false;
  batches: SegmentBatch[] = [];
  recent: SegmentRef[] = [];
  folded: ListPointer | null = null;
  readonly rows: FlushRow[] = [];
  readonly #told: (name: string) => void;

  constructor(index: number, told: (name: string) => void = () => undefined) {
    this.partition = partitionIndex(index);
    this.#told = told;
  }
  segments() {
    return { folded: this.folded, recent: this.recent };
  }
  append(count: number, size = 20): void {
    const end = this.batches.at(-1);
    const base = end === undefined ? this.flushed : end.baseOffset + end.count;
    this.batches.push(aBatch({ base, count, size }));
  }
  unflushed(below: WalPosition): Unflushed | null {
    const batches = this.batches.filter(
      ({ baseOffset, count }) => baseOffset >= this.flushed && (baseOffset + count) * 10 <= below,
    );
    const last = batches.at(-1);
    const to = offset(
      last === undefined ? Math.max(this.flushed, this.loadedEnd) : last.baseOffset + last.count,
    );
    if (to === this.flushed && !this.isDependent && !this.startMoved) return null;
    const start = this.startMoved ? this.logStart : offset(-1);
    const kept = batches.filter(({ baseOffset, count }) => baseOffset + count > this.logStart);
    const times = { appendedFirstMs: 1, appendedLastMs: 2 };
    const { leaderEpoch: epoch, flushed: from } = this;
    return { leaderEpoch: epoch, from, to, start, batches: kept, ...times, state: emptyState };
  }
  published(row: FlushRow): void {
    this.rows.push(row);
    this.flushed = row.to;
    this.isDependent = false;
    this.startMoved = false;
    if (row.segment !== null) this.recent.push(row.segment);
    this.#told("told");
  }
}

function aFlusher(facts: { readonly publish?: (flush: Flush) => Promise<"published" | "void"> } = {}) {
  const steps: string[] = [];
  const clock = new ManualClock();
  const env = anEnv(clock);
  const store = new MemoryStore();
  store.beforePut = (key) => void steps.push(`put ${key}`);
  store.beforeDelete = (key) => steps.push(`delete ${key}`);
  const partitions = [0, 1, 2].map((index) => new FakePartition(index, (step) => steps.push(step)));
  const flushes: Flush[] = [];
  const folds: FoldRequest[] = [];
  const failures: Error[] = [];
  const wal = {
    durablePosition: walPosition(0),
    release: (below: WalPosition) => void steps.push(`release ${below}`),
  };
  const names = new ObjectNames("cluster", brokerEpoch(7));
  const state = { unflushedBytes: 0 };
  const flusher = new Flusher({
    env,
    store,
    names,
    wal,
    index: new SegmentIndex(store, 1 << 20),
    sources: () => partitions,
    publishFlush(flush) {
      for (const { segment } of flush.rows) {
        assert.ok(segment === null || store.objects.has(segment.object), "what is published is stored");
      }
      steps.push("publish");
      flushes.push(flush);
      return facts.publish?.(flush) ?? Promise.resolve("published");
    },
    publishFold(fold) {
      folds.push(fold);
      assert.ok(fold.next !== null && store.objects.has(fold.next.object));
      const partition = partitions[fold.partition] as FakePartition;
      partition.folded = fold.next;
      partition.recent = partition.recent.filter(({ end }) => end > (fold.next as ListPointer).end);
      return Promise.resolve("published");
    },
    unflushedBytes: () => state.unflushedBytes,
    unflushedBytesTrigger: 1000,
    isAwaited: () => false,
    ageMs: 30_000,
    onFailure: (cause) => failures.push(cause),
  });
  const [one, two, three] = partitions as [FakePartition, FakePartition, FakePartition];
  return { flusher, clock, env, store, one, two, three, wal, names, steps, flushes, folds, failures, state };
}

const full = () => new DiskError({ errno: "ENOSPC", operation: "write", path: "seg" });

test("objects are stored before they are published, partitions hear of it then, and the WAL is released last", async () => {
  const { flusher, one, two, wal, steps, flushes } = aFlusher();
  one.append(3);
  one.append(2);
  two.append(4, 1_200_000);
  wal.durablePosition = walPosition(40);
  await flusher.flush();
  assert.deepEqual(steps, [
    "put seg/000000000007/000000000000",
    "put seg/000000000007/000000000001",
    "publish",
    "told",
    "told",
    "release 40",
  ]);
  const [flush] = flushes;
  assert.ok(flush !== undefined);
  assert.equal(flush.release, 40);
  assert.equal(flush.below, 2);
  assert.deepEqual(
    flush.rows.map(({ from, to, leaderEpoch: epoch, segment }) => [
      from,
      to,
      epoch,
      segment?.base,
      segment?.end,
    ]),
    [
      [0, 3, 4, 0, 3],
      [0, 4, 4, 0, 4],
    ],
    "what lies above the durable position is not flushed, and partitions without anything have no row",
  );
});

test("an object in the making keeps the settled numbers below its own", async () => {
  const { flusher, one, wal, names, flushes } = aFlusher();
  const making = names.take();
  one.append(1);
  wal.durablePosition = walPosition(10);
  await flusher.flush();
  assert.equal(flushes[0]?.below, making.counter);
  names.settle(making);
  one.append(1);
  wal.durablePosition = walPosition(20);
  await flusher.flush();
  assert.equal(flushes[1]?.below, 3);
});

test("a partition that only depends on an older WAL gets a row without a segment, and one that was trimmed away a footer", async () => {
  const { flusher, one, two, three, wal, flushes } = aFlusher();
  one.isDependent = true;
  two.append(5);
  two.logStart = offset(5);
  two.startMoved = true;
  three.append(2);
  three.append(2);
  three.logStart = offset(3);
  three.startMoved = true;
  wal.durablePosition = walPosition(50);
  await flusher.flush();
  const rows = flushes[0]?.rows ?? [];
  assert.deepEqual(
    rows.map(({ from, to, start, segment }) => [
      from,
      to,
      start,
      segment && [segment.base, segment.end, segment.recordCount],
    ]),
    [
      [0, 0, -1, null],
      [0, 5, 5, [5, 5, 0]],
      [0, 4, 3, [2, 4, 2]],
    ],
  );
});

test("the release alone is published when no partition has anything, and nothing when nothing moved", async () => {
  const { flusher, wal, flushes, steps } = aFlusher();
  await flusher.flush();
  assert.deepEqual(steps, []);
  wal.durablePosition = walPosition(70);
  await flusher.flush();
  await flusher.flush();
  assert.deepEqual(flushes, [{ rows: [], release: 70, below: 0 }]);
});

test("on a full disk nothing is published or released, what was written goes, and the flush is tried again after a pause", async () => {
  const { flusher, clock, one, two, wal, steps, failures, store } = aFlusher();
  one.append(1, 1_200_000);
  two.append(1);
  wal.durablePosition = walPosition(10);
  let puts = 0;
  store.beforePut = () => {
    if (++puts === 2) throw full();
  };
  await assert.rejects(flusher.flush(), /ENOSPC/);
  assert.deepEqual(steps, ["delete seg/000000000007/000000000000"]);
  assert.equal(store.objects.size, 0);
  await clock.advance(50);
  assert.equal(puts, 2);
  await clock.advance(50);
  assert.deepEqual(steps.slice(1), ["publish", "told", "told", "release 10"]);
  assert.deepEqual(failures, []);
});

test("however long a store was away, a flush is tried within a second of its return, and on a full disk within ten", async () => {
  for (const [cause, patienceMs] of [
    [new OutcomeUnknownError("503"), 1_000],
    [full(), 10_000],
  ] as const) {
    const { flusher, clock, one, wal, steps, failures, store } = aFlusher();
    one.append(1);
    wal.durablePosition = walPosition(10);
    let puts = 0;
    store.beforePut = () => {
      puts++;
      throw cause;
    };
    await assert.rejects(flusher.flush(), cause);
    const pass = async (ms: number): Promise<void> => {
      for (let at = 0; at < ms; at += 100) await clock.advance(100);
    };
    await pass(60_000);
    assert.ok(puts > 9 && puts <= 60_000 / patienceMs + 7, `${puts} tries`);
    store.beforePut = () => undefined;
    await pass(patienceMs);
    assert.equal(steps.at(-1), "release 10");
    assert.deepEqual(failures, []);
  }
});

test("any other failure of the store ends flushing, with nothing published or released", async () => {
  const { flusher, one, wal, steps, failures, store } = aFlusher();
  one.append(1);
  wal.durablePosition = walPosition(10);
  store.beforePut = () => {
    throw new DiskError({ errno: "EIO", operation: "sync", path: "seg" });
  };
  await assert.rejects(flusher.flush(), /EIO/);
  assert.deepEqual(steps, []);
  assert.equal(failures.length, 1);
  await assert.rejects(flusher.flush(), /Nothing is flushed any more/);
});

test("a FLUSH without effect releases nothing and is made anew from a fresh view, and after three the process must end", async () => {
  const { flusher, one, wal, flushes, failures, steps, store } = aFlusher({
    publish: () => Promise.resolve("void"),
  });
  one.append(1);
  wal.durablePosition = walPosition(10);
  await assert.rejects(flusher.flush(), /took no effect/);
  await settle();
  assert.equal(flushes.length, 3);
  assert.equal(failures.length, 1);
  assert.ok(!steps.some((step) => step.startsWith("release") || step === "told"));
  assert.equal(store.objects.size, 0);
});

test("after a FLUSH of unknown outcome its objects stay, for the journal may name them", async () => {
  const { flusher, one, wal, failures, steps, store, names } = aFlusher({
    publish: () => Promise.reject(new DamageError("the journal is closed")),
  });
  one.append(1);
  wal.durablePosition = walPosition(10);
  await assert.rejects(flusher.flush(), /the journal is closed/);
  assert.equal(store.objects.size, 1);
  assert.equal(names.below(), 0, "its number is not settled");
  assert.equal(failures.length, 1);
  assert.ok(!steps.includes("release 10"));
});

test("a flush begins when much is unflushed, and by age", async () => {
  const { flusher, clock, one, wal, flushes, state } = aFlusher();
  flusher.start();
  one.append(1);
  wal.durablePosition = walPosition(10);
  state.unflushedBytes = 999;
  flusher.noticeDurable();
  await settle();
  assert.equal(flushes.length, 0);
  state.unflushedBytes = 1000;
  flusher.noticeDurable();
  state.unflushedBytes = 0;
  await settle();
  assert.equal(flushes.length, 1);
  one.append(1);
  wal.durablePosition = walPosition(20);
  await clock.advance(29_999);
  assert.equal(flushes.length, 1);
  await clock.advance(1);
  assert.equal(flushes.length, 2);
  await flusher.close();
  one.append(1);
  wal.durablePosition = walPosition(30);
  await clock.advance(60_000);
  assert.equal(flushes.length, 2);
});

test("what recovery loaded is flushed at once when it is much, with nothing new in the WAL", async () => {
  const { flusher, one, flushes, state } = aFlusher();
  one.isDependent = true;
  state.unflushedBytes = 1000;
  flusher.start();
  state.unflushedBytes = 0;
  await settle();
  assert.equal(flushes.length, 1);
  await flusher.close();
});

test("whoever asks for a flush while one runs gets one that began after the question", async () => {
  const { flusher, one, wal, flushes, store } = aFlusher();
  one.append(1);
  wal.durablePosition = walPosition(10);
  const later: Promise<void>[] = [];
  store.beforePut = () => {
    if (later.length > 0) return;
    one.append(1);
    wal.durablePosition = walPosition(20);
    later.push(flusher.flush());
  };
  await flusher.flush();
  await Promise.all(later);
  assert.deepEqual(
    flushes.map(({ release }) => release),
    [10, 20],
  );
});

test("a partition with many recent segments is folded before it is flushed", async () => {
  const { flusher, one, wal, folds, flushes } = aFlusher();
  for (let i = 1; i <= 200; i++) {
    one.append(1);
    wal.durablePosition = walPosition(i * 10);
    await flusher.flush();
    assert.ok(one.recent.length <= 48);
  }
  assert.equal(flushes.length, 200);
  assert.equal(folds.length, 4);
  assert.equal((one.folded?.segmentCount ?? 0) + one.recent.length, 200);
});

test("while somebody holds flushes none runs, and what was due then runs afterwards", async () => {
  const { flusher, one, wal, clock, flushes } = aFlusher();
  flusher.start();
  one.append(1);
  wal.durablePosition = walPosition(10);
  let end = (): void => undefined;
  const held = flusher.exclusive(() => new Promise<void>((resolve) => (end = resolve)));
  await settle();
  const asked = flusher.flush();
  await clock.advance(60_000);
  assert.equal(flushes.length, 0);
  end();
  await held;
  await asked;
  assert.equal(flushes.length, 1);
  await flusher.close();
});
