/**
 * Transactions beside Apache Kafka 4.3.0 on this machine, in alternated runs of three sides: Holdfast, which syncs
 * every commit, Kafka as it comes, and Kafka with log.flush.interval.messages=1, which syncs as well.
 *
 *   node bench/transactions.ts [--pairs 5] [--cells java-1,reading] [--quick]
 *
 * All brokers stay up. A ratio is Holdfast over Kafka where more is better and Kafka over Holdfast where less is, so
 * 1 or more means level or ahead. "reading" tells what read_committed adds to the time from a record's send to its
 * reader, beside read_uncommitted, while 100 transactions a second of 10 records are committed.
 */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Broker, type BrokerKind, startBroker } from "../tools/brokers.ts";
import { finish, start, useOf } from "../tools/processes.ts";
import { cacheDirectory, javaProgram, kafkaClasspath, repositoryRoot } from "../tools/toolbox.ts";
import { benchProgram, createTopic } from "./loads.ts";
import { spreadOf, verdictAtLeast } from "./stats.ts";

const sides: readonly BrokerKind[] = ["holdfast", "kafka", "kafka-durable"];
const topic = "transactions";
const partitionCount = 10;
const recordBytes = 100;
const runMs = 120_000;

/** The last line that a client prints, and the processor time of the broker within the window. */
type Said = Readonly<Record<string, number>>;

interface Figure {
  readonly name: string;
  /** Whether more is better; undefined: it informs, and is not compared. */
  readonly more: boolean | undefined;
  /** The least median ratio to each of Kafka's two ways. */
  readonly goals?: readonly [asItComes: number, durable: number];
  of(said: Said): number;
}

interface Cell {
  readonly name: string;
  readonly client: "java" | "go";
  args(address: string): readonly (string | number)[];
  readonly figures: readonly Figure[];
}

const { values: options } = parseArgs({
  options: {
    pairs: { type: "string" },
    cells: { type: "string", default: "" },
    quick: { type: "boolean", default: false },
  },
});
const pairs = Number(options.pairs ?? (options.quick ? 1 : 5));
const [warmupMs, measureMs] = options.quick ? [500, 500] : [1_000, 2_500];

const value =
  (name: string) =>
  (said: Said): number =>
    said[name] ?? 0;

const rateFigures: readonly Figure[] = [
  {
    name: "transactions/s",
    more: true,
    goals: [1, 3],
    of: (said) => value("records")(said) / value("seconds")(said),
  },
  { name: "p50 ms", more: false, of: value("p50Ms") },
  { name: "p99 ms", more: false, of: value("p99Ms") },
  {
    name: "broker CPU ms each",
    more: false,
    of: (said) => (1000 * value("cpuSeconds")(said)) / Math.max(1, value("records")(said)),
  },
];

const readingFigures: readonly Figure[] = [
  { name: "read_committed p50 ms", more: false, of: value("committedP50Ms") },
  { name: "read_committed p99 ms", more: false, of: value("committedP99Ms") },
  { name: "read_uncommitted p50 ms", more: false, of: value("uncommittedP50Ms") },
  { name: "read_uncommitted p99 ms", more: false, of: value("uncommittedP99Ms") },
  {
    name: "added at p50 ms",
    more: undefined,
    of: (said) => value("committedP50Ms")(said) - value("uncommittedP50Ms")(said),
  },
  {
    name: "added at p99 ms",
    more: undefined,
    of: (said) => value("committedP99Ms")(said) - value("uncommittedP99Ms")(said),
  },
];

const rates = (["java", "go"] as const).flatMap((client) =>
  [1, 100, 10_000].map((records): Cell => {
    const numbers = [partitionCount, records, recordBytes, warmupMs, measureMs];
    const command = client === "java" ? "rate" : "transactions";
    return {
      name: `${client}-${records}`,
      client,
      args: (address) => [command, address, topic, ...numbers],
      figures: rateFigures,
    };
  }),
);
const reading: Cell = {
  name: "reading",
  client: "java",
  args: (address) => ["reading", address, topic, 10, recordBytes, 100, warmupMs, 2 * measureMs],
  figures: readingFigures,
};
const cells = [...rates, reading];
const wanted =
  options.cells === "" ? cells : cells.filter(({ name }) => options.cells.split(",").includes(name));

mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
const directory = mkdtempSync(join(cacheDirectory, "bench", "transactions-"));
const at = new Date().toISOString();
const results = join(
  import.meta.dirname,
  "results",
  `${at.slice(0, 16).replace(":", "")}-transactions.jsonl`,
);
// What is measured is the published form, and of these sources.
await finish(process.execPath, [join(repositoryRoot, "tools/build.ts")], {
  cwd: repositoryRoot,
  timeoutMs: runMs,
});
const classpath = await javaProgram(join(import.meta.dirname, "java"), await kafkaClasspath());
const goProgram = await benchProgram();
const brokers: Broker[] = [];
try {
  for (const side of sides) {
    brokers.push(await startBroker(side, { directory: join(directory, side), built: true }));
  }
  for (const broker of brokers) await createTopic(broker, topic, partitionCount);
  for (const cell of wanted) await measure(cell);
  console.log(`runs: ${results}`);
} finally {
  await Promise.all(brokers.map((broker) => broker.kill()));
  rmSync(directory, { recursive: true, force: true });
}

async function measure(cell: Cell): Promise<void> {
  // Not counted: what is compiled, and the log of the transactions, is made now.
  for (const broker of brokers) await runAgain(broker, cell);
  const said = new Map<BrokerKind, Said[]>(sides.map((side) => [side, []]));
  for (let pair = 0; pair < pairs; pair += 1) {
    // Each side is first, second and last by turns.
    const order = brokers.map((_, place) => brokers[(place + pair) % brokers.length] as Broker);
    for (const broker of order) {
      await sleep(300);
      const outcome = await runAgain(broker, cell);
      said.get(broker.kind)?.push(outcome);
      write({ cell: cell.name, pair, side: broker.kind, load: loadavg()[0], ...outcome });
    }
  }
  for (const figure of cell.figures) tell(cell, figure, said);
}

function tell(cell: Cell, figure: Figure, said: ReadonlyMap<BrokerKind, readonly Said[]>): void {
  const [ours = [], ...theirs] = sides.map((side) => (said.get(side) ?? []).map((each) => figure.of(each)));
  const medians = [ours, ...theirs].map((values) => spreadOf(values).median.toFixed(2));
  const { more } = figure;
  const parts: string[] = [];
  const ratios = more === undefined ? [] : theirs;
  for (const [index, values] of ratios.entries()) {
    const found = spreadOf(
      values.map((their, pair) => (more ? (ours[pair] ?? 0) / their : their / (ours[pair] ?? 0))),
    );
    const goal = figure.goals?.[index];
    const verdict = goal === undefined ? undefined : verdictAtLeast(found, goal);
    const against = sides[index + 1];
    write({ summary: cell.name, figure: figure.name, against, ...found, goal, verdict });
    const quartiles = `${found.median.toFixed(2)}× [${found.lower.toFixed(2)}–${found.upper.toFixed(2)}]`;
    parts.push(`${quartiles}${goal === undefined ? "" : ` at least ${goal}: ${verdict}`}`);
  }
  write({ summary: cell.name, figure: figure.name, medians });
  console.log([cell.name.padEnd(11), figure.name.padEnd(24), medians.join(" / "), ...parts].join(" · "));
}

/** Apache Kafka 4.3.0 answers INVALID_TXN_STATE now and then where it syncs: such a run is told, and made again. */
async function runAgain(broker: Broker, cell: Cell): Promise<Said> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await run(broker, cell);
    } catch (cause) {
      if (broker.kind === "holdfast" || tries === 5) throw cause;
      const why = /[A-Za-z]+Exception/.exec(String(cause))?.[0] ?? "an error";
      write({ cell: cell.name, side: broker.kind, failed: why });
    }
  }
}

async function run(broker: Broker, cell: Cell): Promise<Said> {
  const args = cell.args(broker.address).map(String);
  const [program, first] =
    cell.client === "go"
      ? [goProgram, []]
      : [
          "java",
          ["-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", classpath, "Transactions"],
        ];
  let begun = useOf(broker.pid()).cpuSeconds;
  let cpuSeconds = 0;
  let last = "";
  const { code, stderr } = await start(program, [...first, ...args], {
    timeoutMs: runMs,
    onLine: (line) => {
      if (line === "measuring") begun = useOf(broker.pid()).cpuSeconds;
      if (!line.startsWith("{")) return;
      cpuSeconds = useOf(broker.pid()).cpuSeconds - begun;
      last = line;
    },
  }).ended;
  if (code !== 0 || last === "")
    throw new Error(`${cell.name} of ${broker.kind} ended with ${code}: ${stderr}`);
  return { ...(JSON.parse(last) as Said), cpuSeconds };
}

function write(line: object): void {
  appendFileSync(results, `${JSON.stringify({ at: new Date().toISOString(), ...line })}\n`);
}
