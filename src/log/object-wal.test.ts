import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DiskError } from "../base/errors.ts";
import { type BrokerEpoch, brokerEpoch, type WalPosition, walPosition } from "../base/ids.ts";
import type { ObjectStore } from "../base/ports.ts";
import { SimClock } from "../sim/clock.ts";
import { noFaults, type ObjectStoreFaults, SimObjectStore } from "../sim/object-store.ts";
import { SimRandom } from "../sim/random.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { silentLogger, silentMeter } from "../sim/silence.ts";
import { StoreFailedError } from "../store/errors.ts";
import { decodeSlot, encodeEntries, encodeSeal, slotKey } from "./object-wal-format.ts";
import { ObjectWal, type ObjectWalOptions } from "./object-wal.ts";
import { deleteSlots, readSealed, sealWal } from "./object-wal-seal.ts";
import { anEntry, describeWal, type WalWorld } from "./wal.contract.ts";
import type { WalEvents } from "./wal.ts";

const deaf: WalEvents = { onDurable: () => undefined, onFailure: () => undefined };
const clusterId = "test";
const epoch = brokerEpoch(1);
const zero = walPosition(0);

function makeWorld(seed = 42, options: Partial<ObjectWalOptions> = {}) {
  const random = new SimRandom(seed);
  const scheduler = new Scheduler(random);
  const clock = new SimClock(scheduler);
  const objects = new SimObjectStore({ clock, random, latencyMs: 30 });
  const ports = { clock, random: random.fork("ports") };
  let writer: (ObjectStore & { kill(): void }) | null = null;
  let isBroken = false;
  const dead = (of: BrokerEpoch, released: WalPosition = zero) => ({
    store: objects.connect(),
    ports,
    clusterId,
    epoch: of,
    released,
  });
  const world = {
    objects,
    scheduler,
    clock,
    dead,
    openNow(of: BrokerEpoch, events: WalEvents = deaf, more: Partial<ObjectWalOptions> = {}): ObjectWal {
      const connected = objects.connect();
      writer = connected;
      const store: ObjectStore = {
        ...connected,
        putIfAbsent: (key, chunks, length) =>
          isBroken
            ? Promise.reject(new StoreFailedError("the bucket is gone"))
            : connected.putIfAbsent(key, chunks, length),
      };
      const wal = { clusterId, epoch: of, log: silentLogger, meter: silentMeter, events };
      return new ObjectWal({ ...wal, store, clock, random: random.fork("wal"), ...options, ...more });
    },
    open: (of: BrokerEpoch, events: WalEvents = deaf) => Promise.resolve(world.openNow(of, events)),
    async recover(of: BrokerEpoch) {
      const wal = dead(of);
      const end = await sealWal(wal);
      const found = await readSealed(wal, zero, end);
      return { ...found, end, hash: new Uint8Array(24) };
    },
    kill: () => writer?.kill(),
    /** What was sent and did not arrive is nowhere. */
    crash: () => writer?.kill(),
    failWrites() {
      isBroken = true;
    },
    run: <T>(promise: Promise<T>) => scheduler.runUntil(promise),
    advance: (ms: number) => scheduler.run({ untilMs: scheduler.nowMs + ms }),
  };
  return world satisfies WalWorld;
}

describeWal("the WAL in objects keeps the contract", () => makeWorld(42, { lanes: 1 }));
describeWal("the WAL in objects keeps the contract with several slots on their way", () => makeWorld(43));

test("several slots are on their way at a time, and count in their order only", async () => {
  const world = makeWorld();
  const numbers: number[] = [];
  const wal = world.openNow(epoch, { ...deaf, onDurable: ({ lastNumber }) => numbers.push(lastNumber) });
  for (let base = 0; base < 30; base++) {
    wal.append([anEntry({ base })]);
    await world.advance(2);
  }
  await world.run(wal.whenDurable(30));
  assert.ok(world.scheduler.nowMs < 30 * 15, `thirty slots took ${world.scheduler.nowMs} ms`);
  assert.deepEqual(
    numbers,
    [...numbers].sort((a, b) => a - b),
  );
});

test("no further slot leaves above the bound of what a take-over reads, until some are released", async () => {
  const world = makeWorld(1, { lanes: 2, unreleasedSlotsMax: 4 });
  const wal = world.openNow(epoch);
  for (let base = 0; base < 10; base++) {
    wal.append([anEntry({ base })]);
    await world.advance(100);
  }
  assert.equal(world.objects.objects.size, 4);
  assert.equal(wal.durablePosition, 4);
  wal.release(walPosition(3));
  await world.run(wal.whenDurable(10));
});

test("puts a second are bounded, and what waits leaves together", async () => {
  const world = makeWorld(1, { putsPerSecondMax: 10 });
  const wal = world.openNow(epoch);
  for (let base = 0; base < 200; base++) {
    wal.append([anEntry({ base })]);
    await world.advance(10);
  }
  await world.run(wal.whenDurable(200));
  assert.ok(world.objects.objects.size <= 23, `${world.objects.objects.size} puts in two seconds`);
});

test("a writer that is sealed acknowledges nothing more, and says who has its log", async () => {
  const world = makeWorld();
  let failure: Error | null = null;
  const wal = world.openNow(epoch, { ...deaf, onFailure: (cause) => (failure = cause) });
  await world.run(wal.whenDurable(wal.append([anEntry({ base: 0 })])));
  const end = await world.run(sealWal(world.dead(epoch)));
  assert.equal(end, 1);
  await assert.rejects(
    world.run(wal.whenDurable(wal.append([anEntry({ base: 1 })]))),
    /successor has sealed/,
  );
  assert.match(String(failure), /slot 1 is somebody else's/);
});

test("a damaged slot gives every entry that proves itself, and names the others", () => {
  const entries = [anEntry({ base: 0 }), anEntry({ base: 1, partition: 1 }), anEntry({ base: 2 })];
  const name = { clusterId, epoch, slot: 3 };
  const sound = encodeEntries(name, new Uint8Array(16), entries, []);
  let named = 0;
  for (let at = 0; at < sound.byteLength; at++) {
    const bytes = new Uint8Array(sound);
    bytes[at] = (bytes[at] as number) ^ 4;
    const content = decodeSlot(name, bytes);
    assert.ok(content.kind === "entries");
    assert.equal(content.isNameless, false, `byte ${at}`);
    assert.equal(content.entries.length + content.holes.length, 3, `byte ${at}`);
    for (const entry of content.entries) assert.deepEqual(entry, entries[entry.baseOffset]);
    named += content.holes.length;
  }
  assert.equal(named, 300, "each byte of a payload costs its entry and nothing else does");
  const other = { ...name, slot: 4 };
  assert.throws(() => decodeSlot(other, sound), /says that it is slot 3/);
});

test("two seals of one slot are one object", () => {
  const name = { clusterId, epoch, slot: 3 };
  assert.deepEqual(encodeSeal(name), encodeSeal({ ...name }));
  assert.deepEqual(decodeSlot(name, encodeSeal(name)), { kind: "seal" });
});

test("what is deleted may be needed by nobody, and the seal stays for ever", async () => {
  const world = makeWorld();
  const wal = world.openNow(epoch);
  for (let base = 0; base < 6; base++) await world.run(wal.whenDurable(wal.append([anEntry({ base })])));
  const end = await world.run(sealWal(world.dead(epoch, walPosition(2))));
  await world.run(deleteSlots(world.dead(epoch), walPosition(3), end));
  const keys = [...world.objects.objects.keys()].sort();
  assert.deepEqual(
    keys,
    [3, 4, 5, 6].map((slot) => slotKey(epoch, slot)),
  );
  await world.run(deleteSlots(world.dead(epoch), end, end));
  assert.deepEqual([...world.objects.objects.keys()], [slotKey(epoch, end)]);
});

const wildFaults: ObjectStoreFaults = {
  ...noFaults,
  unanswered: 0.1,
  late: 0.1,
  twice: 0.05,
  refused: 0.1,
  shortList: 0.5,
  lateMs: 2_000,
};

/** The ways of finding the end that lose records; each is found out below. */
type Sealing = (world: ReturnType<typeof makeWorld>) => Promise<WalPosition>;

/** Acknowledged records that the end which was found leaves out, over writers that go on and sealers that race. */
async function lostBy(seal: Sealing, seed: number): Promise<number> {
  const world = makeWorld(seed);
  const random = new SimRandom(seed);
  const acknowledged = new Set<number>();
  const wal = world.openNow(epoch, {
    ...deaf,
    onDurable: ({ entries }) => {
      for (const { baseOffset } of entries) acknowledged.add(baseOffset);
    },
  });
  let base = 0;
  const write = (): void => {
    try {
      wal.append([anEntry({ base: base++ })]);
    } catch {
      return;
    }
    world.clock.schedule(random.below(20), write);
  };
  world.objects.faults = wildFaults;
  write();
  await world.advance(random.below(400));
  if (random.chance(0.3)) world.kill();
  const ends = await world.run(
    Promise.all([
      seal(world),
      new Promise<void>((resolve) => void world.clock.schedule(random.below(200), resolve)).then(() =>
        seal(world),
      ),
    ]),
  );
  // The writer is not told of anything: it finds out by itself, and late puts land.
  await world.advance(20_000);
  world.objects.faults = noFaults;
  const end = walPosition(Math.min(...ends));
  const { entries } = await world.run(readSealed(world.dead(epoch), zero, end));
  assert.deepEqual(
    entries.map(({ entry }) => Number(entry.baseOffset)),
    entries.map((_, at) => at),
    "what is read is in order and without a gap",
  );
  if (ends[0] !== ends[1]) return Infinity;
  return [...acknowledged].filter((each) => each >= entries.length).length;
}

test("an acknowledged record lies before the end that any sealer finds, whatever the store does", async () => {
  const runs = Number(process.env["HOLDFAST_SEALS"] ?? 60);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 1_000_000 }), async (seed) => {
      assert.equal(await lostBy((world) => sealWal(world.dead(epoch)), seed), 0);
    }),
    { numRuns: runs },
  );
});

async function isFoundOut(seal: Sealing): Promise<boolean> {
  for (let seed = 1; seed <= 60; seed++) {
    try {
      if ((await lostBy(seal, seed)) > 0) return true;
    } catch {
      return true;
    }
  }
  return false;
}

test("the end taken from a list, without a seal, is found out", async () => {
  const fromList: Sealing = async (world) => {
    const listed = await world.objects
      .connect()
      .list("wal/")
      .catch(() => []);
    return walPosition(listed.length);
  };
  assert.equal(await isFoundOut(fromList), true);
});

test("what was altered on its way to a take-over is read again, and neither given up nor taken for the end", async () => {
  const world = makeWorld();
  const wal = world.openNow(epoch);
  for (let base = 0; base < 3; base++) {
    await world.run(wal.whenDurable(wal.append([anEntry({ base })])));
  }
  const end = await world.run(sealWal(world.dead(epoch)));
  for (const slot of [0, 1, 2, 3]) {
    for (let at = 0; at < 96; at += 5) {
      const sound = world.objects.connect();
      // As a take-over reads: each object once, and kept.
      const kept = new Map<string, Uint8Array>();
      const store: ObjectStore = {
        ...sound,
        async get(key, range) {
          if (range !== undefined) return sound.get(key, range);
          const known = kept.get(key);
          if (known !== undefined) return known;
          const body = (await sound.get(key))?.slice();
          if (body === undefined) return null;
          if (key === slotKey(epoch, slot)) {
            const last = body.byteLength - 1 - at;
            body[at] = (body[at] as number) ^ 1;
            body[last] = (body[last] as number) ^ 1;
          }
          kept.set(key, body);
          return body;
        },
      };
      const dead = { ...world.dead(epoch), store };
      assert.equal(await world.run(sealWal(dead)), end);
      const { entries, holes, jumped, reports } = await world.run(readSealed(dead, zero, end));
      assert.deepEqual([entries.length, holes, jumped, reports], [3, [], false, []]);
    }
  }
});

test("one seal ahead of the writer, with the end at the first gap below it, is found out", async () => {
  const aheadOnly: Sealing = async (world) => {
    const name = { clusterId, epoch, slot: 60 };
    const store = world.objects.connect();
    await store.putIfAbsent(slotKey(epoch, 60), [encodeSeal(name)], 96).catch(() => undefined);
    for (let slot = 0; ; slot++)
      if (!world.objects.objects.has(slotKey(epoch, slot))) return walPosition(slot);
  };
  assert.equal(await isFoundOut(aheadOnly), true);
});

test("a store without room is asked again with the same bytes until there is some, and the log goes on", async () => {
  const world = makeWorld();
  const connected = world.objects.connect();
  const sent = new Map<string, Set<string>>();
  let isFull = false;
  const store: ObjectStore = {
    ...connected,
    putIfAbsent: (key, chunks, length) => {
      const bodies = sent.get(key) ?? new Set();
      sent.set(key, bodies.add(Buffer.concat(chunks).toString("hex")));
      if (!isFull) return connected.putIfAbsent(key, chunks, length);
      return Promise.reject(new DiskError({ errno: "ENOSPC", operation: "write", path: key }));
    },
  };
  let fulls = 0;
  let failure: Error | null = null;
  const events = { ...deaf, onFull: () => fulls++, onFailure: (cause: Error) => (failure = cause) };
  const wal = world.openNow(epoch, events, { store });
  await world.run(wal.whenDurable(wal.append([anEntry({ base: 0 })])));
  isFull = true;
  for (let base = 1; base < 5; base++) {
    wal.append([anEntry({ base })]);
    await world.advance(1_000);
  }
  assert.equal(wal.durable, 1);
  assert.ok(fulls > 4);
  isFull = false;
  await world.run(wal.whenDurable(5));
  await world.run(wal.whenDurable(wal.append([anEntry({ base: 5 })])));
  assert.equal(failure, null);
  for (const [key, bodies] of sent) assert.equal(bodies.size, 1, key);
});
