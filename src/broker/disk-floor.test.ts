import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aWorld } from "../../test/proof/journal-world.ts";
import { SimulatedBroker } from "../../test/simulated-broker.ts";
import { sleep } from "../base/ports.ts";
import { NO_TOPIC_ID, partitionIndex } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { ListedOffset, ListOffsets } from "../protocol/messages/list-offsets.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { buildBatch } from "../record/builder.ts";
import { SimClock } from "../sim/clock.ts";
import { SimDisk } from "../sim/disk.ts";
import { DiskFloor } from "./disk-floor.ts";

const floor = 20_000_000;
const settings = {
  "holdfast.disk.floor.bytes": String(floor),
  "holdfast.disk.reserve.bytes": "4000000",
};

async function produce(broker: SimulatedBroker): Promise<ErrorCode> {
  const partitionData = [{ index: partitionIndex(0), records: [buildBatch([{ value: "a" }])] }];
  const topicData = [{ name: "orders", topicId: NO_TOPIC_ID, partitionData }];
  const answer = await broker.ask(
    Produce,
    { transactionalId: null, acks: -1, timeoutMs: 1000, topicData },
    9,
  );
  return answer.responses[0]?.partitionResponses[0]?.errorCode as ErrorCode;
}

async function end(broker: SimulatedBroker): Promise<number> {
  const partitions = [
    { partitionIndex: partitionIndex(0), currentLeaderEpoch: -1 as never, timestamp: ListedOffset.latest },
  ];
  const topics = [{ name: "orders", partitions }];
  const answer = await broker.ask(
    ListOffsets,
    { replicaId: -1 as never, isolationLevel: 0, topics, timeoutMs: 1000 },
    5,
  );
  return answer.topics[0]?.partitions[0]?.offset as number;
}

const wait = (broker: SimulatedBroker, ms: number) =>
  broker.scheduler.runUntil(sleep(new SimClock(broker.scheduler), ms));

/** So much is left on the disk. */
async function leave(broker: SimulatedBroker, freeBytes: number): Promise<void> {
  broker.disk.capacityBytes = Number.POSITIVE_INFINITY;
  let used = 0;
  for (const path of broker.disk.paths()) used += broker.disk.contents(path).byteLength;
  broker.disk.capacityBytes = used + freeBytes;
}

describe("A disk that is nearly full", () => {
  it("refuses produce with an error that clients retry, goes on reading, and recovers by itself", async () => {
    const broker = await SimulatedBroker.start(settings);
    await broker.createTopic("orders");
    assert.equal(await produce(broker), ErrorCode.NONE);
    await leave(broker, floor - 1);
    await wait(broker, 1500);
    const refusal = await produce(broker);
    assert.equal(refusal, ErrorCode.KAFKA_STORAGE_ERROR);
    assert.equal(errorFacts(refusal).retriable, true);
    assert.equal(broker.broker.health().canAcknowledge, false);
    assert.equal(await end(broker), 1);
    await broker.scheduler.runUntil(broker.broker.flush());

    await leave(broker, 2 * floor);
    await wait(broker, 1500);
    assert.equal(await produce(broker), ErrorCode.NONE);
    assert.equal(broker.broker.health().canAcknowledge, true);
    await broker.stop();
  });

  it("is started on by giving up the reserve, serves reads, and gets the reserve back later", async () => {
    const broker = await SimulatedBroker.start(settings);
    await broker.createTopic("orders");
    assert.equal(await produce(broker), ErrorCode.NONE);
    await wait(broker, 1500);
    assert.ok(broker.disk.paths().includes("reserve"));
    await leave(broker, 0);
    await broker.restart();
    assert.ok(!broker.disk.paths().includes("reserve"));
    assert.equal(await end(broker), 1);
    assert.equal(await produce(broker), ErrorCode.KAFKA_STORAGE_ERROR);

    await leave(broker, 4 * floor);
    await wait(broker, 3000);
    assert.equal(await produce(broker), ErrorCode.NONE);
    assert.ok(broker.disk.paths().includes("reserve"));
    await broker.stop();
  });

  it("is started on by several brokers of one directory, of which one gives up the reserve", async () => {
    const { env, scheduler } = aWorld();
    const disk = new SimDisk();
    const reserve = await disk.open("reserve", { mode: "create", lane: "bulk" });
    await reserve.write(0, [new Uint8Array(4_000_000)]);
    disk.capacityBytes = 4_000_000;
    const options = { ...env, disk, floorBytes: floor, reserveBytes: 4_000_000 };
    const floors = await scheduler.runUntil(Promise.all([DiskFloor.open(options), DiskFloor.open(options)]));
    assert.deepEqual(disk.paths(), []);
    for (const each of floors) {
      assert.ok(each.refusing);
      each.stop();
    }
  });
});
