/**
 * `node src/sim/cluster.ts --hours N`: N simulated clusters of an hour each, from seed `--seed` (default 1) on, with
 * `--workers` threads (default 1); `--minutes M`: of another length; `--twice`: each twice, comparing traces;
 * `--verbose`: with the trace on failure. Prints what happened. Exits with 1 and the line that replays the first failure.
 */
import { parseArgs } from "node:util";
import { type ClusterReport, ClusterWorld } from "./cluster-world.ts";
import { runSeeds, Totals } from "./seeds.ts";

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
const totals = new Totals<keyof ClusterReport["counts"]>();
const begunMs = performance.now();

await runSeeds({
  program: import.meta.url,
  first: Number(values.seed),
  count: Math.ceil((Number(values.hours) * 60) / Number(values.minutes)),
  workers: Number(values.workers),
  twice: values.twice,
  showsTrace: values.verbose,
  tellEach: 20,
  run: (seed) => new ClusterWorld(seed, Number(values.minutes) * minuteMs).run(),
  add: ({ counts }: ClusterReport) => totals.add(counts),
  describe,
  replay: (seed) => `node src/sim/cluster.ts --seed ${seed}${length()}`,
});
console.log(describe());

function length(): string {
  return values.minutes === "60" ? "" : ` --minutes ${values.minutes} --hours ${Number(values.minutes) / 60}`;
}

function describe(): string {
  const total = (name: keyof ClusterReport["counts"]): number => totals.of(name);
  return (
    `cluster simulation: ${totals.worlds} worlds, ${(total("simulatedMs") / (60 * minuteMs)).toFixed(1)} simulated hours, ${total("operations")} operations of clients, ` +
    `${total("requests")} requests to the bucket of which ${total("faulted")} met a fault, ${total("starts")} starts, ${total("kills")} kills, ` +
    `${total("pauses")} pauses, ${total("zombies")} zombies, ${total("takeOvers")} take-overs, ${total("moves")} moves, ${total("acked")} records acknowledged, ` +
    `${total("read")} read, ${total("processed")} processed by groups with ${total("commits")} commits, ${total("transactions")} transactions, ` +
    `${total("given")} records given to workers of share groups, ${total("accepted")} accepted, ${total("letters")} dead letters, ` +
    `${total("events")} events, 0 violations, in ${((performance.now() - begunMs) / 1000).toFixed(0)} s`
  );
}
