/**
 * Three brokers as processes over MinIO: a client of each kind writes with idempotence while one broker after the
 * other gets `kill -9` and comes back, and everybody reads the same. And the bucket itself goes away for a while.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, test } from "node:test";
import { createClient } from "../../src/entry/client.ts";
import { type BrokerCluster, startCluster } from "../../tools/clusters.ts";
import { franzGo, holdfast, javaClient } from "../interop/clients.ts";
import { type DataSetOptions, dataSet } from "../interop/data-set.ts";
import type { Exchange, Writer } from "../interop/exchange.ts";
import { bucket, type Minio, startMinio } from "./minio.ts";

const scale = Number(process.env["HOLDFAST_CLUSTER"] ?? 1);
/** A client waits for so long for what it asked. */
const timeoutMs = 240_000;
const directory = mkdtempSync(join(tmpdir(), "holdfast-cluster-"));
let minio: Minio;
let cluster: BrokerCluster;

before(async () => {
  minio = await startMinio(join(directory, "minio"));
  cluster = await startCluster({ directory, store: `s3://${bucket}/cluster`, env: minio.env });
});
after(async () => {
  await cluster.killAll();
  await minio.stop();
  rmSync(directory, { recursive: true, force: true });
});

const clients = [franzGo(), javaClient("4.4.0"), holdfast()];

for (const writer of clients) {
  test(`${writer.client} writes through the death of a broker, and everybody reads the same`, async (t) => {
    const set = await dataSet(setOf(writer));
    const topic = topicOf(writer);
    await using client = createClient({ bootstrap: cluster.address });
    await client.admin().createTopic({ topic, partitions: set.partitionCount });
    const kills: Promise<number>[] = [];
    const exchange: Exchange = {
      address: cluster.address,
      topic,
      set,
      timeoutMs,
      onProgress: (count) => {
        if (kills.length === 0 && count > set.recordCount / 3) kills.push(killed());
      },
    };
    const begun = performance.now();
    await writer.write(exchange);
    const tookMs = performance.now() - begun;
    assert.equal(kills.length, 1, "a broker died on the way");
    await Promise.all(kills);
    for (const reader of clients) {
      const { partitions } = await reader.read({ ...exchange, onProgress: () => undefined });
      assert.deepEqual(partitions, set.partitions, `${reader.client} reads what ${writer.client} wrote`);
    }
    t.diagnostic(`${set.recordCount} records in ${Math.round(tookMs)} ms`);
  });
}

const topicOf = ({ client }: Writer): string => `of-${client.replace(/\W+/g, "-")}`;
const setOf = ({ dress, partitionCount }: Writer): DataSetOptions => ({
  dress,
  partitionCount,
  smallCount: 4_000 * scale,
  largeCount: 10 * scale,
});

async function killed(): Promise<number> {
  await cluster.kill();
  return cluster.start();
}

test("all brokers killed at once come back with everything", async () => {
  await cluster.killAll();
  await cluster.start();
  for (const writer of clients) {
    const { partitions } = await franzGo().read({
      address: cluster.address,
      topic: topicOf(writer),
      set: await dataSet(setOf(writer)),
      timeoutMs,
      onProgress: () => undefined,
    });
    assert.deepEqual(partitions, (await dataSet(setOf(writer))).partitions, writer.client);
  }
});

test("while the bucket is away nothing is acknowledged, health says so, and all goes on by itself", async (t) => {
  await using client = createClient({ bootstrap: cluster.address });
  await client.admin().createTopic({ topic: "away", partitions: 3 });
  await using producer = client.producer();
  const acknowledged: string[] = [];
  const sending = new Set<Promise<unknown>>();
  const send = (value: string): void => {
    const sent = producer.send({ topic: "away", value }).then(() => acknowledged.push(value));
    sending.add(sent);
    void sent.finally(() => sending.delete(sent));
  };
  for (let at = 0; at < 100; at++) send(`before-${at}`);
  await Promise.all(sending);
  const address = new URL(minio.endpoint);
  await minio.stop();
  for (let at = 0; at < 100; at++) send(`during-${at}`);
  await sleep(8_000);
  assert.equal(acknowledged.length, 100, "nothing is acknowledged that is in no bucket");
  const answers = await Promise.all(cluster.brokers.map(({ http }) => fetch(`${http}/health`)));
  const texts = await Promise.all(answers.map((answer) => answer.text()));
  assert.ok(
    texts.some((text) => /bucket unreachable for \d+ s/.test(text)),
    texts.join("\n"),
  );
  t.diagnostic(texts.find((text) => text.includes("unreachable"))?.trim() ?? "");
  minio = await startMinio(join(directory, "minio"), Number(address.port));
  const begun = performance.now();
  await Promise.all(sending);
  t.diagnostic(`all acknowledged ${Math.round(performance.now() - begun)} ms after the bucket was back`);
  assert.equal(acknowledged.length, 200);
  const read = new Map<string, number>();
  const consumer = client.consumer({ topic: "away", from: "start", until: "end" });
  for await (const record of consumer) {
    const value = Buffer.from(record.value ?? "").toString();
    read.set(value, (read.get(value) ?? 0) + 1);
  }
  assert.equal(read.size, 200);
  assert.ok([...read.values()].every((count) => count === 1));
});

test("when the bucket's credentials change each broker ends with a sentence, and comes back with all when they are right", async () => {
  const port = Number(new URL(minio.endpoint).port);
  await minio.stop();
  minio = await startMinio(join(directory, "minio"), port, "another-secret");
  await using client = createClient({ bootstrap: cluster.address });
  await using producer = client.producer({ deliveryTimeoutMs: 60_000 });
  const waiting = producer.send({ topic: "away", value: "after all" });
  waiting.catch(() => undefined);
  const ends = await Promise.all(cluster.brokers.map((broker) => broker.whenEnded(40_000)));
  for (const { code, stdout, stderr } of ends) {
    assert.equal(code, 1, stderr);
    assert.match(
      stdout + stderr,
      /The credentials are not accepted for s3:.*nothing further is acknowledged/,
    );
  }
  await minio.stop();
  minio = await startMinio(join(directory, "minio"), port);
  await cluster.killAll();
  await cluster.start();
  await waiting;
});
