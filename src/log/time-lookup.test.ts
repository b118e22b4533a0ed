import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { leaderEpoch, offset } from "../base/ids.ts";
import { BatchView, Codec } from "../record/batch.ts";
import { buildBatch } from "../record/builder.ts";
import { aBatch, logAppendTime, MemorySegments, PartitionWorld } from "./partition-fixture.ts";

/** One batch with records of these times. */
function timed(timestamps: readonly number[], codec: Codec = Codec.none): Uint8Array {
  return buildBatch(
    timestamps.map((timestamp) => ({ value: "value", timestamp })),
    { codec },
  );
}

/** Batches in segments, then batches in memory. */
function aLog(inSegments: readonly Uint8Array[], inMemory: readonly Uint8Array[] = []): PartitionWorld {
  const world = new PartitionWorld({ tail: { heldBytesMax: 0 } });
  for (const batch of inSegments) world.append(batch);
  world.wal.sync();
  world.flush();
  for (const batch of inMemory) world.append(batch);
  world.wal.sync();
  return world;
}

const find = async (world: PartitionWorld, timestamp: number): Promise<number[]> => {
  const found = await world.partition.findTimestamp(timestamp);
  return [found.offset, found.timestamp];
};

describe("a record found by its time", () => {
  it("is the first in the log, not the earliest in time, whether its batch is compressed or not", async () => {
    for (const codec of [Codec.none, Codec.gzip]) {
      const batches = [timed([50, 90, 70], codec), timed([60, 60], codec)];
      for (const world of [aLog(batches), aLog([], batches), aLog(batches.slice(0, 1), batches.slice(1))]) {
        assert.deepEqual(await find(world, 60), [1, 90]);
        assert.deepEqual(await find(world, 0), [0, 50]);
        assert.deepEqual(await find(world, 91), [-1, -1]);
      }
    }
  });

  it("has the time at which the broker appended it where the topic says so", async () => {
    const world = new PartitionWorld({ config: logAppendTime });
    world.append(timed([5, 6, 7]), 1000);
    world.append(timed([5, 6, 7]), 2000);
    world.wal.sync();
    assert.deepEqual(await find(world, 1001), [3, 2000]);
    assert.deepEqual(await find(world, 7), [0, 1000]);
  });

  it("lies at or above the log start", async () => {
    for (const world of [aLog([timed([10, 20, 30])]), aLog([], [timed([10, 20, 30])])]) {
      world.trim(1);
      world.wal.sync();
      assert.deepEqual(await find(world, 5), [1, 20]);
    }
  });

  it("is looked for behind a batch whose header promised too much", async () => {
    const lying = timed([10, 20]);
    BatchView.at(lying).stampMaxTimestamp(900);
    for (const world of [aLog([lying, timed([500])]), aLog([], [lying, timed([500])])]) {
      assert.deepEqual(await find(world, 400), [2, 500]);
    }
  });

  it("stands at the first offset of its batch when that cannot be decoded, so that nothing is passed over", async () => {
    const garbled = timed([10, 20], Codec.gzip);
    garbled.fill(0, 61);
    BatchView.at(garbled).stampCrc();
    for (const world of [aLog([timed([1]), garbled]), aLog([], [timed([1]), garbled])]) {
      assert.equal((await find(world, 15))[0], 1);
      assert.deepEqual(await world.partition.findMaxTimestamp().then((found) => found.timestamp), 20);
    }
  });

  it("stands at the begin of a damaged range in which it may lie", async () => {
    const world = aLog([aBatch({ count: 5 })]);
    world.cold.findTimestamp = () =>
      Promise.resolve({ kind: "damaged", from: offset(2), to: offset(4), error: new Error() as never });
    assert.equal((await find(world, 5000))[0], 2);
  });

  it("comes with its leader epoch", async () => {
    const before = aLog([timed([10])]);
    const world = before.restart(before.wal.appended);
    world.append(timed([20]));
    world.wal.sync();
    assert.equal((await world.partition.findTimestamp(10)).leaderEpoch, leaderEpoch(3));
    assert.equal((await world.partition.findTimestamp(11)).leaderEpoch, leaderEpoch(4));
  });
});

describe("the latest record", () => {
  it("is the first of those with the greatest time, in segments and in memory", async () => {
    const latest = async (world: PartitionWorld) => {
      const found = await world.partition.findMaxTimestamp();
      return [found.offset, found.timestamp];
    };
    assert.deepEqual(await latest(aLog([timed([90])], [timed([50, 90])])), [0, 90]);
    assert.deepEqual(await latest(aLog([timed([80])], [timed([50, 90]), timed([90])])), [2, 90]);
    assert.deepEqual(await latest(aLog([timed([95])], [timed([50, 90])])), [0, 95]);
    assert.deepEqual(await latest(aLog([])), [-1, -1]);
    assert.deepEqual(await latest(aLog([], [timed([-1])])), [-1, -1]);
  });

  it("is not one below the log start", async () => {
    const cold = new MemorySegments();
    const world = new PartitionWorld({ cold, tail: { heldBytesMax: 0 } });
    world.append(timed([90]));
    world.wal.sync();
    world.flush();
    world.append(timed([50]));
    world.wal.sync();
    world.flush();
    world.trim(1);
    world.wal.sync();
    assert.equal((await world.partition.findMaxTimestamp()).offset, 1);
  });
});
