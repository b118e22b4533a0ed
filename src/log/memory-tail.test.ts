import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { WalClosedError } from "../base/errors.ts";
import { offset, partitionIndex } from "../base/ids.ts";
import { BatchView, batchesIn } from "../record/batch.ts";
import type { MemoryTail, TailBounds } from "./memory-tail.ts";
import { aBatch, aPartition, PartitionWorld, StepWal, TOPIC } from "./partition-fixture.ts";
import { Partitions } from "./partitions.ts";
import { arenaChunkBytes, referenceBytesMin } from "./tail-arena.ts";
import { entryOverheadBytes } from "./tail-entry.ts";

/** `count` partitions of one topic on one WAL. */
function aNode(count: number, bounds: TailBounds = {}) {
  const partitions = new Partitions(bounds, () => undefined);
  const wal = new StepWal(partitions);
  partitions.attach(wal);
  for (let index = 0; index < count; index++) {
    partitions.open({ ...aPartition(), partition: partitionIndex(index) }).serve();
  }
  return { partitions, wal, tail: partitions.tail };
}

/** One request with a batch for each of the partitions, all of them slices of one buffer. */
function appendTo(node: ReturnType<typeof aNode>, indexes: readonly number[], value = "value", admitted = 0) {
  const batch = aBatch({ value });
  const body = new Uint8Array(batch.byteLength * indexes.length);
  const session = node.partitions.begin(admitted);
  const outcomes = indexes.map((index, i) => {
    body.set(batch, i * batch.byteLength);
    const partition = node.partitions.get(TOPIC, partitionIndex(index));
    assert.ok(partition);
    return partition.append(session, BatchView.at(body, i * batch.byteLength), 1000);
  });
  session.commit();
  return { body, outcomes, batchBytes: batch.byteLength };
}

/** Flushes all partitions in one step. */
function flush(node: ReturnType<typeof aNode>, below = node.wal.durablePosition): void {
  for (const partition of node.partitions) {
    const unflushed = partition.unflushed(below);
    if (unflushed === null) continue;
    const { leaderEpoch, from, to, start } = unflushed;
    const { topicId, partition: index } = partition;
    partition.published({ topicId, partition: index, leaderEpoch, from, to, start, segment: null });
  }
  node.partitions.release(below);
}

function readAt(node: ReturnType<typeof aNode>, index: number, from: number): readonly Uint8Array[] {
  const partition = node.partitions.get(TOPIC, partitionIndex(index));
  const outcome = partition?.read({ offset: offset(from), bytesMax: 1e9, orOneBatch: true });
  assert.ok(outcome !== undefined && !(outcome instanceof Promise) && outcome.kind === "read");
  return outcome.chunks;
}

const isSettled = async (promise: Promise<void> | undefined): Promise<boolean> => {
  let settled = promise === undefined;
  void promise?.then(() => (settled = true));
  for (let i = 0; i < 5; i++) await Promise.resolve();
  return settled;
};

describe("the memory tail", () => {
  it("one request costs one append to the WAL, whatever number of partitions it has", () => {
    const node = aNode(100);
    const { outcomes } = appendTo(node, [...Array(100).keys()]);
    assert.equal(node.wal.appendCalls, 1);
    assert.deepEqual(
      outcomes.map((outcome) => outcome.kind === "appended" && outcome.walNumber),
      Array.from({ length: 100 }, (_, index) => index + 1),
    );
  });

  it("a request that appends nothing costs the WAL nothing", () => {
    const node = aNode(1);
    assert.equal(node.partitions.begin().commit(), 0);
    assert.equal(node.wal.appendCalls, 0);
  });

  it("a request whose appends were not committed is noticed before the next one appends", () => {
    const node = aNode(1);
    node.partitions.begin();
    assert.throws(() => node.partitions.begin(), /committed before/);
  });

  it("after the WAL refused a commit nothing is appended or answered any more", () => {
    const node = aNode(1);
    node.wal.append = () => {
      throw new WalClosedError("closing");
    };
    assert.throws(() => appendTo(node, [0]), WalClosedError);
    assert.throws(() => node.partitions.begin(), WalClosedError);
  });

  it("small batches do not keep the request's buffer", () => {
    const node = aNode(2);
    const { body } = appendTo(node, [0, 1]);
    node.wal.sync();
    body.fill(0xff);
    for (const index of [0, 1]) assert.ok(BatchView.at(readAt(node, index, 0)[0] as Uint8Array).isIntact());
  });

  it("the batches of a large request that fill its buffer stay where they are, and the buffer is counted once", () => {
    const node = aNode(2);
    const { body } = appendTo(node, [0, 1], "v".repeat(referenceBytesMin));
    node.wal.sync();
    assert.equal(readAt(node, 0, 0)[0]?.buffer, body.buffer);
    assert.equal(node.tail.heldBytes, body.byteLength + 2 * entryOverheadBytes);
  });

  it("a large batch in a much larger buffer is copied", () => {
    for (const valueBytes of [referenceBytesMin, arenaChunkBytes]) {
      const node = aNode(1);
      const batch = aBatch({ value: "v".repeat(valueBytes) });
      const body = Buffer.alloc(batch.byteLength * 3);
      body.set(batch);
      const session = node.partitions.begin();
      node.partitions.get(TOPIC, partitionIndex(0))?.append(session, BatchView.at(body), 1000);
      session.commit();
      node.wal.sync();
      body.fill(0);
      assert.ok(BatchView.at(readAt(node, 0, 0)[0] as Uint8Array).isIntact());
      assert.equal(node.tail.heldBytes, batch.byteLength + entryOverheadBytes);
    }
  });

  it("batches that lie side by side belong to one chunk only if nothing of others lies between", () => {
    const node = aNode(2);
    for (const index of [0, 0, 1, 0, 1, 1]) appendTo(node, [index]);
    node.wal.sync();
    const chunks = readAt(node, 0, 0);
    assert.equal(chunks.length, 2);
    assert.deepEqual(
      chunks.flatMap((chunk) => [...batchesIn(chunk)].map((batch) => [batch.baseOffset, batch.isIntact()])),
      [
        [0, true],
        [1, true],
        [2, true],
      ],
    );
  });

  it("what it counts is what the buffers hold, but for two chunks", () => {
    const node = aNode(3);
    for (let i = 0; i < 3000; i++) appendTo(node, [i % 3], "v".repeat((i * 37) % 400));
    node.wal.sync();
    const buffers = new Set(
      [0, 1, 2].flatMap((index) => readAt(node, index, 0).map((chunk) => chunk.buffer)),
    );
    const real = [...buffers].reduce((sum, buffer) => sum + buffer.byteLength, 0);
    const counted = node.tail.heldBytes - 3000 * entryOverheadBytes;
    assert.ok(buffers.size > 2 && Math.abs(real - counted) <= 2 * arenaChunkBytes, `${real} ${counted}`);
  });

  it("flushed groups leave in WAL order when memory is over its bound, others never", () => {
    const perEntry = aBatch().byteLength + entryOverheadBytes;
    const node = aNode(2, { heldBytesMax: 2 * perEntry });
    for (const index of [0, 1, 0, 1]) {
      appendTo(node, [index]);
      node.wal.sync();
    }
    assert.equal(node.tail.heldBytes, 4 * perEntry);
    flush(node);
    assert.equal(node.tail.heldBytes, 2 * perEntry);
    assert.equal(node.tail.unflushedBytes, 0);
    for (const index of [0, 1]) assert.equal(readAt(node, index, 1).length, 1);
    const first = node.partitions.get(TOPIC, partitionIndex(0))?.read({
      offset: offset(0),
      bytesMax: 1,
      orOneBatch: true,
    });
    assert.ok(first instanceof Promise, "the first batch is read from segments now");
  });

  it("what lies above the released position stays in memory and unflushed", () => {
    const node = aNode(1, { heldBytesMax: 0 });
    const perEntry = aBatch().byteLength + entryOverheadBytes;
    appendTo(node, [0]);
    node.wal.sync();
    const below = node.wal.durablePosition;
    appendTo(node, [0]);
    node.wal.sync();
    appendTo(node, [0]);
    flush(node, below);
    assert.equal(node.tail.unflushedBytes, 2 * perEntry);
    assert.equal(node.tail.heldBytes, 2 * perEntry);
    assert.equal(readAt(node, 0, 1).length, 1);
  });

  it("its counts stay true over many groups", () => {
    const perEntry = aBatch().byteLength + entryOverheadBytes;
    const node = aNode(3, { heldBytesMax: 100 * perEntry });
    for (let i = 0; i < 2000; i++) {
      appendTo(node, [i % 3]);
      if (i % 7 === 0) node.wal.sync();
      if (i % 91 === 90) flush(node);
    }
    node.wal.sync();
    flush(node);
    assert.equal(node.tail.unflushedBytes, 0);
    assert.ok(node.tail.heldBytes <= 100 * perEntry && node.tail.heldBytes > 90 * perEntry);
    const held = [0, 1, 2].flatMap((index) => readAt(node, index, 640));
    assert.ok(held.length > 0);
  });

  it("producers wait when too much is unflushed, in order of arrival, until a flush", async () => {
    const node = aNode(1, { unflushedBytesMax: 1000 });
    assert.equal(node.tail.admit(400), undefined);
    const { batchBytes } = appendTo(node, [0], "value", 400);
    assert.equal(node.tail.unflushedBytes, batchBytes + entryOverheadBytes);
    node.wal.sync();
    const large = node.tail.admit(900);
    const small = node.tail.admit(10);
    assert.equal(node.tail.waiting, 2);
    assert.ok(!(await isSettled(large)) && !(await isSettled(small)));
    flush(node);
    assert.ok((await isSettled(large)) && (await isSettled(small)));
    assert.equal(node.tail.unflushedBytes, 910);
    appendTo(node, [], "", 900);
    node.tail.dismiss(10);
    assert.equal(node.tail.unflushedBytes, 0);
  });

  it("a request larger than the bound passes alone", async () => {
    const tail: MemoryTail = aNode(1, { unflushedBytesMax: 100 }).tail;
    assert.equal(tail.admit(10), undefined);
    const huge = tail.admit(1000);
    assert.ok(!(await isSettled(huge)));
    tail.dismiss(10);
    assert.ok(await isSettled(huge));
  });

  it("what was loaded after a start counts as unflushed until the first flush", () => {
    const before = new PartitionWorld();
    for (let i = 0; i < 3; i++) before.append(aBatch());
    const world = before.restart(3, { tail: { heldBytesMax: 0 } });
    const perEntry = aBatch().byteLength + entryOverheadBytes;
    assert.equal(world.partitions.tail.unflushedBytes, 3 * perEntry);
    world.flush();
    assert.equal(world.partitions.tail.unflushedBytes, 0);
    assert.equal(world.partitions.tail.heldBytes, 0);
  });
});

describe("partitions of a node", () => {
  it("a durable group is told to all its partitions before anybody is woken", () => {
    const node = aNode(3);
    appendTo(node, [0, 1, 2]);
    appendTo(node, [2, 0]);
    const [first] = node.partitions;
    const seen: number[][] = [];
    first?.watch(() => seen.push([...node.partitions].map((partition) => partition.durableEnd)));
    node.wal.sync();
    assert.deepEqual(seen, [[2, 1, 2]]);
  });

  it("a deleted topic is gone at once; what the WAL still says of it changes nothing", () => {
    const node = aNode(2, { heldBytesMax: 0 });
    appendTo(node, [0, 1]);
    const [first] = node.partitions;
    node.partitions.drop(TOPIC);
    assert.equal(node.partitions.get(TOPIC, partitionIndex(0)), undefined);
    assert.equal(first?.isServing, false);
    node.wal.sync();
    flush(node);
    assert.equal(node.tail.heldBytes, 0);
    assert.equal(node.tail.unflushedBytes, 0);
  });

  it("a partition that is owned by somebody else now is gone, the others stay", () => {
    const node = aNode(2);
    node.partitions.close(TOPIC, partitionIndex(0));
    assert.deepEqual(
      node.partitions.ofTopic(TOPIC).map((partition) => partition.partition),
      [1],
    );
  });

  it("what lies between two entries of a WAL that lost whole frames is damaged, and of any other is our bug", () => {
    const before = aNode(1);
    for (let time = 0; time < 3; time++) appendTo(before, [0]);
    const lossy = before.wal.entries.filter((_, index) => index !== 1);
    const loadInto = (jumped: boolean) => {
      const after = new Partitions({}, () => undefined);
      const partition = after.open(aPartition());
      after.load(lossy, { jumped });
      partition.serve();
      return partition;
    };
    assert.throws(() => loadInto(false), /begins where the one before it ended/);
    const partition = loadInto(true);
    assert.equal(partition.durableEnd, 3);
    const read = partition.read({
      offset: offset(1),
      bytesMax: 1000,
      orOneBatch: true,
      isolation: "uncommitted",
    });
    assert.deepEqual(read, { kind: "damaged", resumeAt: 2, lastStable: 3, highWatermark: 3, logStart: 0 });
  });

  it("entries of partitions that are not here are passed over when a WAL is loaded", () => {
    const before = aNode(2);
    appendTo(before, [0, 1]);
    const after = new Partitions({}, () => undefined);
    const partition = after.open({ ...aPartition(), partition: partitionIndex(1) });
    after.load(before.wal.entries, { jumped: false });
    partition.serve();
    assert.equal(partition.durableEnd, 1);
  });

  it("what was loaded while a flush was under way stays in memory until a flush that knows of it", () => {
    const before = aNode(1);
    appendTo(before, [0]);
    const node = aNode(0, { heldBytesMax: 0 });
    const below = node.wal.durablePosition;
    const partition = node.partitions.open(aPartition());
    node.partitions.load(before.wal.entries, { jumped: false });
    node.partitions.serve(partition);
    // The flush that collected before it was loaded.
    node.partitions.release(below);
    assert.equal(readAt(node, 0, 0).length, 1);
    assert.ok(node.tail.unflushedBytes > 0);
    flush(node);
    assert.equal(node.tail.unflushedBytes, 0);
    assert.equal(node.tail.heldBytes, 0);
  });

  it("of two stays in one WAL the second brings only what the first had not", () => {
    const before = aNode(1);
    appendTo(before, [0]);
    appendTo(before, [0]);
    const [first] = before.wal.entries;
    assert.ok(first !== undefined);
    const after = new Partitions({}, () => undefined);
    const partition = after.open(aPartition());
    after.load([first], { jumped: false });
    after.load(before.wal.entries, { jumped: false });
    assert.equal(partition.logEnd, 2);
  });

  it("tells when partitions begin and cease to take appends", () => {
    const node = aNode(0);
    const told: string[] = [];
    node.partitions.onServe(({ partition }) => told.push(`serve ${partition}`));
    const unlisten = node.partitions.onStop((each) => {
      assert.ok(each.takesAppends, "it is told before");
      told.push(`stop ${each.partition}`);
    });
    const [zero, one, two] = [0, 1, 2].map((index) =>
      node.partitions.open({ ...aPartition(), partition: partitionIndex(index) }),
    );
    assert.ok(zero !== undefined && one !== undefined && two !== undefined);
    node.partitions.serve(zero);
    node.partitions.serve(one);
    node.partitions.pause(zero);
    assert.deepEqual([zero.isServing, zero.takesAppends], [true, false]);
    node.partitions.resume(zero);
    node.partitions.pause(zero);
    node.partitions.close(TOPIC, zero.partition);
    // Loading, so it never took any.
    node.partitions.close(TOPIC, two.partition);
    unlisten();
    node.partitions.drop(TOPIC);
    assert.deepEqual(told, ["serve 0", "serve 1", "stop 0", "serve 0", "stop 0"]);
  });

  it("only partitions that are not being loaded are read and flushed", () => {
    const node = aNode(1);
    node.partitions.open({ ...aPartition(), partition: partitionIndex(1) });
    const serving = Array.from(node.partitions.serving(), ({ partition }) => partition);
    assert.deepEqual(serving, [0]);
  });

  it("says once that the WAL closed", () => {
    const failures: Error[] = [];
    const partitions = new Partitions({}, (cause) => failures.push(cause));
    partitions.onFailure(new Error("disk"));
    assert.equal(failures.length, 1);
    assert.equal(partitions.failure?.message, "disk");
  });
});
