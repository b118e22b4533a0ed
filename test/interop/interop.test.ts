/**
 * Other people's clients against a real broker process: every client's data is read back by others, byte for
 * byte and in order, also when the broker is killed in the middle of writing and in the middle of reading.
 *
 *   HOLDFAST_INTEROP   sample (15 MB per client, for .ci/run) or full (1.5 GB, for `npm run prove`);
 *                      without it nothing runs, because the tools are other people's
 *   HOLDFAST_TARGET    holdfast (default), or kafka, which proves the test itself
 *
 * Writes what worked to `.cache/interop/results.json`, from which docs/compatibility.md is made.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Broker, type BrokerKind, startBroker } from "../../tools/brokers.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import type { InteropResult } from "../../tools/compatibility.ts";
import { adminCases, createTopic, deleteTopic } from "./admin.ts";
import {
  confluentPython,
  franzGo,
  javaClient,
  kafkaJs,
  kafkaPython,
  platformatic,
  sarama,
} from "./clients.ts";
import { consoleTools } from "./console-tools.ts";
import { codecs, type DataSet, dataSet } from "./data-set.ts";
import type { Client, Reader, Writer } from "./exchange.ts";
import { kcatClient } from "./kcat.ts";

const scale = process.env["HOLDFAST_INTEROP"];
const target = (process.env["HOLDFAST_TARGET"] ?? "holdfast") as BrokerKind;
const sizes =
  scale === "full"
    ? { smallCount: 1_000_000, largeCount: 1_000, timeoutMs: 1_800_000 }
    : { smallCount: 12_000, largeCount: 12, timeoutMs: 180_000 };
const skip = scale === undefined ? "set HOLDFAST_INTEROP to sample or full" : false;

const java43 = javaClient("4.3.0");
const java44 = javaClient("4.4.0");
const go = franzGo();
const kcat = kcatClient();
const tools = consoleTools();
const librdkafka = confluentPython();
const python = kafkaPython();
const js = kafkaJs();
const platform = platformatic();
const saramaGo = sarama();

/**
 * Who reads what whom wrote: each writer itself when it can read without a group, and Java and franz-go. The
 * first reader of each set reads over a kill as well.
 */
const exchanges: readonly { readonly writer: Writer; readonly readers: readonly Reader[] }[] = [
  { writer: java43, readers: [go, java44] },
  { writer: java44, readers: [java44, kcat, java43] },
  { writer: go, readers: [go, java44, librdkafka] },
  { writer: kcat, readers: [kcat, java43, go] },
  { writer: tools, readers: [tools, kcat, java44] },
  { writer: js, readers: [java44, go] },
  { writer: platform, readers: [platform, java44, go] },
  { writer: librdkafka, readers: [librdkafka, java44, go] },
  { writer: python, readers: [python, java44, go] },
  { writer: saramaGo, readers: [saramaGo, java44, go] },
];

const results: InteropResult[] = [];
let broker: Broker;
let directory = "";

before(
  async () => {
    if (skip !== false) return;
    mkdirSync(join(cacheDirectory, "interop"), { recursive: true });
    directory = mkdtempSync(join(cacheDirectory, "interop", "broker-"));
    broker = await startBroker(target, { directory });
  },
  { timeout: 180_000 },
);

after(async () => {
  if (skip !== false) return;
  writeFileSync(
    join(cacheDirectory, "interop", "results.json"),
    `${JSON.stringify({ scale, at: new Date().toISOString(), commit: commit(), results }, undefined, 2)}\n`,
  );
  const ended = await broker.stop();
  rmSync(directory, { recursive: true, force: true });
  // Kafka's Java process ends with 128 + SIGTERM when it is asked to.
  assert.ok(
    ended.code === 0 || (target !== "holdfast" && ended.code === 143),
    `The broker ended with ${ended.code ?? ended.signal}\n${ended.stderr}`,
  );
});

for (const adminCase of adminCases) {
  const { tool, name } = adminCase;
  test(`kafka-tools ${tool} ${name}`, { skip, timeout: 300_000 }, async () => {
    const topic = `admin-${adminCases.indexOf(adminCase)}`;
    const client: Client = { client: tool, version: "4.3.0", language: "Java" };
    await recorded(client, { kind: "admin", what: name, killed: false }, () =>
      adminCase.run(broker.address, topic),
    );
  });
}

for (const { writer, readers } of exchanges) {
  const names = readers.map((reader) => `${reader.client} ${reader.version}`).join(", ");
  test(`what ${writer.client} ${writer.version} wrote over a kill -9 is read byte for byte by ${names}`, {
    skip,
    timeout: sizes.timeoutMs * (readers.length + 1),
  }, async () => {
    const { smallCount, largeCount, timeoutMs } = sizes;
    const set = await dataSet({
      dress: writer.dress,
      partitionCount: writer.partitionCount,
      smallCount,
      largeCount,
    });
    const topic = `by-${exchanges.findIndex((exchange) => exchange.writer === writer)}`;
    await createTopic(broker.address, topic, set.partitionCount);
    const what = `${writer.client} ${writer.version}`;
    const { recordCount, valueBytes } = set;
    await recorded(
      writer,
      { kind: "write", what, killed: true, recordCount, valueBytes, codecs },
      async () => {
        const half = killAtHalf(set);
        await writer.write({ address: broker.address, topic, set, timeoutMs, onProgress: half.onProgress });
        await half.happened();
      },
    );
    for (const [index, reader] of readers.entries()) {
      const killed = index === 0;
      await recorded(reader, { kind: "read", what, killed }, async () => {
        const half = killed ? killAtHalf(set) : undefined;
        const back = await reader.read({
          address: broker.address,
          topic,
          set,
          timeoutMs,
          onProgress: half?.onProgress ?? ignore,
        });
        await half?.happened();
        assert.deepEqual(back.partitions, back.withHeaders ? set.partitions : set.partitionsWithoutHeaders);
      });
    }
    await deleteTopic(broker.address, topic);
  });
}

/** What was tested; "unknown" outside a clone. */
function commit(): string {
  try {
    return execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" }).trim();
  } catch {
    return "unknown";
  }
}

function ignore(): void {
  // A run without a kill does not care how far it is.
}

/** Kills the broker at half the records and starts it again on the same port. */
function killAtHalf(set: DataSet): { onProgress: (count: number) => void; happened: () => Promise<void> } {
  let restarted: Promise<unknown> | undefined;
  return {
    onProgress: (count) => {
      if (restarted !== undefined || count < set.recordCount / 2) return;
      restarted = broker.kill().then(() => broker.start());
      restarted.catch(() => undefined);
    },
    happened: async () => {
      assert.ok(restarted !== undefined, "the broker was killed in the middle");
      await restarted;
    },
  };
}

async function recorded(
  { client, version, language, remark }: Client,
  done: Pick<InteropResult, "kind" | "what" | "killed" | "recordCount" | "valueBytes" | "codecs">,
  work: () => Promise<void>,
): Promise<void> {
  const begun = performance.now();
  const facts = { client, version, language, ...(remark === undefined ? {} : { remark }), target, ...done };
  const seconds = (): number => Math.round(performance.now() - begun) / 1000;
  try {
    await work();
    results.push({ ...facts, passed: true, seconds: seconds() });
  } catch (error) {
    const failure = error instanceof Error ? error.message.slice(0, 2000) : String(error);
    results.push({ ...facts, passed: false, seconds: seconds(), failure });
    throw error;
  }
}
