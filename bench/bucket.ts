/**
 * What a broker over MinIO adds to what MinIO itself takes, on this machine and in one run, in turns: an
 * acknowledgement at low load beside one PUT of an object of the same size, and four producers beside PUTs of
 * objects as the broker wrote them, as many at a time. Then what an idle broker asks of the store.
 *
 *   node bench/bucket.ts [--rounds 5] [--seconds 10]
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createClient } from "../src/entry/client.ts";
import { systemClock } from "../src/io/clock.ts";
import { loadNativeCrc32c } from "../src/io/crc32c-native.ts";
import { systemRandom } from "../src/io/random.ts";
import { openS3Store } from "../src/io/s3/open.ts";
import { quietLogger, SummingMeter } from "../src/io/s3/store-fixture.ts";
import { lanesDefault } from "../src/log/object-wal.ts";
import { bucket, startMinio } from "../test/bucket/minio.ts";
import { startBroker } from "../tools/brokers.ts";
import { cacheDirectory } from "../tools/toolbox.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, seconds: { type: "string", default: "10" } },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);

loadNativeCrc32c();
mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
const directory = mkdtempSync(join(cacheDirectory, "bench", "bucket-"));
const minio = await startMinio(join(directory, "minio"));
const ports = { clock: systemClock, random: systemRandom(), log: quietLogger, meter: new SummingMeter() };
const store = await openS3Store(`s3://${bucket}/raw`, {}, { HOME: directory, ...minio.env }, ports);
const broker = await startBroker("holdfast", {
  directory: join(directory, "broker"),
  store: `s3://${bucket}/cluster`,
  env: minio.env,
});
const client = createClient({ bootstrap: broker.address });
await client.admin().createTopics([{ topic: "bench", partitions: 4 }]);
const record = systemRandom().bytes(1_024);
let objects = 0;

/** Milliseconds that one PUT of so many bytes takes. */
async function putMs(bytes: number): Promise<number> {
  const body = systemRandom().bytes(bytes);
  const begun = performance.now();
  await store.putIfAbsent(`wal/${objects++}`, [body], bytes);
  return performance.now() - begun;
}

const lowLoadMs = 50;

async function lowLoad(): Promise<{ readonly ack: number; readonly put: number }> {
  const producer = client.producer();
  const acks: number[] = [];
  const puts: number[] = [];
  await producer.send({ topic: "bench", partition: 0, value: record });
  for (let at = 0; at < 100; at++) {
    const begun = performance.now();
    await producer.send({ topic: "bench", partition: 0, value: record });
    acks.push(performance.now() - begun);
    await sleep(lowLoadMs / 2);
    // As large as a slot with that record.
    puts.push(await putMs(1_350));
    await sleep(lowLoadMs / 2);
  }
  await producer.close();
  return { ack: median(acks), put: median(puts) };
}

/** Bytes of records per second over four producers, and how large the objects of the log were. */
async function fourProducers(): Promise<{ readonly bytesPerSecond: number; readonly objectBytes: number }> {
  const before = await walCounts();
  const endMs = performance.now() + seconds * 1000;
  const begun = performance.now();
  let sent = 0;
  await Promise.all(
    Array.from({ length: 4 }, async (_, partition) => {
      const producer = createClient({ bootstrap: broker.address }).producer();
      while (performance.now() < endMs) {
        const some = Array.from({ length: 1_000 }, () =>
          producer.send({ topic: "bench", partition, value: record }),
        );
        await Promise.all(some);
        sent += some.length;
      }
      await producer.close();
    }),
  );
  const after = await walCounts();
  const objectBytes = (after.bytes - before.bytes) / Math.max(1, after.puts - before.puts);
  return { bytesPerSecond: (sent * record.byteLength) / ((performance.now() - begun) / 1000), objectBytes };
}

/** Bytes per second that the store takes in objects of this size, as many at a time as a broker's log has lanes. */
async function rawPuts(objectBytes: number): Promise<number> {
  const body = systemRandom().bytes(Math.round(objectBytes));
  const endMs = performance.now() + seconds * 1000;
  const begun = performance.now();
  let bytes = 0;
  await Promise.all(
    Array.from({ length: lanesDefault }, async () => {
      while (performance.now() < endMs) {
        await store.putIfAbsent(`wal/${objects++}`, [body], body.byteLength);
        bytes += body.byteLength;
      }
    }),
  );
  return bytes / ((performance.now() - begun) / 1000);
}

async function metrics(): Promise<string> {
  return (await fetch(`${broker.http}/metrics`)).text();
}
function sumOf(text: string, pattern: RegExp): number {
  return text
    .split("\n")
    .filter((line) => pattern.test(line))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}
async function walCounts(): Promise<{ readonly bytes: number; readonly puts: number }> {
  const text = await metrics();
  return {
    bytes: sumOf(text, /^holdfast_wal_written_bytes/),
    puts: sumOf(text, /^holdfast_wal_put_ms_count/),
  };
}

function median(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[figures.length >> 1] ?? Number.NaN;
}
const spread = (figures: readonly number[]): string => {
  const sorted = figures.toSorted((a, b) => a - b);
  const at = (share: number): string => (sorted[Math.round((sorted.length - 1) * share)] ?? 0).toFixed(2);
  return `${at(0.5)} [${at(0.25)}-${at(0.75)}]`;
};

console.log(`load ${loadavg()[0]?.toFixed(1)}`);
const ackRatios: number[] = [];
const throughputRatios: number[] = [];
for (let round = 1; round <= rounds; round++) {
  const { ack, put } = await lowLoad();
  ackRatios.push(ack / put);
  const { bytesPerSecond, objectBytes } = await fourProducers();
  // What the broker flushes meanwhile is over before the store is alone.
  await sleep(5_000);
  const raw = await rawPuts(objectBytes);
  throughputRatios.push(bytesPerSecond / raw);
  const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
  console.log(
    `round ${round}: ack ${ack.toFixed(2)} ms, put ${put.toFixed(2)} ms; producers ${mib(bytesPerSecond)}/s in objects of ${mib(objectBytes)}, the store alone ${mib(raw)}/s`,
  );
}
console.log(`acknowledgement / PUT: ${spread(ackRatios)} (goal at most 1.3)`);
console.log(`four producers / store: ${spread(throughputRatios)} (goal at least 0.6)`);
await client.close();
await sleep(15_000);
const requests = async (): Promise<{ readonly all: number; readonly lists: number }> => {
  const text = await metrics();
  return {
    all: sumOf(text, /^holdfast_s3_requests_total/),
    lists: sumOf(text, /^holdfast_s3_requests_total.*kind="list"/i),
  };
};
const idleBefore = await requests();
const idleSeconds = 60;
await sleep(idleSeconds * 1000);
const idleAfter = await requests();
console.log(
  `idle for ${idleSeconds} s: ${idleAfter.all - idleBefore.all} requests, of which ${idleAfter.lists - idleBefore.lists} lists`,
);
await broker.stop();
store.close();
await minio.stop();
rmSync(directory, { recursive: true, force: true });
console.log(`load ${loadavg()[0]?.toFixed(1)}`);
