/**
 * How long a cluster of three needs until the last partition serves again after one broker got kill -9 with data
 * that is in its log only, and how long records wait when one is asked to end instead.
 *
 *   node bench/takeover.ts [--tries 20] [--mib 64] [--partitions 12] [--store s3://…]
 *
 * Waits are of our own client, from the kill to the acknowledgement of a record in each partition.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createClient } from "../src/entry/client.ts";
import { startCluster } from "../tools/clusters.ts";
import { cacheDirectory } from "../tools/toolbox.ts";

const { values } = parseArgs({
  options: {
    tries: { type: "string", default: "20" },
    mib: { type: "string", default: "64" },
    partitions: { type: "string", default: "12" },
    store: { type: "string" },
  },
});
const [tries, mib, partitions] = [values.tries, values.mib, values.partitions].map(Number) as [
  number,
  number,
  number,
];

mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
const directory = mkdtempSync(join(cacheDirectory, "bench", "takeover-"));
const cluster = await startCluster({
  directory,
  ...(values.store === undefined ? {} : { store: values.store }),
});
const client = createClient({ bootstrap: cluster.address });
const topic = `takeover-${process.pid}`;
await client.admin().createTopics([{ topic, partitions }]);
const producer = client.producer();
const value = Buffer.alloc(64 * 1024, 7);

/** So much of the cluster's data is in logs only: a third of it in that of the broker that ends. */
async function fill(): Promise<void> {
  const count = Math.ceil((mib * 3 * 1024 * 1024) / value.byteLength);
  for (let sent = 0; sent < count; sent += 96) {
    const some = Array.from({ length: Math.min(96, count - sent) }, (_, at) =>
      producer.send({ topic, partition: (sent + at) % partitions, value }),
    );
    await Promise.all(some);
  }
}

/** Until each partition has acknowledged a record that was sent after `begun`; the last one counts. */
async function waits(begun: number): Promise<number> {
  const all = Array.from({ length: partitions }, async (_, partition) => {
    await producer.send({ topic, partition, value: "after" });
    return performance.now() - begun;
  });
  return Math.max(...(await Promise.all(all)));
}

const middle = (figures: readonly number[]): string => {
  const sorted = figures.toSorted((a, b) => a - b);
  const at = (share: number): number => Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0);
  return `median ${at(0.5)} ms, quartiles ${at(0.25)} to ${at(0.75)}, worst ${at(1)} (${figures.length} tries)`;
};

const killed: number[] = [];
const ended: number[] = [];
for (let at = 0; at < tries; at++) {
  const broker = cluster.brokers[at % cluster.brokers.length];
  if (broker === undefined) break;
  await fill();
  const begun = performance.now();
  await broker.kill();
  killed.push(await waits(begun));
  await broker.start();
  // The balance brings its share back.
  await sleep(6_000);
  const asked = performance.now();
  let longest = 0;
  let isOver = false;
  const load = (async () => {
    while (!isOver) longest = Math.max(longest, await waits(performance.now()));
  })();
  await broker.stop();
  isOver = true;
  await load;
  ended.push(longest);
  console.log(
    `try ${at + 1}: ${Math.round(killed.at(-1) ?? 0)} ms after kill -9; a planned end took ${Math.round(performance.now() - asked)} ms, the longest wait was ${Math.round(longest)} ms`,
  );
  await broker.start();
  await sleep(6_000);
}
console.log(`from kill -9 to the last partition: ${middle(killed)}`);
console.log(`longest wait of a record while one is asked to end: ${middle(ended)}`);
await client.close();
await cluster.stop();
rmSync(directory, { recursive: true, force: true });
