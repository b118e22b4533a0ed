/**
 * One load on a share group, over this project's own client, whatever broker is at the other end: records that lie in
 * a topic and are accepted by so many workers, or records on their way from a producer to a worker.
 *
 *   node bench/share-load.ts accept ADDRESS GROUP TOPIC WORKERS RECORDS
 *   node bench/share-load.ts latency ADDRESS GROUP TOPIC WORKERS PER-SECOND SECONDS
 *   node bench/share-load.ts fill ADDRESS GROUP TOPIC PARTITIONS RECORDS
 *
 * Prints one line of JSON, as the other benches' clients do. Figures of a run count acknowledgements whose answers came.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient, type Client } from "../src/entry/client.ts";
import type { ShareConsumer } from "../src/client/share/share-consumer.ts";

const valueBytes = 100;
const batchRecords = 1_000;

const [command, address = "", group = "", topic = "", ...rest] = process.argv.slice(2);
const numbers = rest.map(Number);
const [first = 0, second = 0, third = 0] = numbers;

const client = createClient({ bootstrap: address });
/** Of the workers. */
const clients: Client[] = [];
try {
  console.log(JSON.stringify(await run()));
} finally {
  await Promise.all([client, ...clients].map((each) => each.close()));
}

function run(): Promise<object> {
  switch (command) {
    case "fill":
      return fill(first, second);
    case "accept":
      return accept(first, second);
    case "latency":
      return latency(first, second, third);
    default:
      throw new Error(`there is no load ${command}`);
  }
}

/** Makes the topic, and a group that begins at its first record. */
async function fill(partitions: number, records: number): Promise<object> {
  const admin = client.admin();
  await admin.createTopics([{ topic, partitions }]);
  await admin.alterConfigs([{ group, set: { "share.auto.offset.reset": "earliest" } }]);
  const producer = client.producer();
  const value = Buffer.alloc(valueBytes, "x");
  for (let sent = 0; sent < records; sent += batchRecords) {
    const count = Math.min(batchRecords, records - sent);
    await Promise.all(Array.from({ length: count }, () => producer.send({ topic, value })));
  }
  return { records };
}

async function accept(workers: number, records: number): Promise<object> {
  let accepted = 0;
  let beganMs = 0;
  const done = Promise.withResolvers<void>();
  const consumers = consumersOf(workers);
  const handle = async (): Promise<void> => {
    beganMs ||= performance.now();
  };
  const running = consumers.map((consumer) => consumer.run(handle, { concurrency: 64 }));
  const look = setInterval(() => {
    accepted = consumers.reduce((sum, consumer) => sum + consumer.stats.accepted, 0);
    if (accepted >= records) done.resolve();
  }, 10);
  await done.promise;
  const seconds = (performance.now() - beganMs) / 1000;
  clearInterval(look);
  await Promise.all(consumers.map((consumer) => consumer.close()));
  await Promise.all(running);
  return { records: accepted, seconds, p50Ms: 0, p99Ms: 0 };
}

async function latency(workers: number, perSecond: number, seconds: number): Promise<object> {
  const tookMs: number[] = [];
  const consumers = consumersOf(workers);
  const handle = async ({ value }: { readonly value: Uint8Array | null }): Promise<void> => {
    const sentMs = Number(Buffer.from(value ?? []).toString());
    if (sentMs > 0) tookMs.push(performance.now() - sentMs);
  };
  const running = consumers.map((consumer) => consumer.run(handle, { concurrency: 16 }));
  // Until every worker has its partitions.
  await sleep(5_000);
  const producer = client.producer();
  const beganMs = performance.now();
  const records = perSecond * seconds;
  const sends: Promise<unknown>[] = [];
  for (let sent = 0; sent < records; sent++) {
    const dueMs = beganMs + (sent * 1000) / perSecond;
    const nowMs = performance.now();
    if (dueMs > nowMs) await sleep(dueMs - nowMs);
    sends.push(producer.send({ topic, value: String(performance.now()) }));
  }
  await Promise.all(sends);
  while (tookMs.length < records) await sleep(10);
  await Promise.all(consumers.map((consumer) => consumer.close()));
  await Promise.all(running);
  tookMs.sort((a, b) => a - b);
  const at = (part: number): number => tookMs[Math.floor(tookMs.length * part)] ?? Number.NaN;
  return { records, seconds, p50Ms: at(0.5), p99Ms: at(0.99) };
}

/** Each has connections of its own, as workers in processes of their own have. */
function consumersOf(workers: number): ShareConsumer[] {
  return Array.from({ length: workers }, () => {
    const own = createClient({ bootstrap: address });
    clients.push(own);
    return own.shareConsumer({ group, topic });
  });
}
