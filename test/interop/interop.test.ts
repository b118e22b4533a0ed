/**
 * Other people's clients and our own against a real broker process: every client's data is read back by others,
 * byte for byte and in order, also when the broker is killed in the middle of writing and in the middle of
 * reading. Our client does the same with Apache Kafka.
 *
 *   HOLDFAST_INTEROP   sample (15 MB per client, for .ci/run) or full (1.5 GB, for `npm run prove`);
 *                      without it nothing runs, because the tools are other people's
 *   HOLDFAST_TARGET    kafka instead of holdfast for all, which proves the test itself
 *
 * Keeps the newest result of each case in `.cache/interop/results.json`, from which docs/compatibility.md is
 * made: `node tools/pages.ts --take-results`.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Broker, type BrokerKind, isHoldfast, startBroker } from "../../tools/brokers.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import type { InteropResult, InteropResults } from "../../tools/compatibility.ts";
import { adminCases, createTopic, deleteTopic } from "./admin.ts";
import {
  confluentPython,
  franzGo,
  holdfast,
  javaClient,
  kafkaJs,
  kafkaPython,
  platformatic,
  sarama,
} from "./clients.ts";
import { consoleTools } from "./console-tools.ts";
import { codecs, type DataSet, dataSet } from "./data-set.ts";
import type { Client, Reader, Tourist, Writer } from "./exchange.ts";
import { kcatClient } from "./kcat.ts";

const scale = process.env["HOLDFAST_INTEROP"];
const mainTarget = (process.env["HOLDFAST_TARGET"] ?? "holdfast") as BrokerKind;
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
const ours = holdfast();

interface DataExchange {
  readonly writer: Writer;
  readonly readers: readonly Reader[];
  readonly target?: BrokerKind;
}

/**
 * Who reads what whom wrote: each writer itself when it can read without a group, and Java and franz-go. The
 * first reader of each set reads over a kill as well.
 */
const exchanges: readonly DataExchange[] = [
  { writer: ours, readers: [ours, java44, go] },
  { writer: ours, readers: [ours, java44], target: "kafka" },
  { writer: java43, readers: [go, java44, ours] },
  { writer: java44, readers: [java44, kcat, java43, ours] },
  { writer: go, readers: [go, java44, librdkafka, ours] },
  { writer: kcat, readers: [kcat, java43, go, ours] },
  { writer: tools, readers: [tools, kcat, java44, ours] },
  { writer: js, readers: [java44, go, ours] },
  { writer: platform, readers: [platform, java44, go, ours] },
  { writer: librdkafka, readers: [librdkafka, java44, go, ours] },
  { writer: python, readers: [python, java44, go, ours] },
  { writer: saramaGo, readers: [saramaGo, java44, go, ours] },
];

const tourists: readonly Tourist[] = [ours, go, librdkafka, js, platform, python, saramaGo];

const brokers = new Map<BrokerKind, Promise<Broker>>();
let directory = "";

/** Starts it when it is first asked for. */
function brokerOf(target: BrokerKind): Promise<Broker> {
  const known = brokers.get(target) ?? startBroker(target, { directory: join(directory, target) });
  brokers.set(target, known);
  return known;
}

before(() => {
  if (skip !== false) return;
  mkdirSync(join(cacheDirectory, "interop"), { recursive: true });
  directory = mkdtempSync(join(cacheDirectory, "interop", "broker-"));
});

after(async () => {
  if (skip !== false) return;
  const ends = await Promise.allSettled(
    [...brokers.values()].map(async (starting) => (await starting).stop()),
  );
  for (const [index, target] of [...brokers.keys()].entries()) {
    const end = ends[index];
    if (end?.status !== "fulfilled") throw end?.reason;
    const { code, signal, stdout, stderr } = end.value;
    // Kafka's Java process ends with 128 + SIGTERM when it is asked to.
    const expected = isHoldfast(target) ? [0] : [0, 143];
    assert.ok(
      expected.includes(code ?? -1),
      `${target} ended with ${code ?? signal}\n${stdout.slice(-4000)}\n${stderr}`,
    );
  }
  rmSync(directory, { recursive: true, force: true });
});

for (const adminCase of adminCases) {
  const { tool, name } = adminCase;
  test(`kafka-tools ${tool} ${name}`, { skip, timeout: 300_000 }, async () => {
    const topic = `admin-${adminCases.indexOf(adminCase)}`;
    const client: Client = { client: tool, version: "4.3.0", language: "Java" };
    const broker = await brokerOf(mainTarget);
    await recorded(client, { target: mainTarget, kind: "admin", what: name, killed: false }, () =>
      adminCase.run(broker.address, topic),
    );
  });
}

for (const [index, tourist] of tourists.entries()) {
  const what = `${tourist.client} ${tourist.version}`;
  test(`${what} with its default settings creates, sees, fills and deletes a topic`, {
    skip,
    timeout: 300_000,
  }, async () => {
    const broker = await brokerOf(mainTarget);
    await recorded(tourist, { target: mainTarget, kind: "tour", what, killed: false }, () =>
      tourist.tour(broker.address, `tour-${index}`, 60_000),
    );
  });
}

for (const [index, { writer, readers, target = mainTarget }] of exchanges.entries()) {
  const names = readers.map((reader) => `${reader.client} ${reader.version}`).join(", ");
  const what = `${writer.client} ${writer.version}`;
  test(`what ${what} wrote to ${target} over a kill -9 is read byte for byte by ${names}`, {
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
    const broker = await brokerOf(target);
    const topic = `by-${index}`;
    await createTopic(broker.address, topic, set.partitionCount);
    const { recordCount, valueBytes } = set;
    await recorded(
      writer,
      { target, kind: "write", what, killed: true, recordCount, valueBytes, codecs },
      async () => {
        const half = killAtHalf(broker, set);
        await writer.write({ address: broker.address, topic, set, timeoutMs, onProgress: half.onProgress });
        await half.happened();
      },
    );
    for (const [place, reader] of readers.entries()) {
      const killed = place === 0;
      await recorded(reader, { target, kind: "read", what, killed }, async () => {
        const half = killed ? killAtHalf(broker, set) : undefined;
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
function killAtHalf(
  broker: Broker,
  set: DataSet,
): { onProgress: (count: number) => void; happened: () => Promise<void> } {
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
  done: Pick<InteropResult, "target" | "kind" | "what" | "killed" | "recordCount" | "valueBytes" | "codecs">,
  work: () => Promise<void>,
): Promise<void> {
  const begun = performance.now();
  const facts = { client, version, language, ...(remark === undefined ? {} : { remark }), ...done };
  const ended = () => ({
    seconds: Math.round(performance.now() - begun) / 1000,
    at: new Date().toISOString(),
    commit: commit(),
  });
  try {
    await work();
    keep({ ...facts, passed: true, ...ended() });
  } catch (error) {
    const failure = error instanceof Error ? error.message.slice(0, 2000) : String(error);
    keep({ ...facts, passed: false, ...ended(), failure });
    throw error;
  }
}

/** Puts a result in the place of the older one of the same case, so that a run may be of some cases only. */
function keep(result: InteropResult): void {
  const file = mainTarget === "holdfast" ? "results.json" : `results-${mainTarget}.json`;
  const path = join(cacheDirectory, "interop", file);
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as InteropResults) : undefined;
  const place = new Map(caseNames().map((name, index) => [name, index]));
  const others = (known !== undefined && known.scale === scale ? known.results : []).filter(
    (other) => place.has(caseName(other)) && caseName(other) !== caseName(result),
  );
  const results = [...others, result].toSorted(
    (a, b) => (place.get(caseName(a)) ?? 0) - (place.get(caseName(b)) ?? 0),
  );
  writeFileSync(path, `${JSON.stringify({ scale, results }, undefined, 2)}\n`);
}

function caseName({
  client,
  version,
  target,
  kind,
  what,
}: Pick<InteropResult, "client" | "version" | "target" | "kind" | "what">): string {
  return [target, kind, client, version, what].join(" · ");
}

/** Of all cases, in the order of docs/compatibility.md. */
function caseNames(): string[] {
  const nameOf = ({ client, version }: Client): string => `${client} ${version}`;
  return [
    ...exchanges.flatMap(({ writer, readers, target = mainTarget }) => [
      caseName({ ...writer, target, kind: "write", what: nameOf(writer) }),
      ...readers.map((reader) => caseName({ ...reader, target, kind: "read", what: nameOf(writer) })),
    ]),
    ...tourists.map((tourist) =>
      caseName({ ...tourist, target: mainTarget, kind: "tour", what: nameOf(tourist) }),
    ),
    ...adminCases.map(({ tool, name }) =>
      caseName({ client: tool, version: "4.3.0", target: mainTarget, kind: "admin", what: name }),
    ),
  ];
}
