import assert from "node:assert/strict";
import { test } from "node:test";
import { type BrokerEpoch, brokerEpoch, walPosition } from "../base/ids.ts";
import { SimClock } from "../sim/clock.ts";
import { SimDisk } from "../sim/disk.ts";
import { SimRandom } from "../sim/random.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { silentLogger, silentMeter } from "../sim/silence.ts";
import { anEntry, describeWal, type WalWorld } from "./wal.contract.ts";
import type { WalEvents } from "./wal.ts";
import { FileWal } from "./wal-file.ts";
import { recoverEpoch, removeReleasedFiles } from "./wal-recovery.ts";

const deaf: WalEvents = { onDurable: () => undefined, onFailure: () => undefined };

function makeWorld(options: { readonly fileBytes?: number; readonly frameBytesMax?: number } = {}) {
  const random = new SimRandom(42);
  const scheduler = new Scheduler(random);
  const disk = new SimDisk({ scheduler, random: random.fork("disk") });
  let clock = new SimClock(scheduler);
  const die = () => {
    clock.stop();
    clock = new SimClock(scheduler);
  };
  const world = {
    disk,
    open: (epoch: BrokerEpoch, events: WalEvents = deaf) =>
      FileWal.open({
        disk,
        clock,
        random: random.fork("wal"),
        log: silentLogger,
        meter: silentMeter,
        clusterId: "test",
        epoch,
        fileBytes: 32 * 1024,
        ...options,
        events,
      }),
    recover: (epoch: BrokerEpoch, released = 0) =>
      recoverEpoch({ disk, clusterId: "test", epoch, released: walPosition(released), recorded: null }),
    kill() {
      die();
      disk.kill();
    },
    crash() {
      die();
      disk.crash(() => false);
    },
    failWrites() {
      disk.fault = ({ operation }) =>
        operation === "writeSynced" ? { kind: "error", errno: "EIO", written: 100 } : undefined;
    },
    run: <T>(promise: Promise<T>) => scheduler.runUntil(promise),
    advance: (ms: number) => scheduler.run({ untilMs: scheduler.nowMs + ms }),
  };
  return world satisfies WalWorld;
}

describeWal("the WAL in files keeps the contract", () => makeWorld());

const epoch = brokerEpoch(1);

test("a log is not put into a directory whose sync failed before", async () => {
  for (const place of ["", "wal"]) {
    const world = makeWorld();
    world.disk.fault = ({ operation, path }) =>
      operation === "syncDirectory" && path === place ? { kind: "error", errno: "EIO" } : undefined;
    await assert.rejects(world.run(world.open(epoch)));
    world.disk.fault = null;
    world.kill();
    const next = brokerEpoch(2);
    const wal = await world.run(world.open(next));
    await world.run(wal.whenDurable(wal.append([anEntry({ base: 0 })])));
    world.crash();
    const { entries } = await world.run(world.recover(next));
    assert.equal(entries.length, 1, `a failed sync of "${place}"`);
  }
});

test("a mark witnesses the newest frame 100 ms after it, and is never followed by another", async () => {
  const world = makeWorld();
  const wal = await world.run(world.open(epoch));
  await world.run(wal.whenDurable(wal.append([anEntry({ base: 0 })])));
  const before = wal.durablePosition;
  await world.advance(90);
  assert.equal(wal.durablePosition, before);
  await world.advance(1000);
  assert.equal(wal.durablePosition, before + 4096);
});

test("appends of one promise job share a frame, and so do those that arrive while one is written", async () => {
  const world = makeWorld();
  let groups = 0;
  const wal = await world.run(world.open(epoch, { ...deaf, onDurable: () => groups++ }));
  for (let base = 0; base < 10; base++) wal.append([anEntry({ base })]);
  await Promise.resolve();
  for (let base = 10; base < 20; base++) {
    wal.append([anEntry({ base })]);
    await Promise.resolve();
  }
  await world.run(wal.whenDurable(20));
  assert.equal(groups, 2);
});

test("a frame takes no more appends than its bound, and one larger append whole", async () => {
  const world = makeWorld({ frameBytesMax: 1000 });
  const sizes: number[] = [];
  const wal = await world.run(
    world.open(epoch, { ...deaf, onDurable: ({ entries }) => sizes.push(entries.length) }),
  );
  for (let base = 0; base < 5; base++) wal.append([anEntry({ base, bytes: 400 })]);
  wal.append([anEntry({ base: 5, bytes: 3000 }), anEntry({ base: 6 })]);
  await world.run(wal.whenDurable(7));
  assert.deepEqual(sizes, [2, 2, 1, 2]);
});

test("files are prepared in the background and, once released, recycled", async () => {
  const world = makeWorld();
  const groups: number[] = [];
  const wal = await world.run(world.open(epoch, { ...deaf, onDurable: ({ end }) => groups.push(end) }));
  for (let base = 0; base < 80; base++) {
    await world.run(wal.whenDurable(wal.append([anEntry({ base, bytes: 3000 })])));
    await world.advance(20);
    if (base >= 10) wal.release(walPosition(groups[base - 10] as number));
  }
  await world.advance(500);
  const logs = world.disk.paths().filter((path) => path.endsWith(".log"));
  assert.ok(logs.length <= 4, `released files are gone: ${logs.join(" ")}`);
  const origins = logs.map((path) => world.disk.contents(path)[14]);
  assert.ok(origins.includes(2), `a file was recycled: ${origins.join(" ")}`);
  world.crash();
  const recovered = await world.run(world.recover(epoch, groups[69] as number));
  assert.deepEqual(
    recovered.entries.map(({ entry }) => entry.baseOffset),
    [70, 71, 72, 73, 74, 75, 76, 77, 78, 79],
  );
  assert.deepEqual(recovered.reports, []);
});

test("the files of a dead epoch go as far as nothing in them is needed, and all when nothing is", async () => {
  const world = makeWorld();
  const groups: number[] = [];
  const wal = await world.run(world.open(epoch, { ...deaf, onDurable: ({ end }) => groups.push(end) }));
  for (let base = 0; base < 30; base++) {
    await world.run(wal.whenDurable(wal.append([anEntry({ base, bytes: 3000 })])));
  }
  world.crash();
  const needed = walPosition(groups[19] as number);
  const options = { disk: world.disk, clusterId: "test", epoch };
  assert.ok((await world.run(removeReleasedFiles(options, needed))) > 0);
  const recovered = await world.run(world.recover(epoch, needed));
  assert.equal(recovered.entries.length, 10);
  await world.run(removeReleasedFiles(options, null));
  assert.deepEqual(world.disk.paths(), []);
});

test("an epoch that was recovered is read again by its recorded end and holes", async () => {
  const world = makeWorld();
  const wal = await world.run(world.open(epoch));
  for (let base = 0; base < 8; base++) await world.run(wal.whenDurable(wal.append([anEntry({ base })])));
  world.crash();
  const { end, hash } = await world.run(world.recover(epoch));
  const hole = {
    ...anEntry({ base: 2 }),
    from: anEntry({ base: 2 }).baseOffset,
    to: anEntry({ base: 3 }).baseOffset,
  };
  const again = await world.run(
    recoverEpoch({
      disk: world.disk,
      clusterId: "test",
      epoch,
      released: walPosition(0),
      recorded: { end: walPosition(end - 4096), holes: [hole], hash },
    }),
  );
  assert.equal(again.end, end - 4096);
  assert.deepEqual(
    again.entries.map(({ entry }) => entry.baseOffset),
    [0, 1, 3, 4, 5, 6],
  );
  assert.deepEqual(
    again.reports.map(({ kind }) => kind),
    ["changed-since-recovery"],
  );
});

test("an epoch of which the beginning is not needed any more is read again without a false alarm", async () => {
  const world = makeWorld();
  const wal = await world.run(world.open(epoch));
  for (let base = 0; base < 8; base++) await world.run(wal.whenDurable(wal.append([anEntry({ base })])));
  world.crash();
  const { end, hash, entries } = await world.run(world.recover(epoch));
  const later = entries[5]?.position ?? walPosition(0);
  const again = await world.run(
    recoverEpoch({
      disk: world.disk,
      clusterId: "test",
      epoch,
      released: later,
      recorded: { end, holes: [], hash },
    }),
  );
  assert.deepEqual(again.entries, entries.slice(5));
  assert.deepEqual(again.reports, []);
});

test("a block that cannot be read is damage with a name, unless it may be the newest frame's", async () => {
  const world = makeWorld();
  const wal = await world.run(world.open(epoch));
  for (let base = 0; base < 5; base++) await world.run(wal.whenDurable(wal.append([anEntry({ base })])));
  world.crash();
  const unreadable = (block: number) => {
    world.disk.refuseRead = (path, begin, length) =>
      path.endsWith("0.log") && begin < (block + 1) * 4096 && block * 4096 < begin + length;
  };
  const frames = (await world.run(world.recover(epoch))).entries.map(({ position }) => position);
  assert.ok((frames[2] as number) <= 8192, "the frames under test lie in file 0");
  unreadable(2);
  const recovered = await world.run(world.recover(epoch));
  assert.deepEqual(
    recovered.entries.map(({ entry }) => entry.baseOffset),
    [1, 2, 3, 4],
  );
  assert.deepEqual(
    recovered.holes.map(({ from, to }) => [from, to]),
    [[0, 1]],
  );
  assert.ok(recovered.reports.some(({ kind }) => kind === "unreadable-block"));
  const newest = [...world.disk.paths()].filter((path) => path.endsWith(".log")).length - 1;
  const last = world.disk.contents(`wal/1/${newest}.log`);
  let block = last.byteLength / 4096 - 1;
  while (last.subarray(block * 4096, block * 4096 + 4).every((byte) => byte === 0)) block--;
  world.disk.refuseRead = (path, begin, length) =>
    path.endsWith(`/${newest}.log`) && begin < (block + 1) * 4096 && block * 4096 < begin + length;
  await assert.rejects(world.run(world.recover(epoch)), { errno: "EIO" });
});

test("a torn end is kept aside: as a copy, and on a full disk as a second name of the log", async () => {
  for (const full of [false, true]) {
    const world = makeWorld();
    const wal = await world.run(world.open(epoch));
    await world.run(wal.whenDurable(wal.append([anEntry({ base: 0 })])));
    wal.append([anEntry({ base: 1, bytes: 6000 })]);
    await Promise.resolve();
    world.disk.crash((unit) => unit.kind === "size" || (unit.kind === "data" && unit.position === 12_288));
    if (full) world.disk.capacityBytes = 0;
    const recovered = await world.run(world.recover(epoch));
    assert.equal(recovered.entries.length, 1);
    assert.deepEqual(
      recovered.reports.map(({ kind }) => kind),
      ["unproved-tail"],
    );
    const name = full ? "quarantine/wal-1-4096.log" : "quarantine/wal-1-4096.bin";
    await world.run(removeReleasedFiles({ disk: world.disk, clusterId: "test", epoch }, null));
    assert.deepEqual(world.disk.paths(), [name]);
    const kept = world.disk.contents(name);
    assert.equal(
      kept
        .subarray(full ? 12_288 : 0)
        .subarray(0, 4)
        .toString(),
      "72,70,70,82",
    );
  }
});
