/**
 * Groups beside Apache Kafka 4.3.0 on this machine, in alternated pairs: commits, rebalances, and records on
 * their way through a group. Holdfast syncs every commit, Kafka by default none.
 *
 *   node bench/groups.ts [--pairs 7] [--cells commits-one,rebalance]
 *
 * Both brokers stay up. A ratio is Holdfast over Kafka where more is better and Kafka over Holdfast where less
 * is, so 1 or more means level or ahead.
 */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Broker, startBroker } from "../tools/brokers.ts";
import { finish, useOf } from "../tools/processes.ts";
import { cacheDirectory } from "../tools/toolbox.ts";
import { benchProgram, createTopic } from "./loads.ts";
import { spreadOf, verdictAtLeast } from "./stats.ts";
import type { ClientSaid } from "./timed.ts";

const topic = "groups";
const partitionCount = 100;
const members = 100;
const groups = 1000;
const seconds = 5;
const perSecond = 1000;
const runMs = 120_000;

interface Cell {
  readonly name: string;
  readonly args: readonly (string | number)[];
  /** What is compared, with its unit; `more`: whether more is better. */
  readonly figures: readonly {
    readonly name: string;
    readonly more: boolean;
    of(said: ClientSaid): number;
  }[];
}

const cells: readonly Cell[] = [
  {
    name: "commits-1000-groups",
    args: ["commits", topic, groups, 1000, seconds],
    figures: [
      { name: "commits/s", more: true, of: (said) => said.records / said.seconds },
      { name: "p50 ms", more: false, of: (said) => said.p50Ms },
      { name: "p99 ms", more: false, of: (said) => said.p99Ms },
    ],
  },
  {
    name: "commits-one",
    args: ["commits", topic, 1, 0, seconds],
    figures: [{ name: "commits/s", more: true, of: (said) => said.records / said.seconds }],
  },
  {
    name: "rebalance",
    args: ["rebalance", topic, partitionCount, members],
    figures: [
      { name: "ms until all have joined", more: false, of: (said) => said.p50Ms },
      { name: "ms until one has left", more: false, of: (said) => said.p99Ms },
    ],
  },
  {
    name: "through",
    args: ["through", topic, partitionCount, perSecond, seconds],
    figures: [
      { name: "p50 ms", more: false, of: (said) => said.p50Ms },
      { name: "p99 ms", more: false, of: (said) => said.p99Ms },
    ],
  },
];

const { values: options } = parseArgs({
  options: { pairs: { type: "string", default: "7" }, cells: { type: "string", default: "" } },
});
const wanted =
  options.cells === "" ? cells : cells.filter(({ name }) => options.cells.split(",").includes(name));

mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
const directory = mkdtempSync(join(cacheDirectory, "bench", "groups-"));
const resultsDirectory = join(import.meta.dirname, "results");
const at = new Date().toISOString();
const results = join(resultsDirectory, `${at.slice(0, 16).replace(":", "")}-groups.jsonl`);
const noDelay = "group.initial.rebalance.delay.ms=0";
const holdfast = await startBroker("holdfast", {
  directory: join(directory, "holdfast"),
  built: true,
  settings: ["--set", noDelay],
});
const kafka = await startBroker("kafka", { directory: join(directory, "kafka"), settings: [noDelay] });
const program = await benchProgram();
try {
  for (const broker of [holdfast, kafka]) await createTopic(broker, topic, partitionCount);
  for (const cell of wanted) {
    // Not counted: what is compiled, and the topic of the groups, is made now.
    for (const broker of [holdfast, kafka]) await run(broker, cell);
    const ratios = cell.figures.map(() => ({
      ratios: [] as number[],
      ours: [] as number[],
      theirs: [] as number[],
    }));
    for (let pair = 0; pair < Number(options.pairs); pair++) {
      const order = pair % 2 === 0 ? [holdfast, kafka] : [kafka, holdfast];
      const said = new Map<Broker, ClientSaid>();
      for (const broker of order) {
        await sleep(500);
        const begun = useOf(broker.pid()).cpuSeconds;
        said.set(broker, await run(broker, cell));
        const cpuSeconds = useOf(broker.pid()).cpuSeconds - begun;
        write({
          cell: cell.name,
          pair,
          side: broker.kind,
          load: loadavg()[0],
          cpuSeconds,
          ...said.get(broker),
        });
      }
      for (const [index, figure] of cell.figures.entries()) {
        const [ours, theirs] = [holdfast, kafka].map((broker) =>
          figure.of(said.get(broker) as ClientSaid),
        ) as [number, number];
        ratios[index]?.ratios.push(figure.more ? ours / theirs : theirs / ours);
        ratios[index]?.ours.push(ours);
        ratios[index]?.theirs.push(theirs);
      }
    }
    for (const [index, figure] of cell.figures.entries()) {
      const found = ratios[index] as (typeof ratios)[number];
      const spread = spreadOf(found.ratios);
      const verdict = verdictAtLeast(spread, 1);
      const [ours, theirs] = [found.ours, found.theirs].map((values) => spreadOf(values).median.toFixed(1));
      write({ summary: cell.name, figure: figure.name, ...spread, verdict });
      console.log(
        `${cell.name.padEnd(20)} ${figure.name.padEnd(26)} ${spread.median.toFixed(2)}× [${spread.lower.toFixed(2)}–${spread.upper.toFixed(2)}] · at least 1: ${verdict} · ${ours} / ${theirs}`,
      );
    }
  }
  console.log(`runs: ${results}`);
} finally {
  await Promise.all([holdfast.kill(), kafka.kill()]);
  rmSync(directory, { recursive: true, force: true });
}

async function run(broker: Broker, cell: Cell): Promise<ClientSaid> {
  const [command = "", ...rest] = cell.args.map(String);
  const { stdout } = await finish(program, [command, broker.address, ...rest], { timeoutMs: runMs });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as ClientSaid;
}

function write(line: object): void {
  appendFileSync(results, `${JSON.stringify({ at: new Date().toISOString(), ...line })}\n`);
}
