/**
 * `node src/sim/cluster.ts --hours N`: N simulated clusters of an hour each, from seed `--seed` (default 1) on, with
 * `--workers` threads (default 1); `--minutes M`: of another length; `--twice`: each twice, comparing traces;
 * `--verbose`: with the trace on failure. Prints what happened. Exits with 1 and the line that replays the first failure.
 */
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { type ClusterReport, ClusterWorld } from "./cluster-world.ts";

const { values } = parseArgs({
  options: {
    hours: { type: "string", default: "1" },
    seed: { type: "string", default: "1" },
    minutes: { type: "string", default: "60" },
    workers: { type: "string", default: "1" },
    twice: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});

const minuteMs = 60_000;
/** After so many worlds it is told how far it is. */
const tellEach = 20;
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
  const first = Number(values.seed);
  const end = first + Math.ceil((Number(values.hours) * 60) / Number(values.minutes));
  let next = first;
  const workers = Math.min(Number(values.workers), end - first);
  if (workers === 1) while (next < end) add(await run(next++));
  else
    await Promise.all(Array.from({ length: workers }, () => runInThread(() => (next < end ? next++ : null))));
  console.log(describe());
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
    worker.on("message", (report: ClusterReport) => {
      add(report);
      goOn();
    });
    goOn();
  });
}

async function run(seed: number): Promise<ClusterReport> {
  const report = await runOnce(seed);
  if (!values.twice) return report;
  const again = await runOnce(seed);
  if (again.traceHash === report.traceHash) return report;
  return { ...report, violations: [`two runs differ: ${report.traceHash} and ${again.traceHash}`] };
}

function replay(seed: number): string {
  const length =
    values.minutes === "60" ? "" : ` --minutes ${values.minutes} --hours ${Number(values.minutes) / 60}`;
  return `seed ${seed} failed; replay: node src/sim/cluster.ts --seed ${seed}${length}`;
}

async function runOnce(seed: number): Promise<ClusterReport> {
  try {
    return await new ClusterWorld(seed, Number(values.minutes) * minuteMs).run();
  } catch (cause) {
    console.error(cause);
    console.error(replay(seed));
    throw cause;
  }
}

function add({ seed, counts, violations, trace }: ClusterReport): void {
  worlds++;
  for (const [name, count] of Object.entries(counts)) totals.set(name, (totals.get(name) ?? 0) + count);
  if (violations.length > 0) {
    if (values.verbose) console.error(trace.join("\n"));
    for (const violation of violations.slice(0, 20))
      console.error(`✗ ${violation.replace(/x{9,}/g, "x…").slice(0, 600)}`);
    console.error(replay(seed));
    process.exit(1);
  }
  if (worlds % tellEach === 0) console.error(describe());
}

function describe(): string {
  const total = (name: keyof ClusterReport["counts"]): number => totals.get(name) ?? 0;
  return (
    `cluster simulation: ${worlds} worlds, ${(total("simulatedMs") / (60 * minuteMs)).toFixed(1)} simulated hours, ${total("operations")} operations of clients, ` +
    `${total("requests")} requests to the bucket of which ${total("faulted")} met a fault, ${total("starts")} starts, ${total("kills")} kills, ` +
    `${total("pauses")} pauses, ${total("zombies")} zombies, ${total("takeOvers")} take-overs, ${total("moves")} moves, ${total("acked")} records acknowledged, ` +
    `${total("read")} read, ${total("processed")} processed by groups with ${total("commits")} commits, ${total("transactions")} transactions, ` +
    `${total("events")} events, 0 violations, in ${((performance.now() - begunMs) / 1000).toFixed(0)} s`
  );
}
