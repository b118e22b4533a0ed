import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { leaderEpoch, offset } from "../base/ids.ts";
import { BatchView, batchesIn } from "../record/batch.ts";
import type { ReadOutcome } from "./outcomes.ts";
import { aBatch, logAppendTime, MemorySegments, PartitionWorld } from "./partition-fixture.ts";

/** A read from memory; fails the test when it would have to wait. */
function readNow(
  world: PartitionWorld,
  from: number,
  options: { bytesMax?: number; orOneBatch?: boolean } = {},
) {
  const outcome = world.partition.read({ offset: offset(from), bytesMax: 1e6, orOneBatch: true, ...options });
  assert.ok(!(outcome instanceof Promise), "the read is answered from memory");
  return outcome;
}

function offsetsOf(outcome: ReadOutcome): number[][] {
  assert.equal(outcome.kind, "read");
  assert.ok(outcome.kind === "read");
  return outcome.chunks.flatMap((chunk) =>
    [...batchesIn(chunk)].map((batch): number[] => [batch.baseOffset, batch.lastOffset]),
  );
}

describe("a partition", () => {
  it("gives dense offsets and stamps them with its leader epoch into intact batches", () => {
    const world = new PartitionWorld();
    world.append(aBatch({ count: 3 }));
    const second = world.append(aBatch({ count: 2 }));
    assert.deepEqual(second, {
      kind: "appended",
      baseOffset: 3,
      logAppendTimeMs: -1,
      logStart: 0,
      walNumber: 2,
    });
    world.wal.sync();
    assert.deepEqual(offsetsOf(readNow(world, 0)), [
      [0, 2],
      [3, 4],
    ]);
    const batch = BatchView.at((world.wal.entries[1] as { payload: Uint8Array }).payload);
    assert.equal(batch.leaderEpoch, 3);
    assert.ok(batch.isIntact());
  });

  it("serves nothing that is not durable, and everything once it is", () => {
    const world = new PartitionWorld();
    world.append(aBatch());
    world.append(aBatch());
    assert.deepEqual(offsetsOf(readNow(world, 0)), []);
    world.wal.sync(1);
    assert.deepEqual(offsetsOf(readNow(world, 0)), [[0, 0]]);
    assert.equal(readNow(world, 2).kind, "out-of-range");
    world.wal.sync();
    assert.deepEqual(offsetsOf(readNow(world, 1)), [[1, 1]]);
    assert.deepEqual(offsetsOf(readNow(world, 2)), []);
  });

  it("answers a retry with the first offset, due when the first time is durable", () => {
    const world = new PartitionWorld();
    world.append(aBatch());
    const first = world.append(aBatch({ producer: 1, count: 2 }));
    world.append(aBatch());
    const retry = world.append(aBatch({ producer: 1, count: 2 }));
    assert.deepEqual(retry, { ...first, kind: "duplicate" });
    assert.equal(world.partition.logEnd, 4);
    assert.equal(world.wal.appended, 3);
  });

  it("refuses a gap, and says after which entry the refusal may leave", () => {
    const world = new PartitionWorld();
    world.append(aBatch({ producer: 1, count: 2 }));
    assert.deepEqual(world.append(aBatch({ producer: 1, sequence: 3 })), {
      kind: "out-of-order-sequence",
      expected: 2,
      received: 3,
      logStart: 0,
      walNumber: 1,
    });
    assert.equal(world.partition.logEnd, 2);
  });

  it("stamps the append time where the topic says so, also into the answer to a retry", () => {
    const world = new PartitionWorld({ config: logAppendTime });
    const first = world.append(aBatch({ producer: 1, timestamp: 5 }), 7000);
    assert.ok(first.kind === "appended");
    assert.equal(first.logAppendTimeMs, 7000);
    assert.deepEqual(world.append(aBatch({ producer: 1, timestamp: 5 }), 8000), {
      ...first,
      kind: "duplicate",
    });
    const batch = BatchView.at((world.wal.entries[0] as { payload: Uint8Array }).payload);
    assert.ok(batch.isIntact() && batch.isLogAppendTime);
    assert.equal(batch.maxTimestamp, 7000);
  });

  it("a read has whole batches up to its bound, yet one at least if asked", () => {
    const world = new PartitionWorld();
    for (let i = 0; i < 4; i++) world.append(aBatch({ count: 2 }));
    world.wal.sync();
    const bytes = aBatch({ count: 2 }).byteLength;
    assert.deepEqual(offsetsOf(readNow(world, 3, { bytesMax: 2 * bytes })), [
      [2, 3],
      [4, 5],
    ]);
    assert.deepEqual(offsetsOf(readNow(world, 3, { bytesMax: 1 })), [[2, 3]]);
    assert.deepEqual(offsetsOf(readNow(world, 3, { bytesMax: 1, orOneBatch: false })), []);
  });

  it("small batches of one partition are served as one chunk", () => {
    const world = new PartitionWorld();
    for (let i = 0; i < 100; i++) world.append(aBatch());
    world.wal.sync();
    const outcome = readNow(world, 0);
    assert.ok(outcome.kind === "read");
    assert.equal(outcome.chunks.length, 1);
    assert.equal(offsetsOf(outcome).length, 100);
  });

  it("tells how many bytes a read could give", () => {
    const world = new PartitionWorld({ tail: { heldBytesMax: 0 } });
    for (let i = 0; i < 5; i++) world.append(aBatch({ count: 2 }));
    world.wal.sync(4);
    const bytes = aBatch({ count: 2 }).byteLength;
    const available = (from: number) => world.partition.availableBytes(offset(from));
    assert.deepEqual(
      [0, 1, 2, 7, 8, 9].map(available),
      [4, 4, 3, 1, 0, 0].map((n) => n * bytes),
    );
    world.flush();
    assert.equal(available(7), Infinity);
    assert.equal(available(8), 0);
  });

  it("wakes watchers once per durable group, until they stop or the partition closes", () => {
    const world = new PartitionWorld();
    let calls = 0;
    const stop = world.partition.watch(() => calls++);
    for (let i = 0; i < 3; i++) world.append(aBatch());
    assert.equal(calls, 0);
    world.wal.sync();
    assert.equal(calls, 1);
    stop();
    world.append(aBatch());
    world.wal.sync();
    assert.equal(calls, 1);
    world.partition.watch(() => calls++);
    world.partitions.drop(world.partition.topicId);
    assert.equal(calls, 2);
  });

  it("goes from segments to memory without a gap", async () => {
    const world = new PartitionWorld({ tail: { heldBytesMax: 0 } });
    for (let i = 0; i < 3; i++) world.append(aBatch({ count: 2 }));
    world.wal.sync();
    world.flush();
    world.append(aBatch({ count: 2 }));
    world.wal.sync();
    assert.deepEqual(
      offsetsOf(await world.partition.read({ offset: offset(1), bytesMax: 1e6, orOneBatch: true })),
      [
        [0, 1],
        [2, 3],
        [4, 5],
      ],
    );
    assert.deepEqual(offsetsOf(readNow(world, 6)), [[6, 7]]);
    assert.equal(world.cold.reads, 1);
  });

  it("a read at the end is answered at once, even when memory is empty", () => {
    const world = new PartitionWorld({ tail: { heldBytesMax: 0 } });
    world.append(aBatch());
    world.wal.sync();
    world.flush();
    assert.deepEqual(offsetsOf(readNow(world, 1)), []);
    assert.equal(world.cold.reads, 0);
  });

  it("a batch in segments that is larger than the bound comes only if asked", async () => {
    const world = new PartitionWorld({ tail: { heldBytesMax: 0 } });
    world.append(aBatch());
    world.wal.sync();
    world.flush();
    const read = (orOneBatch: boolean) =>
      world.partition.read({ offset: offset(0), bytesMax: 10, orOneBatch });
    assert.deepEqual(offsetsOf(await read(true)), [[0, 0]]);
    assert.deepEqual(offsetsOf(await read(false)), []);
  });

  it("a read of memory alone gives nothing of what is in segments, and one without room does not look there", async () => {
    const world = new PartitionWorld({ tail: { heldBytesMax: 0 } });
    world.append(aBatch());
    world.wal.sync();
    world.flush();
    const read = (change: { readonly memoryOnly?: boolean; readonly bytesMax?: number }) =>
      world.partition.read({ offset: offset(0), bytesMax: 1e6, orOneBatch: false, ...change });
    assert.deepEqual(offsetsOf(await read({ memoryOnly: true })), []);
    assert.deepEqual(offsetsOf(await read({ bytesMax: 0 })), []);
    assert.equal(world.cold.reads, 0);
    assert.deepEqual(offsetsOf(await read({})), [[0, 0]]);
  });

  it("a read in segments is out of range when the log start passed it meanwhile", async () => {
    const world = new PartitionWorld({ tail: { heldBytesMax: 0 } });
    world.append(aBatch({ count: 2 }));
    world.append(aBatch({ count: 2 }));
    world.wal.sync();
    world.flush();
    const reading = world.partition.read({ offset: offset(1), bytesMax: 1e6, orOneBatch: true });
    world.partition.startPublished(offset(2));
    assert.deepEqual(await reading, { kind: "out-of-range", logStart: 2, lastStable: 4, highWatermark: 4 });
  });

  it("a read goes on behind what compaction left empty, into memory", async () => {
    const world = new PartitionWorld({ tail: { heldBytesMax: 0 } });
    world.append(aBatch({ count: 4 }));
    world.wal.sync();
    world.flush();
    world.cold.batches.length = 0;
    world.append(aBatch());
    world.wal.sync();
    const outcome = await world.partition.read({ offset: offset(1), bytesMax: 1e6, orOneBatch: true });
    assert.deepEqual(offsetsOf(outcome), [[4, 4]]);
  });

  it("a flush covers what is durable below its position, and its footer knows nothing behind its end", () => {
    const world = new PartitionWorld();
    world.append(aBatch({ producer: 1, count: 2 }));
    world.wal.sync();
    const below = world.wal.durablePosition;
    world.append(aBatch({ producer: 1, sequence: 2 }));
    world.wal.sync();
    world.append(aBatch({ producer: 1, sequence: 3 }));
    const unflushed = world.partition.unflushed(below);
    assert.ok(unflushed !== null);
    assert.deepEqual([unflushed.from, unflushed.to, unflushed.batches.length], [0, 2, 1]);
    assert.deepEqual(
      unflushed.state.producers.map((producer) => producer.batches.map((batch) => batch.lastSequence)),
      [[1]],
    );
    assert.equal(world.partition.unflushed(world.wal.durablePosition)?.to, 3);
  });

  it("asking what is unflushed changes nothing, however often and after however many flushes", () => {
    const world = new PartitionWorld();
    for (let i = 0; i < 3; i++) {
      world.append(aBatch({ producer: 1, sequence: 2 * i }));
      world.append(aBatch({ producer: 1, sequence: 2 * i + 1 }));
      world.wal.sync();
      const first = world.partition.unflushed(world.wal.durablePosition);
      assert.deepEqual(world.partition.unflushed(world.wal.durablePosition), first);
      const sequences = first?.state.producers[0]?.batches.map((batch) => batch.firstSequence);
      assert.deepEqual(
        sequences,
        [
          [0, 1],
          [0, 1, 2, 3],
          [1, 2, 3, 4, 5],
        ][i],
      );
      world.flush();
    }
  });

  it("a row moves the log start no further than its own end", () => {
    const world = new PartitionWorld();
    world.append(aBatch({ count: 2 }));
    world.wal.sync();
    const below = world.wal.durablePosition;
    world.append(aBatch({ count: 2 }));
    world.wal.sync();
    world.trim(3);
    world.wal.sync();
    const unflushed = world.partition.unflushed(below);
    assert.deepEqual([unflushed?.to, unflushed?.start, unflushed?.batches.length], [2, 2, 0]);
  });

  it("a log start that the journal moved itself is not flushed", () => {
    const world = new PartitionWorld();
    world.append(aBatch({ count: 4 }));
    world.wal.sync();
    world.flush();
    world.partition.startPublished(offset(3));
    assert.equal(world.partition.logStart, 3);
    assert.equal(world.partition.unflushed(world.wal.durablePosition), null);
  });

  it("the first flush covers damage at the end of what was loaded, and no epoch that begins behind it", () => {
    const before = new PartitionWorld();
    before.append(aBatch({ count: 2 }));
    const world = before.restart(1, { holes: [{ from: offset(2), to: offset(5) }] });
    const below = world.wal.durablePosition;
    world.append(aBatch());
    world.wal.sync();
    const unflushed = world.partition.unflushed(below);
    assert.equal(unflushed?.to, 5);
    assert.deepEqual(unflushed.state.leaderEpochs, [{ leaderEpoch: 3, start: 0 }]);
  });

  it("without anything new there is no row to flush, unless older WALs are depended on", () => {
    assert.equal(new PartitionWorld().partition.unflushed(new PartitionWorld().wal.durablePosition), null);
    const dependent = new PartitionWorld({ isDependent: true });
    const unflushed = dependent.partition.unflushed(dependent.wal.durablePosition);
    assert.deepEqual([unflushed?.from, unflushed?.to], [0, 0]);
    dependent.flush();
    assert.equal(dependent.partition.unflushed(dependent.wal.durablePosition), null);
  });

  it("the first flush after a start reaches the end of what was loaded", () => {
    const before = new PartitionWorld();
    before.append(aBatch({ count: 5 }));
    const world = before.restart(1);
    const unflushed = world.partition.unflushed(world.wal.durablePosition);
    assert.deepEqual([unflushed?.from, unflushed?.to], [0, 5]);
  });

  it("memory is not given up before the flush is published", () => {
    const world = new PartitionWorld({ tail: { heldBytesMax: 0 } });
    world.append(aBatch());
    world.wal.sync();
    assert.throws(() => world.partitions.release(world.wal.durablePosition), /only what is in segments/);
  });

  it("the log start moves when that is durable; what lies below is out of range and not flushed", () => {
    const world = new PartitionWorld();
    for (let i = 0; i < 4; i++) world.append(aBatch({ count: 2 }));
    assert.equal(world.trim(3).kind, "out-of-range");
    world.wal.sync();
    assert.deepEqual(world.trim(5), { kind: "trimmed", logStart: 5, walNumber: 5 });
    assert.equal(world.partition.logStart, 0);
    assert.equal(readNow(world, 4).kind, "read");
    world.wal.sync();
    assert.equal(world.partition.logStart, 5);
    assert.equal(readNow(world, 4).kind, "out-of-range");
    assert.deepEqual(offsetsOf(readNow(world, 5)), [
      [4, 5],
      [6, 7],
    ]);
    const unflushed = world.partition.unflushed(world.wal.durablePosition);
    assert.deepEqual(
      [unflushed?.from, unflushed?.to, unflushed?.start, unflushed?.batches.length],
      [0, 8, 5, 2],
    );
  });

  it("a refusal relies on a trim as on everything else that was appended", () => {
    const world = new PartitionWorld();
    world.append(aBatch({ count: 2 }));
    world.wal.sync();
    world.trim(1);
    assert.deepEqual(world.append(aBatch({ producer: 1, sequence: 7 })), {
      kind: "unknown-producer",
      logStart: 0,
      walNumber: 2,
    });
  });

  it("a moved log start survives a restart and is flushed once", () => {
    const before = new PartitionWorld();
    before.append(aBatch({ count: 5 }));
    before.wal.sync();
    before.trim(3);
    const world = before.restart(2);
    assert.equal(world.partition.logStart, 3);
    world.flush();
    assert.equal(world.row?.start, 3);
    assert.equal(world.partition.unflushed(world.wal.durablePosition), null);
  });

  it("a damaged range is named, and what lies around it is served", () => {
    const before = new PartitionWorld();
    for (let i = 0; i < 4; i++) before.append(aBatch({ count: 2 }));
    before.wal.sync();
    const load = before.wal.entries.filter((_, index) => index !== 1 && index !== 3);
    const holes = [
      { from: offset(2), to: offset(4) },
      { from: offset(6), to: offset(8) },
    ];
    const world = new PartitionWorld({ load, holes, leaderEpoch: leaderEpoch(4) });
    assert.deepEqual(offsetsOf(readNow(world, 0)), [[0, 1]]);
    const damaged = { kind: "damaged", lastStable: 8, highWatermark: 8, logStart: 0 };
    assert.deepEqual(readNow(world, 2), { ...damaged, resumeAt: 4 });
    assert.deepEqual(readNow(world, 3), { ...damaged, resumeAt: 4 });
    assert.deepEqual(offsetsOf(readNow(world, 4)), [[4, 5]]);
    assert.deepEqual(readNow(world, 7), { ...damaged, resumeAt: 8 });
    const next = world.append(aBatch());
    assert.ok(next.kind === "appended");
    assert.equal(next.baseOffset, 8);
  });

  it("what is missing and was not reported stops the process", () => {
    const before = new PartitionWorld();
    for (let i = 0; i < 3; i++) before.append(aBatch());
    const load = before.wal.entries.filter((_, index) => index !== 1);
    assert.throws(() => new PartitionWorld({ load }), /begins where the one before it ended/);
  });

  it("a range that no segment has is named, not passed over", async () => {
    const world = new PartitionWorld({ flushedEnd: offset(10), cold: new MemorySegments() });
    const outcome = await world.partition.read({ offset: offset(4), bytesMax: 1e6, orOneBatch: true });
    const ends = { lastStable: 10, highWatermark: 10, logStart: 0 };
    assert.deepEqual(outcome, { kind: "damaged", resumeAt: 10, ...ends });
  });

  it("no offset below the log start is given again, even if what was there is lost", () => {
    const world = new PartitionWorld({ flushedEnd: offset(10), logStart: offset(12) });
    const outcome = world.append(aBatch());
    assert.ok(outcome.kind === "appended");
    assert.equal(outcome.baseOffset, 12);
  });

  it("leader epochs: the current one ends at what is durable, an earlier one where it ended", () => {
    const before = new PartitionWorld();
    before.append(aBatch({ count: 5 }));
    const world = before.restart(1);
    world.append(aBatch());
    const endOf = (epoch: number) => world.partition.epochEnd(leaderEpoch(epoch));
    assert.deepEqual(endOf(4), { leaderEpoch: 4, endOffset: 5 });
    world.wal.sync();
    assert.deepEqual(endOf(4), { leaderEpoch: 4, endOffset: 6 });
    assert.deepEqual(endOf(3), { leaderEpoch: 3, endOffset: 5 });
    assert.deepEqual(endOf(9), { leaderEpoch: -1, endOffset: -1 });
  });

  it("finds records by time, exactly, in segments and in memory, and only durable ones", async () => {
    const world = new PartitionWorld({ tail: { heldBytesMax: 0 } });
    world.append(aBatch({ count: 3, timestamp: 100 }));
    world.append(aBatch({ count: 3, timestamp: 200 }));
    world.wal.sync();
    world.flush();
    world.append(aBatch({ count: 3, timestamp: 150 }));
    world.append(aBatch({ count: 3, timestamp: 300 }));
    world.wal.sync();
    world.append(aBatch({ timestamp: 900 }));
    const find = async (timestamp: number) => (await world.partition.findTimestamp(timestamp)).offset;
    assert.equal(await find(0), 0);
    assert.equal(await find(101), 1);
    assert.equal(await find(103), 3);
    assert.equal(await find(202), 5);
    assert.equal(await find(203), 9);
    assert.equal(await find(302), 11);
    assert.equal(await find(303), -1);
    assert.deepEqual(await world.partition.findMaxTimestamp(), {
      timestamp: 302,
      offset: 11,
      leaderEpoch: 3,
    });
    assert.equal((await new PartitionWorld().partition.findMaxTimestamp()).offset, -1);
  });
});
