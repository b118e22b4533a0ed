/**
 * Holdfast's client beside KafkaJS and @platformatic/kafka: the same broker, the same run, in turns.
 *
 *   node bench/clients/run.ts [--cells produce-1k,produce-100b,consume-1k,consume-100b] [--rounds 7]
 *                             [--broker holdfast | kafka] [--quick] [--prime auto | off | BYTES]
 *
 * Idempotence and acks=all are on for all. Each client first tries its settings for a short time and runs
 * with the best one; then every round runs each client once, in an order that turns. The ratio of a round is
 * ours over the faster of the others. The consumers of the other two need groups, so reading is from Apache
 * Kafka. Lines go to bench/results/*-clients.jsonl.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Broker, type BrokerKind, startBroker } from "../../tools/brokers.ts";
import { finish } from "../../tools/processes.ts";
import { cacheDirectory, nodePackages, repositoryRoot } from "../../tools/toolbox.ts";
import { createTopic, deleteTopic, fill } from "../loads.ts";
import { prime, primeRuleOf } from "../prime.ts";
import { spreadOf, verdictAtLeast } from "../stats.ts";
import { type ClientSaid, runTimed } from "../timed.ts";
import type { Setting } from "./load.ts";

const goal = 1.5;
const partitionCount = 8;
const names = ["holdfast", "kafkajs", "platformatic"] as const;
type Name = (typeof names)[number];

interface ClientCell {
  readonly name: string;
  readonly action: "produce" | "consume";
  readonly recordBytes: number;
  readonly settings: Readonly<Record<Name, readonly Setting[]>>;
}

interface NodeClientSaid extends ClientSaid {
  readonly clientCpuSeconds: number;
  readonly clientRssMb: number;
}

const lots: readonly Setting[] = [64, 500].flatMap((batchKb) =>
  [1, 4, 8].map((workers) => ({ batchKb, workers })),
);
const produceSettings: ClientCell["settings"] = {
  holdfast: [{ by: "record" }, { by: "record", lingerMs: 5 }, { by: "lot" }, { by: "lot", lingerMs: 5 }],
  kafkajs: lots,
  platformatic: lots,
};
const consumeSettings: ClientCell["settings"] = {
  holdfast: [{ by: "record" }, { by: "lot" }, { by: "lot", batchKb: 1000 }],
  kafkajs: [1, 4].flatMap((partitionsAtOnce) =>
    [1000, 4000].map((batchKb) => ({ partitionsAtOnce, batchKb })),
  ),
  platformatic: [1024, 16_384].flatMap((highWaterMark) =>
    [1000, 4000].map((batchKb) => ({ highWaterMark, batchKb })),
  ),
};

const cells: readonly ClientCell[] = (["produce", "consume"] as const).flatMap((action) =>
  [
    { label: "1k", recordBytes: 1000 },
    { label: "100b", recordBytes: 100 },
  ].map(({ label, recordBytes }) => ({
    name: `${action}-${label}`,
    action,
    recordBytes,
    settings: action === "produce" ? produceSettings : consumeSettings,
  })),
);

const { values: options } = parseArgs({
  options: {
    cells: { type: "string", default: cells.map(({ name }) => name).join(",") },
    rounds: { type: "string", default: "7" },
    broker: { type: "string", default: "holdfast" },
    prime: { type: "string", default: "auto" },
    quick: { type: "boolean", default: false },
  },
});
const primeRule = primeRuleOf(options.prime);
const [warmupMs, measureMs, tryMs] = options.quick ? [500, 1000, 700] : [1000, 3200, 1500];
/** Beyond the times that a run is given: joining a group takes seconds. */
const spareMs = 30_000;
/** What the readers read; a reader that gets to its end before its time would measure waiting. */
const filledBytes = options.quick ? 1e9 : 6.5e9;

await finish(process.execPath, [join(repositoryRoot, "tools/build.ts")], {
  cwd: repositoryRoot,
  timeoutMs: 120_000,
});
const packages = await nodePackages(join(repositoryRoot, "test/interop/node"));
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], {
  cwd: repositoryRoot,
  encoding: "utf8",
}).trim();
const results = join(import.meta.dirname, "..", "results");
mkdirSync(results, { recursive: true });
const startedAt = new Date().toISOString().slice(0, 16).replace(":", "");
const resultsPath = join(results, `${startedAt}-${commit}-clients.jsonl`);

let topics = 0;
for (const name of options.cells.split(",")) {
  const cell = cells.find((known) => known.name === name);
  if (cell === undefined)
    throw new Error(`No cell is called ${name}; there are ${cells.map((known) => known.name).join(", ")}`);
  await runCell(cell);
}
console.log(`runs: ${resultsPath}`);

async function runCell(cell: ClientCell): Promise<void> {
  const kind = cell.action === "consume" ? "kafka" : (options.broker as BrokerKind);
  mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "bench", "clients-"));
  const broker = await startBroker(kind, { directory, built: true });
  try {
    if (cell.action === "consume") {
      await createTopic(broker, cell.name, partitionCount);
      const records = Math.round(filledBytes / cell.recordBytes);
      await fill(broker, cell.name, partitionCount, records, cell.recordBytes);
    }
    // The broker's own warm-up, so that who tries first is not behind.
    await runOnce(broker, cell, "holdfast", cell.settings.holdfast[0] ?? {}, tryMs);
    const best = {} as Record<Name, Setting>;
    for (const name of names) best[name] = await bestSetting(broker, cell, name);
    const rates: Record<Name, number[]> = { holdfast: [], kafkajs: [], platformatic: [] };
    const ratios: number[] = [];
    for (let round = 0; round < Number(options.rounds); round += 1) {
      for (let turn = 0; turn < names.length; turn += 1) {
        const name = names[(round + turn) % names.length] as Name;
        const said = await runOnce(broker, cell, name, best[name], measureMs);
        if (cell.action === "consume" && said.records * cell.recordBytes > 0.7 * filledBytes) {
          throw new Error(`${name} read everything before its time was over; fill more.`);
        }
        rates[name].push(said.mbPerSecond);
        const load = Math.round((loadavg()[0] ?? 0) * 10) / 10;
        record({ cell: cell.name, round, client: name, broker: kind, load, setting: best[name], ...said });
      }
      const last = (name: Name): number => rates[name].at(-1) ?? 0;
      ratios.push(last("holdfast") / Math.max(0.001, last("kafkajs"), last("platformatic")));
    }
    const ratio = spreadOf(ratios);
    const verdict = verdictAtLeast(ratio, goal);
    record({ cell: cell.name, summary: ratio, goal, verdict, settings: best });
    const medians = names.map(
      (name) => `${name} ${spreadOf(rates[name]).median.toFixed(1)} ${JSON.stringify(best[name])}`,
    );
    console.log(
      `${cell.name.padEnd(14)} ${ratio.median.toFixed(2)}× [${ratio.lower.toFixed(2)}–${ratio.upper.toFixed(2)}] the faster · goal ≥ ${goal}: ${verdict} · MB/s at ${kind}: ${medians.join(", ")}`,
    );
  } finally {
    await broker.kill();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function bestSetting(broker: Broker, cell: ClientCell, name: Name): Promise<Setting> {
  let best: { setting: Setting; mbPerSecond: number } | undefined;
  for (const setting of cell.settings[name]) {
    const { mbPerSecond } = await runOnce(broker, cell, name, setting, tryMs);
    record({ cell: cell.name, tried: name, setting, mbPerSecond });
    if (best === undefined || mbPerSecond > best.mbPerSecond) best = { setting, mbPerSecond };
  }
  if (best === undefined) throw new Error(`${name} has no setting for ${cell.name}`);
  return best.setting;
}

async function runOnce(
  broker: Broker,
  cell: ClientCell,
  name: Name,
  setting: Setting,
  lastsMs: number,
): Promise<NodeClientSaid> {
  const topic = cell.action === "consume" ? cell.name : `${cell.name}-${topics++}`;
  if (cell.action === "produce") await createTopic(broker, topic, partitionCount);
  await finish("sync", []);
  // About what the fastest of the three writes.
  await prime(primeRule, (300e6 * (warmupMs + lastsMs)) / 1000);
  const numbers = [partitionCount, cell.recordBytes, warmupMs, lastsMs].map(String);
  const program = join(import.meta.dirname, `${name}.ts`);
  const run = await runTimed(
    {
      command: process.execPath,
      args: [program, cell.action, broker.address, topic, ...numbers, JSON.stringify(setting)],
      env: { HOLDFAST_NODE_PACKAGES: packages },
    },
    1,
    broker.pid(),
    warmupMs + lastsMs + spareMs,
  );
  if (cell.action === "produce") await deleteTopic(broker, topic);
  return run.said[0] as NodeClientSaid;
}

function record(line: Record<string, unknown>): void {
  const at = new Date().toISOString();
  appendFileSync(resultsPath, `${JSON.stringify({ at, commit, quick: options.quick, ...line })}\n`);
}
