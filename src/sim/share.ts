/**
 * `node src/sim/share.ts --hours N`: worlds of queues, from seed `--first` (default 1) on, until N hours are simulated,
 * with `--workers` threads (default 1); `--seed S`: one, with its trace on failure; `--twice`: each twice, comparing
 * traces. Prints what happened. Exits with 1 and the line that replays the first failure.
 */
import { parseArgs } from "node:util";
import { runSeeds, Totals } from "./seeds.ts";
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
const totals = new Totals<keyof ShareReport["counts"]>();
const begunMs = performance.now();

await runSeeds({
  program: import.meta.url,
  first: Number(values.seed ?? values.first),
  ...(values.seed === undefined
    ? { isEnough: () => totals.of("simulatedMs") >= Number(values.hours) * hourMs }
    : { count: 1 }),
  workers: Number(values.workers),
  twice: values.twice,
  showsTrace: values.seed !== undefined,
  tellEach: 50,
  run: (seed) => new ShareWorld(seed).run(),
  add: ({ counts }: ShareReport) => totals.add(counts),
  describe,
  replay: (seed) => `node src/sim/share.ts --seed ${seed}`,
});
console.log(describe());

function describe(): string {
  const total = (name: keyof ShareReport["counts"]): number => totals.of(name);
  return (
    `share simulation: ${totals.worlds} worlds, ${(total("simulatedMs") / hourMs).toFixed(1)} simulated hours, ${total("operations")} operations, ` +
    `${total("requests")} requests, ${total("crashes")} crashes of ${total("faults")} faults, ${total("starts")} starts, ${total("written")} records written, ` +
    `${total("given")} given, ${total("again")} of them again, ${total("accepted")} accepted, ${total("rejected")} rejected, ${total("released")} released, ` +
    `${total("renewed")} renewed, ${total("refused")} words refused, ${total("expired")} records expired, ${total("letters")} dead letters, ${total("deaths")} workers killed by records, ` +
    `${total("events")} events, 0 violations, in ${((performance.now() - begunMs) / 1000).toFixed(0)} s`
  );
}
