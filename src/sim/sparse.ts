/**
 * `node src/sim/sparse.ts --hours N`: N simulated worlds of an hour each, from seed `--first` (default 1) on, with
 * `--workers` threads (default 1); `--seed S`: one, with its trace on failure; `--twice`: each twice, comparing
 * traces. Prints what happened, and how often each kind of fault met a request of each API (`--least-cell N`: fails
 * where that is less often). Exits with 1 and the line that replays the first failure.
 */
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { clientHandlers } from "../broker/handlers.ts";
import { FaultMatrix } from "./fault-matrix.ts";
import { type SparseReport, SparseWorld } from "./sparse-world.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    hours: { type: "string", default: "1" },
    first: { type: "string", default: "1" },
    workers: { type: "string", default: "1" },
    twice: { type: "boolean", default: false },
    "least-cell": { type: "string", default: "0" },
  },
});

const hourMs = 3_600_000;
/** After so many worlds it is told how far it is. */
const tellEach = 50;
const apis = clientHandlers.map(({ api }) => api);
const matrix = new FaultMatrix();
const totals = new Map<string, number>();
const begunMs = performance.now();
let worlds = 0;

if (isMainThread) await runAll();
else
  parentPort?.on(
    "message",
    (seed: number) => void run(seed).then((report) => parentPort?.postMessage(report)),
  );

async function runAll(): Promise<void> {
  const first = Number(values.seed ?? values.first);
  const end = first + (values.seed === undefined ? Number(values.hours) : 1);
  let next = first;
  const workers = Math.min(Number(values.workers), end - first);
  if (workers === 1) while (next < end) add(await run(next++));
  else
    await Promise.all(Array.from({ length: workers }, () => runInThread(() => (next < end ? next++ : null))));
  console.log(matrix.table(apis));
  console.log(describe());
  if (matrix.least(apis) >= Number(values["least-cell"])) return;
  console.error("✗ some fault met the requests of some API less often");
  process.exit(1);
}

/** Resolves when there is no next seed. */
function runInThread(nextSeed: () => number | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) });
    const goOn = (): void => {
      const seed = nextSeed();
      if (seed === null) void worker.terminate().then(() => resolve());
      else worker.postMessage(seed);
    };
    worker.on("error", reject);
    worker.on("message", (report: SparseReport) => {
      add(report);
      goOn();
    });
    goOn();
  });
}

async function run(seed: number): Promise<SparseReport> {
  const report = await runOnce(seed);
  if (!values.twice) return report;
  const again = await runOnce(seed);
  if (again.traceHash === report.traceHash) return report;
  return { ...report, violations: [`two runs differ: ${report.traceHash} and ${again.traceHash}`] };
}

async function runOnce(seed: number): Promise<SparseReport> {
  try {
    return await new SparseWorld(seed).run();
  } catch (cause) {
    console.error(cause);
    console.error(`seed ${seed} failed; replay: node src/sim/sparse.ts --seed ${seed}`);
    throw cause;
  }
}

function add({ seed, counts, cells, violations, trace }: SparseReport): void {
  worlds++;
  for (const [name, count] of Object.entries(counts)) totals.set(name, (totals.get(name) ?? 0) + count);
  matrix.addAll(counts.faults, cells);
  if (violations.length > 0) {
    if (values.seed !== undefined) console.error(trace.join("\n"));
    for (const violation of violations.slice(0, 20))
      console.error(`✗ ${violation.replace(/x{9,}/g, "x…").slice(0, 300)}`);
    console.error(`seed ${seed} failed; replay: node src/sim/sparse.ts --seed ${seed}`);
    process.exit(1);
  }
  if (worlds % tellEach === 0) console.error(describe());
}

function describe(): string {
  const total = (name: keyof SparseReport["counts"]): number => totals.get(name) ?? 0;
  return (
    `sparse simulation: ${worlds} worlds, ${(total("simulatedMs") / hourMs).toFixed(1)} simulated hours, ${total("operations")} operations of clients, ` +
    `${total("requests")} requests, ${total("faults")} crashes and faults, ${total("starts")} starts, ${total("acked")} records acknowledged, ` +
    `${total("read")} read, ${total("processed")} processed by groups with ${total("commits")} commits, ${total("transactions")} transactions, ${total("tableRecords")} records of ` +
    `compacted topics of which ${total("tableLeft")} were left, ${total("events")} events; least cell of API × fault ${matrix.least(apis)}, ` +
    `0 violations, in ${((performance.now() - begunMs) / 1000).toFixed(0)} s`
  );
}
