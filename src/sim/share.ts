/**
 * `node src/sim/share.ts --hours N`: N simulated hours of queues, four worlds for each, from seed `--first` (default
 * 1) on, with `--workers` threads (default 1); `--seed S`: one, with its trace on failure; `--twice`: each twice,
 * comparing traces. Prints what happened. Exits with 1 and the line that replays the first failure.
 */
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { type ShareReport, ShareWorld } from "./share-world.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    hours: { type: "string", default: "1" },
    first: { type: "string", default: "1" },
    workers: { type: "string", default: "1" },
    twice: { type: "boolean", default: false },
  },
});

const hourMs = 3_600_000;
const worldsPerHour = 4;
/** After so many worlds it is told how far it is. */
const tellEach = 50;
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
  const end = first + (values.seed === undefined ? Math.ceil(Number(values.hours) * worldsPerHour) : 1);
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
    worker.on("message", (report: ShareReport) => {
      add(report);
      goOn();
    });
    goOn();
  });
}

async function run(seed: number): Promise<ShareReport> {
  const report = await runOnce(seed);
  if (!values.twice) return report;
  const again = await runOnce(seed);
  if (again.traceHash === report.traceHash) return report;
  return { ...report, violations: [`two runs differ: ${report.traceHash} and ${again.traceHash}`] };
}

async function runOnce(seed: number): Promise<ShareReport> {
  try {
    return await new ShareWorld(seed).run();
  } catch (cause) {
    console.error(cause);
    console.error(`seed ${seed} failed; replay: node src/sim/share.ts --seed ${seed}`);
    throw cause;
  }
}

function add({ seed, counts, violations, trace }: ShareReport): void {
  worlds++;
  for (const [name, count] of Object.entries(counts)) totals.set(name, (totals.get(name) ?? 0) + count);
  if (violations.length > 0) {
    if (values.seed !== undefined) console.error(trace.join("\n"));
    for (const violation of violations.slice(0, 20))
      console.error(`✗ ${violation.replace(/x{9,}/g, "x…").slice(0, 300)}`);
    console.error(`seed ${seed} failed; replay: node src/sim/share.ts --seed ${seed}`);
    process.exit(1);
  }
  if (worlds % tellEach === 0) console.error(describe());
}

function describe(): string {
  const total = (name: keyof ShareReport["counts"]): number => totals.get(name) ?? 0;
  return (
    `share simulation: ${worlds} worlds, ${(total("simulatedMs") / hourMs).toFixed(1)} simulated hours, ${total("operations")} operations, ` +
    `${total("requests")} requests, ${total("crashes")} crashes of ${total("faults")} faults, ${total("starts")} starts, ${total("written")} records written, ` +
    `${total("given")} given, ${total("again")} of them again, ${total("accepted")} accepted, ${total("rejected")} rejected, ${total("released")} released, ` +
    `${total("renewed")} renewed, ${total("refused")} words refused, ${total("expired")} records expired, ${total("letters")} dead letters, ${total("deaths")} workers killed by records, ` +
    `${total("events")} events, 0 violations, in ${((performance.now() - begunMs) / 1000).toFixed(0)} s`
  );
}
