/**
 * `node src/sim/sparse.ts --hours N`: N simulated worlds of an hour each, from seed `--first` (default 1) on;
 * `--seed S`: one, with its trace on failure; `--twice`: each twice, comparing traces. Prints what happened, and
 * how often each kind of fault met a request of each API; exits with 1 and the line that replays the first failure.
 */
import { parseArgs } from "node:util";
import { handlers } from "../broker/handlers.ts";
import { FaultMatrix } from "./fault-matrix.ts";
import { type SparseReport, SparseWorld } from "./sparse-world.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    hours: { type: "string", default: "1" },
    first: { type: "string", default: "1" },
    twice: { type: "boolean", default: false },
    "least-cell": { type: "string", default: "0" },
  },
});

const hourMs = 3_600_000;
const first = Number(values.seed ?? values.first);
const hours = values.seed === undefined ? Number(values.hours) : 1;
const apis = handlers.map(({ api }) => api);
const matrix = new FaultMatrix();
const totals = new Map<string, number>();
const begunMs = performance.now();

let worlds = 0;
while (hoursDone() < hours) {
  const seed = first + worlds++;
  const report = await run(seed);
  if (values.twice) {
    const again = await run(seed);
    if (again.traceHash !== report.traceHash)
      fail(seed, [`two runs differ: ${report.traceHash} and ${again.traceHash}`], report);
  }
  for (const [name, count] of Object.entries(report.counts)) {
    totals.set(name, (totals.get(name) ?? 0) + count);
  }
  matrix.addAll(report.counts.faults, report.cells);
  if (report.violations.length > 0) fail(seed, report.violations, report);
  if (worlds % 25 === 0) console.error(describe());
}
console.log(matrix.table(apis));
const least = matrix.least(apis);
console.log(describe());
if (least < Number(values["least-cell"])) {
  console.error(`✗ some fault met the requests of some API only ${least} times`);
  process.exit(1);
}

function hoursDone(): number {
  return (totals.get("simulatedMs") ?? 0) / hourMs;
}

function describe(): string {
  const total = (name: keyof SparseReport["counts"]): number => totals.get(name) ?? 0;
  return (
    `sparse simulation: ${worlds} worlds, ${hoursDone().toFixed(1)} simulated hours, ${total("operations")} operations of clients, ` +
    `${total("requests")} requests, ${total("faults")} crashes and faults, ${total("starts")} starts, ${total("acked")} records acknowledged, ` +
    `${total("read")} read, ${total("processed")} processed by groups with ${total("commits")} commits, ${total("tableRecords")} records of ` +
    `compacted topics of which ${total("tableLeft")} were left, ${total("events")} events; least cell of API × fault ${matrix.least(apis)}, ` +
    `0 violations, in ${((performance.now() - begunMs) / 1000).toFixed(0)} s`
  );
}

async function run(seed: number): Promise<SparseReport> {
  try {
    return await new SparseWorld(seed).run();
  } catch (cause) {
    console.error(cause);
    return fail(seed, [String(cause)], null);
  }
}

function fail(seed: number, violations: readonly string[], report: SparseReport | null): never {
  if (report !== null && values.seed !== undefined) console.error(report.trace.join("\n"));
  for (const violation of violations.slice(0, 20))
    console.error(`✗ ${violation.replace(/x{9,}/g, "x…").slice(0, 300)}`);
  console.error(`seed ${seed} failed; replay: node src/sim/sparse.ts --seed ${seed}`);
  process.exit(1);
}
