/**
 * Whether a start, a take-over and a broker's memory depend on how much is stored: three brokers over one directory
 * that holds so many partitions with so much in segments (see filled-store.ts), and the same small unflushed tail.
 *
 *   node bench/log-size.ts [--gib 1,5] [--partitions 2000] [--tries 3]
 *   node bench/log-size.ts --segments 50,500 --segment-kib 1     segments per partition, of 1 KiB each
 *
 * From the kill: until our own client has an acknowledgement from each partition. Read: what a broker had read from
 * files and sockets when it was ready, its own program included.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createClient } from "../src/entry/client.ts";
import type { Broker } from "../tools/brokers.ts";
import { type BrokerCluster, startCluster } from "../tools/clusters.ts";
import { cacheDirectory } from "../tools/toolbox.ts";
import { type Filled, type Filling, fillStore, storeOf } from "./filled-store.ts";

const { values } = parseArgs({
  options: {
    gib: { type: "string", default: "1,5" },
    partitions: { type: "string", default: "2000" },
    tries: { type: "string", default: "3" },
    segments: { type: "string" },
    "segment-kib": { type: "string", default: "512" },
  },
});
const partitions = Number(values.partitions);
const tries = Number(values.tries);
const topics = 20;
const gib = 1024 ** 3;
const mib = 1024 ** 2;
/** Of each record that is in logs only when a broker is killed: one in each partition. */
const tail = Buffer.alloc(1024, 7);
const balanceMs = 60_000;

interface Figures {
  readonly filled: Filled;
  /** ms from the start of three processes to the last `Ready`: the first, then after all were killed. */
  readonly starts: number[];
  /** ms from kill -9 of one until the last partition serves. */
  readonly takeOvers: number[];
  /** ms from the start of the killed one until partitions are even. */
  readonly balanced: number[];
  /** Of the broker that needs most: bytes read at Ready, resident after all. */
  read: number;
  resident: number;
}

const numberIn = (path: string, name: string): number => {
  const line = readFileSync(path, "utf8")
    .split("\n")
    .find((each) => each.startsWith(name));
  return Number(/\d+/.exec(line?.slice(name.length) ?? "")?.[0] ?? Number.NaN);
};
const readBy = (broker: Broker): number => numberIn(`/proc/${broker.pid()}/io`, "rchar:");
const residentOf = (broker: Broker): number => numberIn(`/proc/${broker.pid()}/status`, "VmRSS:") * 1024;
const most = (cluster: BrokerCluster, of: (broker: Broker) => number): number =>
  Math.max(...cluster.brokers.map(of));
const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
};
const say = (line: string): void =>
  console.log(`${new Date().toISOString().slice(11, 19)} load ${loadavg()[0]?.toFixed(0)}: ${line}`);

async function measure(filling: Filling): Promise<Figures> {
  mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "bench", "log-size-"));
  try {
    const begun = performance.now();
    const filled = await fillStore(join(directory, "shared"), filling);
    say(
      `${(filled.bytes / gib).toFixed(2)} GiB in ${filled.segments} segments written in ${seconds(performance.now() - begun)}`,
    );
    return await over(directory, filled);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function over(directory: string, filled: Filled): Promise<Figures> {
  const begun = performance.now();
  const cluster = await startCluster({ directory, store: storeOf(directory) });
  const figures: Figures = {
    filled,
    starts: [performance.now() - begun],
    takeOvers: [],
    balanced: [],
    read: most(cluster, readBy),
    resident: 0,
  };
  say(`ready after ${seconds(figures.starts[0] ?? 0)}`);
  const client = createClient({ bootstrap: cluster.address });
  try {
    const producer = client.producer();
    const toEach = (value: Buffer): Promise<unknown> =>
      Promise.all(
        filled.topics.flatMap((topic) =>
          Array.from({ length: partitions / topics }, (_, partition) =>
            producer.send({ topic, partition, value }),
          ),
        ),
      );
    const isEven = async (): Promise<boolean> => {
      const owned = new Map<number, number>();
      for (const { leaders } of await client.admin().listTopics()) {
        for (const leader of leaders) owned.set(leader, (owned.get(leader) ?? 0) + 1);
      }
      const counts = [...owned.values()];
      return counts.length === cluster.brokers.length && Math.max(...counts) - Math.min(...counts) < 20;
    };
    const untilEven = async (): Promise<void> => {
      for (const until = performance.now() + balanceMs; performance.now() < until; await sleep(100)) {
        if (await isEven()) return;
      }
      say(`not even after ${seconds(balanceMs)}`);
    };
    say(`even ${seconds(await timed(untilEven))} later`);
    for (let at = 0; at < tries; at++) {
      const broker = cluster.brokers[at % cluster.brokers.length] as Broker;
      await toEach(tail);
      figures.takeOvers.push(
        await timed(async () => {
          await broker.kill();
          await toEach(tail);
        }),
      );
      figures.balanced.push(
        await timed(async () => {
          await broker.start();
          figures.read = Math.max(figures.read, readBy(broker));
          await untilEven();
        }),
      );
      say(
        `all partitions serve ${seconds(figures.takeOvers.at(-1) ?? 0)} after kill -9, even ${seconds(figures.balanced.at(-1) ?? 0)} after its start`,
      );
    }
    for (let at = 0; at < tries; at++) {
      await toEach(tail);
      await cluster.killAll();
      figures.starts.push(await cluster.start());
      figures.read = Math.max(figures.read, most(cluster, readBy));
      say(`all killed, ready again after ${seconds(figures.starts.at(-1) ?? 0)}`);
    }
    await toEach(tail);
    await untilEven();
    figures.resident = most(cluster, residentOf);
  } finally {
    await client.close();
    await cluster.killAll();
  }
  return figures;
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const median = (figures: readonly number[]): string =>
  seconds(figures.toSorted((a, b) => a - b)[Math.floor((figures.length - 1) / 2)] ?? Number.NaN);
const range = (figures: readonly number[]): string =>
  `${median(figures)} (${seconds(Math.min(...figures))} to ${seconds(Math.max(...figures))})`;

function table(all: readonly Figures[]): string {
  const rows = all.map(({ filled, starts, takeOvers, balanced, read, resident }) => [
    `${(filled.bytes / gib).toFixed(2)} GiB`,
    `${filled.segments}`,
    `${filled.recentSegments}`,
    `${(filled.snapshotBytes / mib).toFixed(1)} MiB`,
    range(starts),
    range(takeOvers),
    range(balanced),
    `${Math.round(read / mib)} MiB`,
    `${Math.round(resident / mib)} MiB`,
  ]);
  const head = [
    "stored",
    "segments",
    "not folded",
    "snapshot",
    "start of three",
    "kill -9 to the last partition",
    "start to even",
    "read",
    "resident",
  ];
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

const segmentBytes = Number(values["segment-kib"]) * 1024;
const perPartition =
  values.segments === undefined
    ? values.gib
        .split(",")
        .map((size) => Math.max(1, Math.round((Number(size) * gib) / partitions / segmentBytes)))
    : values.segments.split(",").map(Number);
const measured: Figures[] = [];
for (const segmentsPerPartition of perPartition) {
  const bytes = segmentsPerPartition * segmentBytes * partitions;
  const { bavail, bsize } = statfsSync(cacheDirectory);
  if (bytes * 1.2 + 4 * gib > bavail * bsize) {
    say(`no room for ${(bytes / gib).toFixed(1)} GiB: passed over`);
    continue;
  }
  const partitionsPerTopic = partitions / topics;
  measured.push(await measure({ topics, partitionsPerTopic, segmentsPerPartition, segmentBytes }));
}
console.log(`\n${partitions} partitions, 3 brokers on one machine, load ${loadavg()[0]?.toFixed(0)}\n`);
console.log(table(measured));
