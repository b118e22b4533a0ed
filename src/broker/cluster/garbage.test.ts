import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aCluster, type SimulatedCluster } from "../../../test/simulated-cluster.ts";
import type { BrokerEpoch } from "../../base/ids.ts";
import { referencedObjects } from "../../log/garbage.ts";
import { parseSlotKey } from "../../log/object-wal-format.ts";
import { objectPrefix } from "../../log/segment-format.ts";
import { SegmentIndex } from "../../log/segment-index.ts";
import { garbageView } from "../../metadata/unneeded.ts";

const minuteMs = 60_000;
const settings = { "log.retention.check.interval.ms": "20000", "log.segment.delete.delay.ms": "5000" };

async function withRecords(cluster: SimulatedCluster, topic: string): Promise<void> {
  const client = cluster.client();
  await cluster.run(client.admin().createTopics([{ topic, partitions: 6 }]));
  const producer = client.producer();
  const sending = Array.from({ length: 60 }, (_, at) =>
    producer.send({ topic, partition: at % 6, value: `v${at}` }),
  );
  await cluster.run(Promise.all(sending));
  await cluster.run(client.close());
}

const slotsOf = (cluster: SimulatedCluster, epoch: BrokerEpoch): number[] =>
  [...cluster.bucket.objects.keys()].flatMap((key) => {
    const name = parseSlotKey(key);
    return name?.epoch === epoch ? [name.slot] : [];
  });

/** Objects under `seg/` that no partition refers to. */
async function unreferenced(cluster: SimulatedCluster): Promise<string[]> {
  const { journal } = cluster.at(0).services;
  const { process } = cluster.memberAt(0);
  const index = new SegmentIndex(cluster.bucket.connect(process), 1 << 20);
  const referenced = await cluster.run(
    referencedObjects(Array.from(garbageView(journal.state).partitions), index),
  );
  return [...cluster.bucket.objects.keys()].filter(
    (key) => key.startsWith(objectPrefix) && !referenced.has(key),
  );
}

describe("A store that brokers share", () => {
  it("is listed by nobody while nothing happens, and asked for news once in five seconds by each", async (test) => {
    const cluster = await aCluster(test, settings);
    await withRecords(cluster, "t");
    await cluster.pass(minuteMs);
    for (const place of [0, 1, 2]) {
      const { epoch } = cluster.at(place).services;
      assert.deepEqual(slotsOf(cluster, epoch), [], "what is in segments is not in logs any more");
    }
    const before = { ...cluster.bucket.counts.byOperation };
    await cluster.pass(10 * minuteMs);
    const { get, put, list, delete: deletes } = cluster.bucket.counts.byOperation;
    assert.deepEqual([put, list, deletes], [before.put, before.list, before.delete]);
    assert.ok(get - before.get <= 3 * 10 * 12 + 3, `${get - before.get} reads`);
  });

  it("keeps of a broker that died the seal of its log, and nothing else", async (test) => {
    const cluster = await aCluster(test, settings);
    await withRecords(cluster, "t");
    const { epoch } = cluster.at(1).services;
    assert.ok(slotsOf(cluster, epoch).length > 0);
    cluster.kill(1);
    await cluster.pass(2 * minuteMs);
    const { end, status } = cluster.at(0).services.journal.state.brokers.get(epoch) ?? {};
    assert.equal(status, "sealed");
    assert.deepEqual(slotsOf(cluster, epoch), [end]);
  });

  it("is rid of a deleted topic, and of what a broker put and did not live to name", async (test) => {
    const cluster = await aCluster(test, settings);
    await withRecords(cluster, "gone");
    // In objects of its own.
    await cluster.pass(minuteMs / 2);
    await withRecords(cluster, "stays");
    await cluster.pass(minuteMs / 2);
    const orphan = `${objectPrefix}${String(cluster.at(2).services.epoch).padStart(12, "0")}/000000000900`;
    cluster.bucket.objects.set(orphan, new Uint8Array(10));
    await cluster.pass(2 * minuteMs);
    assert.ok(cluster.bucket.objects.has(orphan), "its author lives and may name it");
    const client = cluster.client();
    await cluster.run(client.admin().deleteTopics(["gone"]));
    assert.ok((await unreferenced(cluster)).length > 1);
    await cluster.pass(2 * minuteMs);
    assert.deepEqual(await unreferenced(cluster), [orphan]);
    cluster.kill(2);
    await cluster.pass(2 * minuteMs);
    assert.deepEqual(await unreferenced(cluster), []);
    await cluster.run(client.close());
  });

  it("is swept by the next one when the broker that swept is gone", async (test) => {
    const cluster = await aCluster(test, settings);
    await withRecords(cluster, "gone");
    await cluster.pass(minuteMs / 2);
    cluster.kill(0);
    await cluster.pass(minuteMs / 2);
    await cluster.boot(0);
    const client = cluster.client();
    await cluster.run(client.admin().deleteTopics(["gone"]));
    await cluster.pass(3 * minuteMs);
    assert.deepEqual(await unreferenced(cluster), []);
    await cluster.run(client.close());
  });
});
