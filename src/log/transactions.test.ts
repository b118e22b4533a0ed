import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { offset, producerEpoch, producerId } from "../base/ids.ts";
import { BatchView, batchesIn } from "../record/batch.ts";
import { readControl } from "../record/control.ts";
import type { MarkerWish } from "./outcomes.ts";
import { aBatch, logAppendTime, PartitionWorld } from "./partition-fixture.ts";

/** Ends a transaction of `producer` in epoch 0. */
function aMarker(
  producer: number,
  outcome: "commit" | "abort",
  fields: Partial<MarkerWish> = {},
): MarkerWish {
  return {
    producerId: producerId(producer),
    producerEpoch: producerEpoch(0),
    coordinatorEpoch: 0,
    outcome,
    ...fields,
  };
}

const aTransactional = (producer: number, sequence = 0) =>
  aBatch({ producer, sequence, isTransactional: true });

function lastStable({ partition }: PartitionWorld): readonly [number, number] {
  return [partition.lastStable, partition.durableEnd];
}

/** What a committed reader gets in memory from `from` on: offsets of its batches, and the aborted transactions. */
function readCommitted({ partition }: PartitionWorld, from: number, bytesMax = 1e6) {
  const options = { offset: offset(from), bytesMax, orOneBatch: true };
  const outcome = partition.read({ ...options, isolation: "committed" });
  assert.ok(!(outcome instanceof Promise) && outcome.kind === "read");
  const bases = outcome.chunks.flatMap((chunk) => [...batchesIn(chunk)].map((batch) => batch.baseOffset));
  return {
    bases,
    aborted: outcome.aborted.map(({ producerId: id, firstOffset }) => [id, firstOffset]),
    lastStable: outcome.lastStable,
  };
}

describe("transactions in a partition", () => {
  it("the last stable offset is where the oldest transaction begins that is open or whose marker is not durable", () => {
    const world = new PartitionWorld();
    world.append(aBatch());
    world.append(aTransactional(7));
    world.append(aTransactional(8));
    assert.deepEqual(lastStable(world), [0, 0]);
    world.wal.sync();
    assert.deepEqual(lastStable(world), [1, 3]);
    world.mark(aMarker(8, "commit"));
    world.wal.sync();
    assert.deepEqual(lastStable(world), [1, 4]);
    world.mark(aMarker(7, "commit"));
    assert.deepEqual(lastStable(world), [1, 4], "a marker counts only once it is durable");
    world.wal.sync();
    assert.deepEqual(lastStable(world), [5, 5]);
    assert.deepEqual([...world.partition.openTransactions()], []);
  });

  it("a marker is Kafka's control batch, at the next offset", () => {
    const world = new PartitionWorld({ config: logAppendTime });
    world.append(aTransactional(7));
    const outcome = world.mark(aMarker(7, "abort", { coordinatorEpoch: 4, producerEpoch: producerEpoch(3) }));
    assert.deepEqual(outcome, { kind: "marked", offset: 1, walNumber: 2 });
    const batch = BatchView.at(world.wal.entries[1]?.payload as Uint8Array);
    assert.ok(batch.isControl && batch.isTransactional && batch.isIntact() && batch.isLogAppendTime);
    assert.deepEqual(readControl(batch), { kind: "abort", coordinatorEpoch: 4 });
    assert.deepEqual([batch.producerId, batch.producerEpoch, batch.baseSequence], [7, 3, -1]);
    assert.equal(world.append(aTransactional(7)).kind, "stale-producer-epoch");
  });

  it("refusals wait for what they reveal", () => {
    const world = new PartitionWorld();
    world.append(aTransactional(7));
    world.mark(aMarker(7, "abort", { coordinatorEpoch: 4, producerEpoch: producerEpoch(3) }));
    const older = world.mark(aMarker(7, "abort", { coordinatorEpoch: 4, producerEpoch: producerEpoch(2) }));
    assert.deepEqual(older, { kind: "stale-producer-epoch", current: 3, walNumber: 2 });
    const fenced = world.mark(aMarker(7, "abort", { producerEpoch: producerEpoch(3) }));
    assert.deepEqual(fenced, { kind: "coordinator-fenced", walNumber: 2 });
    world.append(aBatch({ producer: 7, epoch: 3, isTransactional: true }));
    const outside = world.append(aBatch({ producer: 7, epoch: 3, sequence: 1 }));
    assert.deepEqual(outside, { kind: "invalid-transaction-state", logStart: 0, walNumber: 3 });
  });

  it("a committed reader gets nothing at or above the last stable offset, and is told of what was aborted", () => {
    const world = new PartitionWorld();
    world.append(aTransactional(7));
    world.append(aTransactional(8));
    world.append(aTransactional(9));
    world.mark(aMarker(8, "abort"));
    world.mark(aMarker(7, "abort"));
    world.wal.sync();
    assert.deepEqual(readCommitted(world, 0), {
      bases: [0, 1],
      aborted: [
        [7, 0],
        [8, 1],
      ],
      lastStable: 2,
    });
    assert.equal(world.partition.availableBytes(offset(2), "committed"), 0);
    assert.deepEqual(readCommitted(world, 3), { bases: [], aborted: [], lastStable: 2 });
    world.mark(aMarker(9, "commit"));
    world.wal.sync();
    assert.deepEqual(readCommitted(world, 0, 1).aborted, [[7, 0]], "only what the range needs");
    // Behind the marker of 8 at offset 3, before that of 7 at offset 4.
    assert.deepEqual(readCommitted(world, 4), { bases: [4, 5], aborted: [[7, 0]], lastStable: 6 });
  });

  it("who waits for a transaction hears at once that its records are deleted, if the log begins inside a batch, too", () => {
    const world = new PartitionWorld();
    world.append(aBatch({ producer: 7, count: 4, isTransactional: true }));
    world.wal.sync();
    const seen: number[] = [];
    world.partition.watch(() => seen.push(world.partition.availableBytes(offset(0), "committed")));
    world.trim(2);
    world.wal.sync();
    assert.deepEqual(lastStable(world), [2, 4]);
    assert.deepEqual(new Set(seen), new Set([Infinity]));
  });

  it("a watcher is woken when the last stable offset moves", () => {
    const world = new PartitionWorld();
    world.append(aTransactional(7));
    world.wal.sync();
    const seen: number[] = [];
    world.partition.watch(() => seen.push(world.partition.availableBytes(offset(0), "committed")));
    world.mark(aMarker(7, "commit"));
    assert.deepEqual(seen, []);
    world.wal.sync();
    assert.equal(seen.length, 1);
    assert.ok(seen.every((bytes) => bytes > 0));
  });

  it("deleting records of an open transaction moves the last stable offset along", () => {
    const world = new PartitionWorld();
    for (let sequence = 0; sequence < 4; sequence++) world.append(aTransactional(7, sequence));
    world.wal.sync();
    assert.deepEqual(lastStable(world), [0, 4]);
    world.trim(2);
    world.wal.sync();
    assert.deepEqual(lastStable(world), [2, 4]);
    assert.deepEqual(readCommitted(world, 2).bases, []);
    world.mark(aMarker(7, "abort"));
    world.wal.sync();
    assert.deepEqual(lastStable(world), [5, 5]);
    assert.deepEqual(readCommitted(world, 2).aborted, [[7, 0]]);
  });

  it("a restart has the transactions that were open, from the segments and from the WAL", () => {
    const world = new PartitionWorld();
    world.append(aTransactional(7));
    world.append(aTransactional(8));
    world.wal.sync();
    world.flush();
    world.append(aTransactional(9));
    world.mark(aMarker(7, "abort"));
    world.wal.sync();
    const after = world.restart(world.wal.durable);
    assert.deepEqual([...after.partition.openTransactions()], [...world.partition.openTransactions()]);
    assert.deepEqual(lastStable(after), [1, 4]);
    after.mark(aMarker(8, "commit"));
    after.mark(aMarker(9, "commit"));
    after.wal.sync();
    assert.deepEqual(lastStable(after), [6, 6]);
    assert.deepEqual(after.partition.unflushed(after.wal.durablePosition)?.state.aborted, [
      { producerId: 7, firstOffset: 0, lastOffset: 3, lastStableOffset: 1 },
    ]);
  });

  it("it is told since when the producer is silent that keeps readers waiting", () => {
    const world = new PartitionWorld();
    assert.equal(world.partition.heldSinceMs, null);
    world.append(aTransactional(7), 2000);
    world.append(aTransactional(8), 3000);
    assert.equal(world.partition.heldSinceMs, 2000);
    world.mark(aMarker(7, "abort"));
    assert.equal(world.partition.heldSinceMs, null, "a marker is on its way");
    world.wal.sync();
    assert.equal(world.partition.heldSinceMs, 3000);
  });

  it("a marker that was lost in a crash leaves its transaction open", () => {
    const world = new PartitionWorld();
    world.append(aTransactional(7));
    world.wal.sync();
    world.mark(aMarker(7, "commit"));
    const after = world.restart(world.wal.durable);
    assert.deepEqual(lastStable(after), [0, 1]);
    assert.ok(after.partition.hasOpenTransaction(producerId(7)));
  });

  it("producers are described with their last marker and their open transaction", () => {
    const world = new PartitionWorld();
    world.append(aTransactional(7));
    world.mark(aMarker(7, "commit", { coordinatorEpoch: 2 }));
    world.append(aTransactional(7, 1));
    world.append(aBatch({ producer: 8 }));
    assert.deepEqual(
      [...world.partition.activeProducers()],
      [
        {
          producerId: 7,
          producerEpoch: 0,
          lastSequence: 1,
          lastTimestampMs: 1000,
          coordinatorEpoch: 2,
          openFrom: 2,
        },
        {
          producerId: 8,
          producerEpoch: 0,
          lastSequence: 0,
          lastTimestampMs: 1000,
          coordinatorEpoch: -1,
          openFrom: -1,
        },
      ],
    );
  });
});
