/**
 * `npm run sim`: runs simulated worlds. `--seeds N` runs N of them from `--first` on (default 1), `--seed S`
 * one, with its trace on failure; `--twice` runs each twice and compares the traces. Prints what happened
 * in them; exits with 1 and the line that replays the first failure.
 */
import { parseArgs } from "node:util";
import { World, type WorldReport } from "./world.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string", default: "20" },
    first: { type: "string", default: "1" },
    twice: { type: "boolean", default: false },
  },
});

const first = Number(values.seed ?? values.first);
const count = values.seed === undefined ? Number(values.seeds) : 1;
const totals = {
  operations: 0,
  processed: 0,
  commits: 0,
  transactions: 0,
  acked: 0,
  read: 0,
  starts: 0,
  kills: 0,
  powerCuts: 0,
  diskFaults: 0,
  events: 0,
  simulatedMs: 0,
};

for (let seed = first; seed < first + count; seed++) {
  const report = await run(seed);
  if (values.twice) {
    const again = await run(seed);
    if (again.traceHash !== report.traceHash) {
      fail(seed, [`two runs differ: ${report.traceHash} and ${again.traceHash}`], report);
    }
  }
  for (const name of Object.keys(totals) as (keyof typeof totals)[]) totals[name] += report[name];
  if (report.violations.length > 0) fail(seed, report.violations, report);
}
console.log(
  `simulation: ${count} seeds, ${totals.events} events, ${(totals.simulatedMs / 1000).toFixed(0)} simulated s, ` +
    `${totals.operations} operations of clients, ${totals.acked} records acknowledged, ${totals.read} read, ${totals.processed} processed by groups with ${totals.commits} commits, ${totals.transactions} transactions, ${totals.starts} starts, ${totals.kills} kills, ` +
    `${totals.powerCuts} power cuts, ${totals.diskFaults} disk faults, 0 violations`,
);

async function run(seed: number): Promise<WorldReport> {
  try {
    return await new World(seed).run();
  } catch (cause) {
    console.error(cause);
    return fail(seed, [String(cause)], null);
  }
}

function fail(seed: number, violations: readonly string[], report: WorldReport | null): never {
  if (report !== null && values.seed !== undefined) console.error(report.trace.join("\n"));
  for (const violation of violations.slice(0, 20))
    console.error(`✗ ${violation.replace(/x{9,}/g, "x…").slice(0, 300)}`);
  console.error(`seed ${seed} failed; replay: npm run sim -- --seed ${seed}`);
  process.exit(1);
}
