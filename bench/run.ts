/**
 * Holdfast beside Apache Kafka 4.3.0 on this machine, in alternated pairs.
 *
 *   node bench/run.ts [--cells goals | all | none | go-1k-*,java-1k-p1] [--pairs 7] [--quick]
 *                    [--probes all | short | none | idle-rss,reopen] [--prime auto | off | BYTES]
 *                    [--sustained-seconds 600]
 *
 * `goals` are the cells with a goal beside Kafka's default (`all`: three more against a Kafka that syncs, and
 * end to end). `--quick` takes short runs: it shows that the bench works, not who is ahead.
 *
 * For each cell both brokers are started afresh and stay up; each gets unmeasured runs, then the pairs follow
 * in the order A B, B A, A B, … Before each run the disk is synced, both brokers are quiet, so that one does
 * not pay for the other's unwritten pages, and memory is primed (prime.ts). Every run is one line of
 * bench/results/*.jsonl; the summary gives the median ratio with its quartiles and says reached, missed or open.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Broker, type BrokerKind, startBroker } from "../tools/brokers.ts";
import { finish, freePort, start, useOf, waitForPort } from "../tools/processes.ts";
import { cacheDirectory, loopback, repositoryRoot } from "../tools/toolbox.ts";
import { type Cell, chooseCells } from "./cells.ts";
import { evict } from "./evict.ts";
import {
  benchProgram,
  createTopic,
  deleteTopic,
  fill,
  fullLengths,
  measure,
  measureEcho,
  payloadBytesOf,
  quickLengths,
} from "./loads.ts";
import { prime, primeRuleOf } from "./prime.ts";
import { chooseProbes } from "./probes.ts";
import { type CellOutcome, printCell, ratioOf, type Run, type Side, summarize } from "./report.ts";
import { spreadOf, verdictAtLeast } from "./stats.ts";

/** A broker is quiet when it uses less than this share of a core over a window; the wait is bounded. */
const quietCpuShare = 0.1;
const quietWindowMs = 300;
const quietTriesMax = 20;
/** What the runs of a reading cell read; it is written once. */
const readTopic = "read";

type Echoed = Pick<Run, "echoP50Ms" | "echoP99Ms">;

const { values: options } = parseArgs({
  options: {
    cells: { type: "string", default: "goals" },
    pairs: { type: "string", default: "7" },
    probes: { type: "string", default: "none" },
    quick: { type: "boolean", default: false },
    prime: { type: "string", default: "auto" },
    "sustained-seconds": { type: "string", default: "600" },
    /** The side that is compared; another Kafka here measures the bench itself (all ratios should be 1). */
    subject: { type: "string", default: "holdfast" },
  },
});
const pairCount = Number(options.pairs);
const primeRule = primeRuleOf(options.prime);
const lengths = options.quick ? quickLengths : fullLengths;
// A virtual machine that compiles while it runs is slow at first; both sides get the same runs to warm up.
const warmUps = options.quick ? 1 : 2;
const commit =
  git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "--", "src") === "" ? "" : "+changes");
const startedAt = new Date().toISOString();
// What is measured is the published form, and of these sources.
await finish(process.execPath, [join(repositoryRoot, "tools/build.ts")], {
  cwd: repositoryRoot,
  timeoutMs: 120_000,
});
mkdirSync(join(import.meta.dirname, "results"), { recursive: true });
const resultsPath = join(
  import.meta.dirname,
  "results",
  `${startedAt.slice(0, 16).replace(":", "")}-${commit}.jsonl`,
);

const outcomes: CellOutcome[] = [];
for (const cell of chooseCells(options.cells)) {
  const outcome = await runCell(cell);
  outcomes.push(outcome);
  printCell(outcome);
}
for (const line of summarize(outcomes)) record(line);
for (const probe of chooseProbes(options.probes)) {
  const outcome = await probe.run({
    quick: options.quick,
    sustainedSeconds: Number(options["sustained-seconds"]),
  });
  record({ probe: probe.name, ...outcome });
  console.log(`${probe.name.padEnd(22)} ${outcome.sentence} · ${outcome.verdict}`);
}
console.log(`runs: ${resultsPath}`);

async function runCell(cell: Cell): Promise<CellOutcome> {
  const begun = performance.now();
  mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "bench", "cell-"));
  const brokers: Record<Side, Broker> = {
    subject: await startBroker(options.subject as BrokerKind, {
      directory: join(directory, "a"),
      built: true,
    }),
    rival: await startBroker(cell.against, { directory: join(directory, "b") }),
  };
  const echo = cell.load === "latency" ? await startEcho() : undefined;
  const runs: Record<Side, Run[]> = { subject: [], rival: [] };
  const ratios: number[] = [];
  const cpuRatios: number[] = [];
  const lastMbPerSecond: Record<Side, number> = { subject: 300, rival: 300 };
  const runOnce = async (side: Side, name: string, echoed: Echoed): Promise<Run> => {
    const broker = brokers[side];
    const topic = cell.load === "read" ? readTopic : name;
    if (topic === name) await createTopic(broker, topic, cell.partitionCount);
    await settle([brokers.subject, brokers.rival]);
    if (cell.load === "read" && cell.evicted) await evict(broker.directory);
    const primedBytes = await prime(primeRule, payloadBytesOf(cell, lengths, lastMbPerSecond[side]));
    const measured = await measure(broker, cell, topic, lengths);
    lastMbPerSecond[side] = measured.mbPerSecond;
    if (topic === name) await deleteTopic(broker, topic);
    return { ...measured, ...echoed, primedBytes };
  };
  const echoOnce = async (): Promise<Echoed> => {
    if (echo === undefined || cell.load !== "latency") return { echoP50Ms: 0, echoP99Ms: 0 };
    await settle([brokers.subject, brokers.rival]);
    const { p50Ms, p99Ms } = await measureEcho(echo.address, cell);
    return { echoP50Ms: p50Ms, echoP99Ms: p99Ms };
  };
  try {
    if (cell.load === "read") {
      const records = Math.round(cell.recordCount * lengths.recordShare);
      for (const broker of [brokers.subject, brokers.rival]) {
        await createTopic(broker, readTopic, cell.partitionCount);
        await fill(broker, readTopic, cell.partitionCount, records, cell.recordBytes);
      }
    }
    for (let time = 0; time < warmUps; time += 1) {
      const echoed = await echoOnce();
      for (const side of ["subject", "rival"] as const) await runOnce(side, `warm-up-${time}`, echoed);
    }
    for (let pair = 0; pair < pairCount; pair += 1) {
      const order = pair % 2 === 0 ? (["subject", "rival"] as const) : (["rival", "subject"] as const);
      const echoed = await echoOnce();
      for (const side of order) {
        const run = await runOnce(side, `pair-${pair}`, echoed);
        runs[side].push(run);
        const kind = side === "subject" ? options.subject : cell.against;
        const load = Math.round((loadavg()[0] ?? 0) * 10) / 10;
        record({ cell: cell.name, pair, side: kind, load, ...run });
      }
      const [mine, theirs] = [runs.subject.at(-1), runs.rival.at(-1)];
      if (mine === undefined || theirs === undefined) continue;
      ratios.push(ratioOf(cell, mine, theirs));
      // A clock that ticks every 10 ms may show no time at all in a short run.
      cpuRatios.push(mine.cpuSecondsPerGb / Math.max(0.001, theirs.cpuSecondsPerGb));
    }
  } finally {
    for (const running of [brokers.subject, brokers.rival, echo]) await running?.kill();
    rmSync(directory, { recursive: true, force: true });
  }
  const [ratio, cpuRatio] = [spreadOf(ratios), spreadOf(cpuRatios)];
  const verdict = cell.goal === undefined ? undefined : verdictAtLeast(ratio, cell.goal);
  const tookSeconds = Math.round((performance.now() - begun) / 1000);
  record({ cell: cell.name, summary: ratio, cpuRatio, goal: cell.goal, verdict, tookSeconds });
  return { cell, ratio, verdict, cpuRatio, runs };
}

/** A server that answers producers and stores nothing, as a process of its own like a broker. */
async function startEcho(): Promise<{ address: string; kill: () => Promise<void> }> {
  const port = await freePort();
  const address = `${loopback}:${port}`;
  const running = start(await benchProgram(), ["echo", address]);
  await waitForPort(port, running, 5000);
  return {
    address,
    kill: async () => {
      running.signal("SIGKILL");
      await running.ended;
    },
  };
}

/** Waits (for a bounded time) until nothing of an earlier run is left to be written or computed. */
async function settle(brokers: readonly Broker[]): Promise<void> {
  await finish("sync", [], { timeoutMs: 120_000 });
  const used = (): number => brokers.reduce((sum, broker) => sum + useOf(broker.pid()).cpuSeconds, 0);
  for (let attempt = 0; attempt < quietTriesMax; attempt += 1) {
    const before = used();
    await sleep(quietWindowMs);
    if (used() - before < (quietCpuShare * quietWindowMs) / 1000) return;
  }
}

function record(line: Record<string, unknown>): void {
  appendFileSync(
    resultsPath,
    `${JSON.stringify({ at: new Date().toISOString(), commit, quick: options.quick, ...line })}\n`,
  );
}

function git(...args: string[]): string {
  return execFileSync("git", args, { cwd: import.meta.dirname, encoding: "utf8" }).trim();
}
