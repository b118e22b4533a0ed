/**
 * `node src/sim/sparse.ts --hours N`: N simulated worlds of an hour each, from seed `--first` (default 1) on, with
 * `--workers` threads (default 1); `--seed S`: one, with its trace on failure; `--twice`: each twice, comparing
 * traces. Prints what happened, and how often each kind of fault met a request of each API (`--least-cell N`: fails
 * where that is less often). Exits with 1 and the line that replays the first failure.
 */
import { parseArgs } from "node:util";
import { clientHandlers } from "../broker/handlers.ts";
import { FaultMatrix } from "./fault-matrix.ts";
import { runSeeds, Totals } from "./seeds.ts";
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
const apis = clientHandlers.map(({ api }) => api);
const matrix = new FaultMatrix();
const totals = new Totals<keyof SparseReport["counts"]>();
const begunMs = performance.now();

await runSeeds({
  program: import.meta.url,
  first: Number(values.seed ?? values.first),
  count: values.seed === undefined ? Number(values.hours) : 1,
  workers: Number(values.workers),
  twice: values.twice,
  showsTrace: values.seed !== undefined,
  tellEach: 50,
  run: (seed) => new SparseWorld(seed).run(),
  add: ({ counts, cells }: SparseReport) => {
    totals.add(counts);
    matrix.addAll(counts.faults, cells);
  },
  describe,
  replay: (seed) => `node src/sim/sparse.ts --seed ${seed}`,
});
console.log(matrix.table(apis));
console.log(describe());
if (matrix.least(apis) < Number(values["least-cell"])) {
  console.error("✗ some fault met the requests of some API less often");
  process.exit(1);
}

function describe(): string {
  const total = (name: keyof SparseReport["counts"]): number => totals.of(name);
  return (
    `sparse simulation: ${totals.worlds} worlds, ${(total("simulatedMs") / hourMs).toFixed(1)} simulated hours, ${total("operations")} operations of clients, ` +
    `${total("requests")} requests, ${total("faults")} crashes and faults, ${total("starts")} starts, ${total("acked")} records acknowledged, ` +
    `${total("read")} read, ${total("processed")} processed by groups with ${total("commits")} commits, ${total("transactions")} transactions, ${total("tableRecords")} records of ` +
    `compacted topics of which ${total("tableLeft")} were left, ${total("events")} events; least cell of API × fault ${matrix.least(apis)}, ` +
    `0 violations, in ${((performance.now() - begunMs) / 1000).toFixed(0)} s`
  );
}
