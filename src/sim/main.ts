/**
 * `npm run sim`: runs simulated worlds. `--seeds N` runs N of them from `--first` on (default 1), `--seed S`
 * one, with its trace on failure; `--workers W` does it in so many threads, `--twice` runs each twice and compares
 * the traces. Prints what happened in them; exits with 1 and the line that replays the first failure.
 */
import { parseArgs } from "node:util";
import { runSeeds, Totals } from "./seeds.ts";
import { World, type WorldReport } from "./world.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string", default: "20" },
    first: { type: "string", default: "1" },
    workers: { type: "string", default: "1" },
    twice: { type: "boolean", default: false },
  },
});

const totals = new Totals<keyof WorldReport["counts"]>();

await runSeeds({
  program: import.meta.url,
  first: Number(values.seed ?? values.first),
  count: values.seed === undefined ? Number(values.seeds) : 1,
  workers: Number(values.workers),
  twice: values.twice,
  showsTrace: values.seed !== undefined,
  tellEach: Number.POSITIVE_INFINITY,
  run: (seed) => new World(seed).run(),
  add: ({ counts }: WorldReport) => totals.add(counts),
  describe,
  replay: (seed) => `npm run sim -- --seed ${seed}`,
});
console.log(describe());

function describe(): string {
  const total = (name: keyof WorldReport["counts"]): number => totals.of(name);
  return (
    `simulation: ${totals.worlds} seeds, ${total("events")} events, ${(total("simulatedMs") / 1000).toFixed(0)} simulated s, ` +
    `${total("operations")} operations of clients, ${total("acked")} records acknowledged, ${total("read")} read, ${total("processed")} processed by groups with ${total("commits")} commits, ${total("transactions")} transactions, ${total("starts")} starts, ${total("kills")} kills, ` +
    `${total("powerCuts")} power cuts, ${total("diskFaults")} disk faults, 0 violations`
  );
}
