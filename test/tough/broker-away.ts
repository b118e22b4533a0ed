/**
 * A program writes with our client as fast as it can, as real processes do, and its broker is killed and stays
 * away:
 *
 *   node test/tough/broker-away.ts [--away 120] [--kind holdfast]
 *
 * Every record must have one fate: acknowledged, and then it is read back exactly once, in the order in which it
 * was sent; or refused, of which there must be none here. What the program needs of memory meanwhile is bounded.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createClient } from "../../src/entry/client.ts";
import { type BrokerKind, startBroker } from "../../tools/brokers.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";

const topic = "orders";
const partitionCount = 4;
const valueBytes = 1000;
const bufferBytes = 32 * 1024 * 1024;
/** Beside the buffer: promises, batches that are being filled, and what the collector has not looked at yet. */
const besideBytesMax = 256 * 1024 * 1024;

export interface AwayOptions {
  readonly awayMs: number;
  readonly kind?: BrokerKind;
}

export interface AwayCounts {
  readonly [what: string]: number;
  readonly acknowledged: number;
  readonly awaySeconds: number;
  readonly bufferedMaxMib: number;
  readonly rssGrowthMib: number;
}

/** Rejects when something was lost, doubled, out of order or refused, or memory was not bounded. */
export async function run({ awayMs, kind = "holdfast" }: AwayOptions): Promise<AwayCounts> {
  mkdirSync(cacheDirectory, { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "away-"));
  const broker = await startBroker(kind, { directory });
  const client = createClient({ bootstrap: broker.address, bootstrapTimeoutMs: 30_000 });
  try {
    await client.admin().createTopic({ topic, partitions: partitionCount });
    const producer = client.producer({ bufferBytes, deliveryTimeoutMs: awayMs + 60_000 });
    const acknowledged = { count: 0 };
    let refused: unknown = null;
    let sent = 0;
    let isOver = false;
    const writing = (async (): Promise<void> => {
      const value = Buffer.alloc(valueBytes, "x");
      while (!isOver) {
        if (!producer.hasRoom) await producer.ready();
        value.writeUInt32BE(sent, 0);
        producer.send({ topic, partition: sent % partitionCount, value }).then(
          () => acknowledged.count++,
          (cause: unknown) => (refused ??= cause),
        );
        sent++;
        // A loop that never waits leaves no turn to the socket.
        if (sent % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const seen = { rss: 0, buffered: 0 };
    const watch = setInterval(() => {
      seen.rss = Math.max(seen.rss, process.memoryUsage.rss());
      seen.buffered = Math.max(seen.buffered, producer.stats.bufferedBytes);
    }, 50);
    await sleep(3_000);
    const before = seen.rss;
    const known = acknowledged.count;
    await broker.kill();
    await sleep(awayMs);
    await broker.start();
    while (acknowledged.count < known + 100_000 && refused === null) await sleep(50);
    isOver = true;
    await writing;
    await producer.close();
    clearInterval(watch);
    if (refused !== null) throw new Error("a record was refused", { cause: refused });
    if (acknowledged.count !== sent) throw new Error(`${sent} were sent, ${acknowledged.count} acknowledged`);
    if (seen.buffered > 2 * bufferBytes) throw new Error(`${seen.buffered} bytes were buffered`);
    if (seen.rss - before > besideBytesMax + bufferBytes) {
      throw new Error(`memory grew by ${seen.rss - before} bytes while the broker was away`);
    }
    await compareWithLog(client, sent);
    const mib = (bytes: number): number => Math.round(bytes / 1024 / 1024);
    return {
      acknowledged: sent,
      awaySeconds: awayMs / 1000,
      bufferedMaxMib: mib(seen.buffered),
      rssGrowthMib: mib(seen.rss - before),
    };
  } finally {
    await client.close();
    await broker.kill();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Each number once, in order. */
async function compareWithLog(client: ReturnType<typeof createClient>, sent: number): Promise<void> {
  const next = Array.from({ length: partitionCount }, (_, partition) => partition);
  let left = sent;
  const consumer = client.consumer({ topic, from: "start" });
  for await (const { partition, records } of consumer.batches()) {
    for (const { offset, value } of records) {
      const number = Buffer.from(value ?? []).readUInt32BE(0);
      if (number !== next[partition]) {
        throw new Error(`${topic}/${partition} @ ${offset} is record ${number}, not ${next[partition]}`);
      }
      next[partition] = number + partitionCount;
      left--;
    }
    if (left <= 0) return;
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { away: { type: "string", default: "120" }, kind: { type: "string", default: "holdfast" } },
  });
  console.log(await run({ awayMs: Number(values.away) * 1000, kind: values.kind as BrokerKind }));
}
