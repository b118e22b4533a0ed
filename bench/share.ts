/**
 * Share groups (queues) beside Apache Kafka 4.3.0 on this machine, in alternated pairs, over this project's client on
 * both sides: records accepted per second with 1, 8 and 32 workers, the way of a record from its producer to its
 * handler at 1,000 a second, and what the process holds while records wait. Holdfast syncs what every answered
 * acknowledgement changed, Kafka by default nothing.
 *
 *   node bench/share.ts [--pairs 7] [--cells accept-1,latency] [--records 200000] [--waiting 1000000]
 *
 * A ratio is Holdfast over Kafka where more is better and Kafka over Holdfast where less is, so 1 or more means
 * level or ahead.
 */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Broker, startBroker } from "../tools/brokers.ts";
import { finish, useOf } from "../tools/processes.ts";
import { cacheDirectory } from "../tools/toolbox.ts";
import { spreadOf, verdictAtLeast } from "./stats.ts";

const { values: options } = parseArgs({
  options: {
    pairs: { type: "string", default: "7" },
    cells: { type: "string" },
    records: { type: "string", default: "200000" },
    waiting: { type: "string", default: "1000000" },
  },
});
const records = Number(options.records);
const waiting = Number(options.waiting);
const partitions = 8;
const latencySeconds = 20;
const runMs = 600_000;

interface Said {
  readonly records: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly rssBytes: number;
}

interface Cell {
  readonly name: string;
  /** What lies in the topic before it is read. */
  readonly filled: number;
  readonly load: readonly (string | number)[];
  readonly figures: readonly { readonly name: string; readonly more: boolean; of(said: Said): number }[];
}

const perSecond = { name: "accepted/s", more: true, of: (said: Said) => said.records / said.seconds };
const cells: readonly Cell[] = [
  ...[1, 8, 32].map((workers) => ({
    name: `accept-${workers}`,
    filled: records,
    load: ["accept", workers, records],
    figures: [perSecond],
  })),
  {
    name: "latency",
    filled: 0,
    load: ["latency", 8, 1_000, latencySeconds],
    figures: [
      { name: "p50 ms", more: false, of: (said) => said.p50Ms },
      { name: "p99 ms", more: false, of: (said) => said.p99Ms },
    ],
  },
  {
    name: "waiting",
    filled: waiting,
    // One worker takes a few of them, so that the deliveries of all are open.
    load: ["accept", 1, 1_000],
    figures: [{ name: "MB held", more: false, of: (said) => said.rssBytes / 1e6 }],
  },
];
const wanted = cells.filter(({ name }) => options.cells?.split(",").includes(name) ?? true);

mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
const directory = mkdtempSync(join(cacheDirectory, "bench", "share-"));
const at = new Date().toISOString();
const results = join(import.meta.dirname, "results", `${at.slice(0, 16).replace(":", "")}-share.jsonl`);
const holdfast = await startBroker("holdfast", { directory: join(directory, "holdfast"), built: true });
const kafka = await startBroker("kafka", {
  directory: join(directory, "kafka"),
  settings: ["share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1"],
});
let runs = 0;
try {
  for (const cell of wanted) {
    const found = cell.figures.map(() => ({
      ratios: [] as number[],
      ours: [] as number[],
      theirs: [] as number[],
    }));
    // The first is not counted: what is compiled, and the topics of the coordinators, is made in it.
    for (let pair = -1; pair < Number(options.pairs); pair++) {
      const order = pair % 2 === 0 ? [holdfast, kafka] : [kafka, holdfast];
      const said = new Map<Broker, Said>();
      for (const broker of order) {
        await sleep(500);
        const one = await run(broker, cell);
        said.set(broker, one);
        if (pair >= 0) write({ cell: cell.name, pair, side: broker.kind, load: loadavg()[0], ...one });
      }
      if (pair < 0) continue;
      for (const [index, figure] of cell.figures.entries()) {
        const [ours, theirs] = [holdfast, kafka].map((broker) => figure.of(said.get(broker) as Said)) as [
          number,
          number,
        ];
        found[index]?.ratios.push(figure.more ? ours / theirs : theirs / ours);
        found[index]?.ours.push(ours);
        found[index]?.theirs.push(theirs);
      }
    }
    for (const [index, figure] of cell.figures.entries()) {
      const { ratios, ours, theirs } = found[index] as (typeof found)[number];
      const spread = spreadOf(ratios);
      const verdict = verdictAtLeast(spread, 1);
      const medians = [ours, theirs].map((values) => spreadOf(values).median.toFixed(1)).join(" / ");
      write({ summary: cell.name, figure: figure.name, ...spread, verdict });
      console.log(
        `${cell.name.padEnd(12)} ${figure.name.padEnd(12)} ${spread.median.toFixed(2)}× [${spread.lower.toFixed(2)}–${spread.upper.toFixed(2)}] · at least 1: ${verdict} · ${medians}`,
      );
    }
  }
  console.log(`runs: ${results}`);
} finally {
  await Promise.all([holdfast.kill(), kafka.kill()]);
  rmSync(directory, { recursive: true, force: true });
}

/** Each run has a topic and a group of its own. */
async function run(broker: Broker, { load, filled }: Cell): Promise<Said> {
  const name = `share-${runs++}`;
  const [command = "", ...numbers] = load.map(String);
  await share(broker, "fill", name, partitions, filled);
  const said = await share(broker, command, name, ...numbers);
  return { ...said, rssBytes: useOf(broker.pid()).rssBytes };
}

async function share(
  broker: Broker,
  command: string,
  name: string,
  ...numbers: readonly (string | number)[]
): Promise<Omit<Said, "rssBytes">> {
  const program = join(import.meta.dirname, "share-load.ts");
  const args = [program, command, broker.address, name, name, ...numbers.map(String)];
  const { stdout } = await finish(process.execPath, args, { timeoutMs: runMs });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Omit<Said, "rssBytes">;
}

function write(line: object): void {
  appendFileSync(results, `${JSON.stringify({ at: new Date().toISOString(), ...line })}\n`);
}
