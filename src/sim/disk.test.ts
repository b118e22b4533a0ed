import assert from "node:assert/strict";
import { test } from "node:test";
import { DiskError } from "../base/errors.ts";
import { SimDisk } from "./disk.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";

const block = (fill: number) => new Uint8Array(4096).fill(fill);
const create = (disk: SimDisk, path: string) =>
  disk.open(path, { mode: "create", lane: "wal", synced: true });

test("an unsynced write survives a kill and not a power cut", async () => {
  const disk = new SimDisk();
  const file = await create(disk, "a");
  await disk.syncDirectory("");
  await file.write(0, [block(1)]);
  disk.kill();
  assert.deepEqual(disk.contents("a"), block(1));
  disk.crash(() => false);
  assert.equal(disk.contents("a").byteLength, 0);
});

test("each block of an unsynced write is kept or lost on its own, and the size too", async () => {
  const disk = new SimDisk();
  const file = await create(disk, "a");
  await disk.syncDirectory("");
  await file.write(0, [block(1), block(2)]);
  assert.deepEqual(
    disk.pending().map((unit) => unit.kind),
    ["size", "data", "data"],
  );
  const second = disk.clone();
  second.crash((_, index) => index !== 1);
  assert.deepEqual(second.contents("a"), new Uint8Array([...block(0), ...block(2)]));
  disk.crash((unit) => unit.kind === "data");
  assert.equal(disk.contents("a").byteLength, 0);
});

test("a synced write is durable when it resolves and pending before", async () => {
  const disk = new SimDisk();
  const file = await create(disk, "a");
  await disk.syncDirectory("");
  const written = file.writeSynced(0, [block(1)]);
  const before = disk.clone();
  before.crash(() => false);
  assert.equal(before.contents("a").byteLength, 0);
  await written;
  disk.crash(() => false);
  assert.deepEqual(disk.contents("a"), block(1));
});

test("a name is durable only after the sync of its directory, and that of every directory above", async () => {
  const disk = new SimDisk();
  await disk.makeDirectory("wal/7");
  const file = await create(disk, "wal/7/0.log");
  await file.writeSynced(0, [block(1)]);
  await disk.syncDirectory("wal/7");
  const unsynced = disk.clone();
  unsynced.crash(() => false);
  assert.deepEqual(unsynced.paths(), []);
  await disk.syncDirectory("");
  await disk.syncDirectory("wal");
  disk.crash(() => false);
  assert.deepEqual(disk.paths(), ["wal/7/0.log"]);
});

test("a rename within a directory is atomic and may be lost until the directory is synced", async () => {
  const disk = new SimDisk();
  const file = await create(disk, "a.tmp");
  await file.writeSynced(0, [block(1)]);
  await disk.syncDirectory("");
  await disk.rename("a.tmp", "a");
  assert.deepEqual(disk.paths(), ["a"]);
  const lost = disk.clone();
  lost.crash(() => false);
  assert.deepEqual(lost.paths(), ["a.tmp"]);
  disk.crash(() => true);
  assert.deepEqual(disk.paths(), ["a"]);
});

test("a failed sync drops what was pending: still visible, and lost although a second sync succeeds", async () => {
  const disk = new SimDisk();
  const file = await create(disk, "a");
  await disk.syncDirectory("");
  await file.write(0, [block(1)]);
  disk.fault = ({ operation }) => (operation === "sync" ? { kind: "error", errno: "EIO" } : undefined);
  await assert.rejects(file.sync(), DiskError);
  disk.fault = null;
  await file.sync();
  assert.deepEqual(disk.contents("a"), block(1));
  disk.crash(() => true);
  assert.equal(disk.contents("a").byteLength, 0);
});

test("a lying sync leaves everything pending", async () => {
  const disk = new SimDisk();
  const file = await create(disk, "a");
  await disk.syncDirectory("");
  disk.fault = () => ({ kind: "lie" });
  await file.writeSynced(0, [block(1)]);
  disk.crash(() => false);
  assert.equal(disk.contents("a").byteLength, 0);
});

test("the Nth call fails, of a write a part may be there", async () => {
  const disk = new SimDisk();
  const file = await create(disk, "a");
  const failing = disk.calls;
  disk.fault = ({ number }) =>
    number === failing ? { kind: "error", errno: "EIO", written: 10 } : undefined;
  await assert.rejects(file.write(0, [block(1)]), DiskError);
  assert.equal(disk.contents("a").byteLength, 10);
});

test("a full disk refuses to grow a file and still overwrites", async () => {
  const disk = new SimDisk({ capacityBytes: 8192 });
  const file = await create(disk, "a");
  await file.writeSynced(0, [block(1), block(1)]);
  await file.writeSynced(0, [block(2)]);
  await assert.rejects(file.writeSynced(8192, [block(3)]), { errno: "ENOSPC" });
  assert.equal(await disk.freeBytes(), 0);
});

test("a call of a process that died never settles, and one seed gives one order", async () => {
  const orders: string[][] = [];
  for (const seed of [1, 1]) {
    const random = new SimRandom(seed);
    const scheduler = new Scheduler(random);
    const disk = new SimDisk({ scheduler, random: random.fork("disk") });
    const order: string[] = [];
    const files = await scheduler.runUntil(
      Promise.all(["a", "b", "c", "d"].map((path) => create(disk, path))),
    );
    for (const file of files) void file.write(0, [block(1)]).then(() => order.push(file.path));
    await scheduler.run();
    void files[0]?.write(0, [block(2)]).then(() => order.push("after death"));
    disk.kill();
    await scheduler.run();
    orders.push(order);
  }
  assert.equal(orders[0]?.length, 4);
  assert.deepEqual(orders[0], orders[1]);
});
