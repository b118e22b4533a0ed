/** What a start after all brokers died waits for, in round trips to the store: each takes the same time here, and only those that wait for each other add up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedCluster } from "../../../test/simulated-cluster.ts";
import { brokerEpoch, walPosition } from "../../base/ids.ts";
import type { ObjectStore } from "../../base/ports.ts";
import { encodeEntries, encodeSeal, nonceBytes, slotKey } from "../../log/object-wal-format.ts";
import { sealWal } from "../../log/object-wal-seal.ts";
import { SimClock } from "../../sim/clock.ts";
import { SimObjectStore } from "../../sim/object-store.ts";
import { SimRandom } from "../../sim/random.ts";
import { Scheduler } from "../../sim/scheduler.ts";
import { ReadOnce } from "./read-once.ts";

const roundTripMs = 30;
const places = [0, 1, 2];
const partitions = 180;

async function aCluster(): Promise<SimulatedCluster> {
  const cluster = new SimulatedCluster({}, 1, { suspicionMs: 60_000, flushAgeMs: 3_600_000 });
  const { bucket, scheduler } = cluster;
  bucket.weather = { ...bucket.weather, latencyMs: 0 };
  const connect = bucket.connect.bind(bucket);
  bucket.connect = (process) => {
    const store = connect(process);
    const slowly = async <T>(call: () => Promise<T>): Promise<T> => {
      await new Promise<void>((resume) => scheduler.schedule(roundTripMs, () => process.deliver(resume)));
      return call();
    };
    return {
      get: (key, range) => slowly(() => store.get(key, range)),
      putIfAbsent: (key, chunks, length) => slowly(() => store.putIfAbsent(key, chunks, length)),
      list: (prefix) => slowly(() => store.list(prefix)),
      delete: (key) => slowly(() => store.delete(key)),
    };
  };
  await cluster.bootAll(places.length);
  return cluster;
}

test("brokers that were all killed serve again after a few dozen round trips, without a suspicion, however many flushes there were", async (t) => {
  const cluster = await aCluster();
  t.after(() => cluster.close());
  const client = cluster.client();
  await cluster.run(client.admin().createTopics([{ topic: "t", partitions }]));
  const producer = client.producer();
  const toEach = async (): Promise<void> => {
    const sent = Array.from({ length: partitions }, (_, partition) =>
      producer.send({ topic: "t", partition, value: "v" }),
    );
    await cluster.run(Promise.all(sent));
  };
  const rounds: number[] = [];
  for (const flushes of [1, 8]) {
    for (let at = 0; at < flushes; at++) {
      await toEach();
      await cluster.run(Promise.all(places.map((place) => cluster.at(place).flush())));
    }
    await toEach();
    for (const place of places) cluster.kill(place);
    const begunMs = cluster.scheduler.nowMs;
    const starts = places.map((place) => cluster.bootLater(place).then((broker) => broker.whenServing()));
    await cluster.run(Promise.all(starts));
    rounds.push((cluster.scheduler.nowMs - begunMs) / roundTripMs);
    await cluster.pass(10_000);
  }
  const [few, many] = rounds as [number, number];
  assert.ok(
    few < 50 && many < 50,
    `${few.toFixed(0)} round trips after one flush, ${many.toFixed(0)} after eight more`,
  );
});

const epoch = brokerEpoch(7);
const clusterId = "test";

const aSlot = (slot: number): Uint8Array =>
  encodeEntries({ clusterId, epoch, slot }, new Uint8Array(nonceBytes), [], []);

function aLog(slots: number) {
  const random = new SimRandom(1);
  const scheduler = new Scheduler(random);
  const bucket = new SimObjectStore({ clock: new SimClock(scheduler), random, latencyMs: 0 });
  for (let slot = 0; slot < slots; slot++) bucket.objects.set(slotKey(epoch, slot), aSlot(slot));
  const calls: string[] = [];
  const connected = bucket.connect();
  const store: ObjectStore = {
    ...connected,
    get: (key) => (calls.push(`get ${key}`), connected.get(key)),
    list: (prefix) => (calls.push(`list ${prefix}`), connected.list(prefix)),
  };
  const ports = { clock: new SimClock(scheduler), random };
  return { bucket, calls, store, ports };
}

test("a take-over reads each slot once, beside the fence, and asks for no slot where it expects none", async () => {
  const { store, calls, ports } = aLog(10);
  const once = new ReadOnce(store);
  once.readAhead(epoch, walPosition(3));
  assert.equal(await once.highest, 9);
  const wal = { store: once.store, ports, clusterId, epoch, released: walPosition(3) };
  assert.equal(await sealWal(wal, await once.highest), 10);
  for (let slot = 3; slot < 10; slot++) assert.notEqual(await once.store.get(slotKey(epoch, slot)), null);
  assert.deepEqual(calls.toSorted(), [
    ...Array.from({ length: 7 }, (_, at) => `get ${slotKey(epoch, at + 3)}`),
    "list wal/000000000007/",
  ]);
});

test("a writer that went on since the listing is sealed behind what it wrote", async () => {
  const { bucket, store, ports } = aLog(10);
  const once = new ReadOnce(store);
  once.readAhead(epoch, walPosition(0));
  assert.equal(await once.highest, 9);
  for (let slot = 10; slot < 100; slot++) bucket.objects.set(slotKey(epoch, slot), aSlot(slot));
  const wal = { store: once.store, ports, clusterId, epoch, released: walPosition(0) };
  assert.equal(await sealWal(wal, await once.highest), 100);
  assert.deepEqual(
    Buffer.from(bucket.objects.get(slotKey(epoch, 100)) ?? []),
    Buffer.from(encodeSeal({ clusterId, epoch, slot: 100 })),
  );
});

test("what was absent or could not be read ahead is asked for again", async () => {
  const { bucket, ports } = aLog(2);
  const connected = bucket.connect();
  let isAway = true;
  const store: ObjectStore = {
    ...connected,
    get: (key) => (isAway ? Promise.reject(new Error("no answer")) : connected.get(key)),
    list: (prefix) => (isAway ? Promise.reject(new Error("no answer")) : connected.list(prefix)),
  };
  const once = new ReadOnce(store);
  once.readAhead(epoch, walPosition(0));
  assert.equal(await once.highest, null);
  await assert.rejects(once.store.get(slotKey(epoch, 0)));
  isAway = false;
  assert.equal(await once.store.get(slotKey(epoch, 5)), null);
  bucket.objects.set(slotKey(epoch, 5), aSlot(5));
  assert.notEqual(await once.store.get(slotKey(epoch, 5)), null);
  const wal = { store: once.store, ports, clusterId, epoch, released: walPosition(0) };
  assert.equal(await sealWal(wal, await once.highest), 2);
});
