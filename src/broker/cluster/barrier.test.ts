/** When a broker may believe that it still owns what it owned, over a WAL and a journal in a simulated bucket. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type BrokerEpoch, leaderEpoch, nodeId, partitionIndex, walPosition } from "../../base/ids.ts";
import { sha256 } from "../../io/sha256.ts";
import { ObjectWal } from "../../log/object-wal.ts";
import { sealWal } from "../../log/object-wal-seal.ts";
import { anEntry } from "../../log/wal.contract.ts";
import { Journal } from "../../metadata/journal.ts";
import { SimClock } from "../../sim/clock.ts";
import { SimObjectStore } from "../../sim/object-store.ts";
import { SimRandom } from "../../sim/random.ts";
import { Scheduler } from "../../sim/scheduler.ts";
import { silentLogger, silentMeter } from "../../sim/silence.ts";
import { aTopic, aTopicId } from "../../../test/proof/journal-world.ts";
import { MovedError, ReplacedError, StoreBarrier } from "./barrier.ts";

const part = { topicId: aTopicId(1), partition: partitionIndex(0) };

interface Options {
  readonly isMoving?: () => boolean;
  readonly latencyMs?: number;
}

class World {
  readonly random = new SimRandom(7);
  readonly scheduler = new Scheduler(this.random);
  readonly clock = new SimClock(this.scheduler);
  readonly bucket: SimObjectStore;
  /** Reads of the journal: slots and cut markers. */
  reads = 0;

  constructor(latencyMs: number) {
    this.bucket = new SimObjectStore({ clock: this.clock, random: this.random, latencyMs });
  }

  env(name: string) {
    const random = this.random.fork(name);
    return { clock: this.clock, random, log: silentLogger, meter: silentMeter };
  }

  async journal(name: string): Promise<Journal> {
    const connected = this.bucket.connect();
    const store = {
      ...connected,
      get: (...wanted: Parameters<typeof connected.get>) => {
        this.reads++;
        return connected.get(...wanted);
      },
    };
    const journal = await this.run(
      Journal.open({ store, env: this.env(name), sha256, walKind: "object", chapterSlots: 4 }),
    );
    const listeners = [{ name: "PLAINTEXT", host: name, port: 9092 }];
    const node = { nodeId: nodeId(name === "old" ? 1 : 2), rack: null, window: 8, software: "test" };
    const broker = { ...node, name, listeners };
    await this.run(journal.register(broker));
    return journal;
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.scheduler.runUntil(promise);
  }
  pass(ms: number): Promise<unknown> {
    return this.run(new Promise<void>((resolve) => this.scheduler.schedule(ms, () => resolve())));
  }
}

async function aBarrier({ isMoving = () => false, latencyMs = 30 }: Options = {}) {
  const world = new World(latencyMs);
  const journal = await world.journal("old");
  const epoch = journal.epoch as BrokerEpoch;
  const { clusterId } = journal.state;
  const wal: ObjectWal = new ObjectWal({
    ...world.env("wal"),
    store: world.bucket.connect(),
    clusterId,
    epoch,
    events: { onDurable: () => barrier.noticeDurable(), onFailure: () => undefined },
  });
  const barrier: StoreBarrier = new StoreBarrier({ wal, journal, clock: world.clock, isMoving });
  world.reads = 0;
  return { world, journal, epoch, clusterId, wal, barrier };
}

/** What became of a promise, seen from outside. */
function watched(promise: Promise<void> | undefined): { now: "open" | "passed" | "refused" } {
  assert.ok(promise !== undefined);
  const seen: { now: "open" | "passed" | "refused" } = { now: "open" };
  promise.then(
    () => (seen.now = "passed"),
    () => (seen.now = "refused"),
  );
  return seen;
}

/** Another broker ends the epoch and seals its log, as a take-over does. */
async function takeOver({ world, epoch, clusterId }: Awaited<ReturnType<typeof aBarrier>>): Promise<Journal> {
  const successor = await world.journal("new");
  await world.run(successor.append({ kind: "fence", epoch }));
  const ports = { clock: world.clock, random: world.random.fork("sealer") };
  const store = world.bucket.connect();
  await world.run(sealWal({ store, ports, clusterId, epoch, released: walPosition(0) }));
  return successor;
}

test("a broker that writes passes by a slot that left after the question, and reads nothing", async () => {
  const { world, wal, barrier } = await aBarrier();
  for (let base = 0; base < 20; base++) {
    wal.append([anEntry({ base })]);
    const passed = watched(barrier.pass());
    await world.pass(10);
    wal.append([anEntry({ base: 100 + base })]);
    await world.run(wal.whenDurable(wal.appended));
    assert.equal(passed.now, "passed");
  }
  assert.equal(world.reads, 0);
});

test("a slot that had left before the question proves nothing", async () => {
  const { world, wal, barrier } = await aBarrier({ latencyMs: 40 });
  wal.append([anEntry({ base: 0 })]);
  await world.pass(1);
  assert.equal(wal.sentEnd, 1);
  const passed = watched(barrier.pass());
  await world.run(wal.whenDurable(1));
  await world.pass(0);
  assert.equal(passed.now, "open");
  await world.pass(200);
  assert.equal(passed.now, "passed");
  assert.equal(world.reads, 2);
});

test("a question that was asked before a slot left needs no further proof once that slot counts", async () => {
  const { world, wal, barrier } = await aBarrier();
  const mark = barrier.mark();
  wal.append([anEntry({ base: 0 })]);
  await world.run(wal.whenDurable(1));
  assert.equal(barrier.pass(mark), undefined);
  assert.ok(barrier.pass(barrier.mark()) !== undefined);
});

test("an idle broker reads the journal's tail once for all who ask, and once more for who asks meanwhile", async () => {
  const { world, barrier } = await aBarrier();
  const first = Array.from({ length: 100 }, () => watched(barrier.pass()));
  await world.pass(5);
  assert.equal(world.reads, 1);
  const second = Array.from({ length: 100 }, () => watched(barrier.pass()));
  while (first[0]?.now === "open") await world.pass(1);
  assert.ok(first.every(({ now }) => now === "passed"));
  assert.ok(second.every(({ now }) => now === "open"));
  assert.ok(world.reads <= 3);
  await world.pass(100);
  assert.ok(second.every(({ now }) => now === "passed"));
  assert.equal(world.reads, 4);
});

test("a broker that was replaced is told so, and never passes again", async () => {
  const made = await aBarrier();
  const { world, journal, epoch, barrier } = made;
  await world.run(barrier.pass() as Promise<void>);
  await takeOver(made);
  assert.equal(journal.state.brokers.get(epoch)?.status, "live");
  await assert.rejects(world.run(barrier.pass() as Promise<void>), ReplacedError);
  assert.equal(journal.state.brokers.get(epoch)?.status, "fenced");
  await assert.rejects(barrier.pass() as Promise<void>, ReplacedError);
});

test("a broker whose log is sealed does not pass by what it writes", async () => {
  const made = await aBarrier();
  const { world, wal, barrier } = made;
  await takeOver(made);
  wal.append([anEntry({ base: 0 })]);
  const passed = watched(barrier.pass());
  await world.pass(1000);
  assert.equal(passed.now, "refused");
  assert.equal(wal.durable, 0);
});

test("what is asked while a partition is on its way to another broker, own slots do not prove, also not later", async () => {
  let isMoving = true;
  const { world, wal, barrier } = await aBarrier({ isMoving: () => isMoving });
  const mark = barrier.mark();
  wal.append([anEntry({ base: 0 })]);
  await world.run(wal.whenDurable(1));
  const passed = watched(barrier.pass(mark));
  wal.append([anEntry({ base: 1 })]);
  while (wal.durable < 2) await world.pass(1);
  // One look at the end of the journal, at the most: a slot and a cut marker.
  assert.deepEqual([passed.now, world.reads <= 2], ["open", true]);
  isMoving = false;
  await world.pass(200);
  assert.equal(passed.now, "passed");
  const before = world.reads;
  await world.run(barrier.pass(mark) as Promise<void>);
  assert.ok(world.reads > before);
});

test("what was asked while a partition was on its way is not answered once it has gone", async () => {
  let isMoving = false;
  const { world, wal, journal, epoch, barrier } = await aBarrier({ isMoving: () => isMoving });
  const other = await world.journal("new");
  await world.run(journal.catchUp());
  await world.run(journal.append(aTopic(1, epoch)));
  const before = barrier.mark();
  isMoving = true;
  const mark = barrier.mark();
  const move = { kind: "move", ...part, leaderEpoch: leaderEpoch(0), end: walPosition(0) } as const;
  const moved = await world.run(journal.append({ ...move, to: other.epoch as BrokerEpoch }));
  assert.equal(moved.kind, "applied");
  isMoving = false;
  wal.append([anEntry({ base: 0 })]);
  await world.run(wal.whenDurable(1));
  await assert.rejects(world.run(barrier.pass(mark) as Promise<void>), MovedError);
  // Of what was asked before it, a slot proves that it was ours.
  assert.equal(barrier.pass(before), undefined);
  await world.run(barrier.pass() as Promise<void>);
});

test("the time of the newest proof is that at which its question was asked, not answered", async () => {
  const { world, wal, barrier } = await aBarrier({ latencyMs: 100 });
  assert.equal(barrier.lastPassedMs, -Infinity);
  await world.pass(1000);
  const askedMs = world.clock.monotonicMs();
  await world.run(barrier.pass() as Promise<void>);
  assert.equal(barrier.lastPassedMs, askedMs);
  await world.pass(1000);
  const sentMs = world.clock.monotonicMs();
  wal.append([anEntry({ base: 0 })]);
  await world.run(wal.whenDurable(1));
  assert.ok(world.clock.monotonicMs() > sentMs);
  assert.equal(barrier.lastPassedMs, sentMs);
});

test("what another broker has decided is applied here when the tail was read", async () => {
  const { world, journal, barrier } = await aBarrier();
  const other = await world.journal("new");
  await world.run(other.takeProducerIds());
  assert.ok(journal.state.nextSlot < other.state.nextSlot);
  await world.run(barrier.readTail());
  assert.equal(journal.state.nextSlot, other.state.nextSlot);
});

test("who asks while the tail is read is not answered by that reading", async () => {
  const { world, journal, barrier } = await aBarrier({ latencyMs: 100 });
  const other = await world.journal("new");
  for (let round = 0; round < 30; round++) {
    const earlier = barrier.readTailSparingly();
    await world.run(other.takeProducerIds());
    const decided = other.state.nextSlot;
    await world.run(barrier.readTailSparingly());
    assert.ok(journal.state.nextSlot >= decided);
    await world.run(earlier);
  }
});

test("for what is asked on and on the tail is read often at first, and then four times a second", async () => {
  const { world, barrier } = await aBarrier({ latencyMs: 1 });
  const readsIn = async (seconds: number): Promise<number> => {
    const before = world.reads;
    const asked: Promise<void>[] = [];
    for (let count = 0; count < 50 * seconds; count++) {
      asked.push(barrier.readTailSparingly());
      await world.pass(20);
    }
    await world.run(Promise.all(asked));
    return (world.reads - before) / 2;
  };
  const atFirst = await readsIn(1);
  assert.ok(atFirst >= 20 && atFirst <= 26, `${atFirst} readings at first`);
  const later = await readsIn(10);
  assert.ok(later >= 35 && later <= 43, `${later} readings later`);
  // What an admin changes does not wait for it.
  const begunMs = world.scheduler.nowMs;
  await world.run(barrier.readTail());
  assert.ok(world.scheduler.nowMs - begunMs < 10);
});

test("when the broker stops, nobody is left waiting", async () => {
  const { world, wal, barrier } = await aBarrier();
  wal.append([anEntry({ base: 0 })]);
  const passed = watched(barrier.pass());
  barrier.close();
  await world.pass(1);
  assert.equal(passed.now, "refused");
});
