/**
 * Holdfast beside Apache Kafka 4.3.0 on this machine, in alternated pairs.
 *
 *   node bench/run.ts [--cells go-1k-*,java-1k-p1 | all] [--pairs 7] [--quick] [--prime auto | off | BYTES]
 *                    [--probes idle-rss,reopen,sync | all | none]
 *
 * `--quick` takes a fifth of the records and one run to warm up: it shows that the bench works, not who is ahead.
 *
 * For each cell both brokers are started afresh and stay up; each gets three unmeasured runs, then the pairs
 * follow in the order A B, B A, A B, … Before each run the disk is synced, both brokers are quiet, so
 * that one does not pay for the other's unwritten pages, and memory is primed (prime.ts). Every run is one line of bench/results/*.jsonl; the
 * summary gives the median ratio with its quartiles and says reached, missed or open.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { type Broker, type BrokerKind, startBroker } from "../tools/brokers.ts";
import { finish, useOf } from "../tools/processes.ts";
import { cacheDirectory, repositoryRoot } from "../tools/toolbox.ts";
import { type Cell, chooseCells, isInMatrix, matrixMedianGoal } from "./cells.ts";
import { type Measured, measure } from "./loads.ts";
import { prime, primeRuleOf } from "./prime.ts";
import { chooseProbes } from "./probes.ts";
import { type Spread, spreadOf, type Verdict, verdictAtLeast } from "./stats.ts";

/** A broker is quiet when it uses less than this share of a core over a window; the wait is bounded. */
const quietCpuShare = 0.1;
const quietWindowMs = 300;
const quietTriesMax = 20;

interface CellOutcome {
  readonly cell: Cell;
  readonly ratio: Spread;
  readonly verdict: Verdict | undefined;
}

const { values: options } = parseArgs({
  options: {
    cells: { type: "string", default: "all" },
    pairs: { type: "string", default: "7" },
    probes: { type: "string", default: "none" },
    quick: { type: "boolean", default: false },
    prime: { type: "string", default: "auto" },
    /** The side that is compared; another Kafka here measures the bench itself (all ratios should be 1). */
    subject: { type: "string", default: "holdfast" },
  },
});
const pairCount = Number(options.pairs);
const primeRule = primeRuleOf(options.prime);
const share = options.quick ? 0.2 : 1;
// A virtual machine that compiles while it runs is slow at first; both sides get the same runs to warm up.
const warmUps = options.quick ? 1 : 3;
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
for (const cell of options.cells === "none" ? [] : chooseCells(options.cells))
  outcomes.push(await runCell(cell));
summarize(outcomes);
for (const probe of chooseProbes(options.probes)) {
  const outcome = await probe.run({ quick: options.quick });
  record({ probe: probe.name, ...outcome });
  console.log(`${probe.name.padEnd(24)} ${outcome.sentence} · ${outcome.verdict}`);
}
console.log(`runs: ${resultsPath}`);

async function runCell(cell: Cell): Promise<CellOutcome> {
  const begun = performance.now();
  mkdirSync(join(cacheDirectory, "bench"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "bench", "cell-"));
  const subject = await startBroker(options.subject as BrokerKind, {
    directory: join(directory, "a"),
    built: true,
  });
  const rival = await startBroker(cell.against, { directory: join(directory, "b") });
  const recordCount = Math.max(1000, Math.round(cell.recordCount * share));
  const ratios: number[] = [];
  const runs: Record<"subject" | "rival", Measured[]> = { subject: [], rival: [] };
  const runOnce = async (
    side: "subject" | "rival",
    name: string,
    count: number,
  ): Promise<Measured & { primedBytes: number }> => {
    const broker = side === "subject" ? subject : rival;
    await settle([subject, rival]);
    const primedBytes = await prime(primeRule, count * cell.recordBytes);
    return { ...(await measure(broker, cell, name, count)), primedBytes };
  };
  try {
    for (let time = 0; time < warmUps; time += 1) {
      for (const side of ["subject", "rival"] as const) await runOnce(side, `warm-up-${time}`, recordCount);
    }
    for (let pair = 0; pair < pairCount; pair += 1) {
      const order = pair % 2 === 0 ? (["subject", "rival"] as const) : (["rival", "subject"] as const);
      for (const side of order) {
        const run = await runOnce(side, `pair-${pair}`, recordCount);
        runs[side].push(run);
        const kind = side === "subject" ? options.subject : cell.against;
        record({
          cell: cell.name,
          pair,
          side: kind,
          recordCount,
          load: Math.round((loadavg()[0] ?? 0) * 10) / 10,
          ...run,
        });
      }
      const [mine, theirs] = [runs.subject.at(-1), runs.rival.at(-1)];
      if (mine !== undefined && theirs !== undefined) ratios.push(ratioOf(cell, mine, theirs));
    }
  } finally {
    await subject.kill();
    await rival.kill();
    rmSync(directory, { recursive: true, force: true });
  }
  const ratio = spreadOf(ratios);
  const verdict = cell.goal === undefined ? undefined : verdictAtLeast(ratio, cell.goal);
  const tookSeconds = Math.round((performance.now() - begun) / 1000);
  record({ cell: cell.name, summary: ratio, goal: cell.goal, verdict, tookSeconds });
  printCell(cell, ratio, verdict, runs);
  return { cell, ratio, verdict };
}

/** Above 1 means that the subject is ahead: by rate where there is one, by the inverse of the latency else. */
function ratioOf(cell: Cell, mine: Measured, theirs: Measured): number {
  return cell.load === "latency" ? theirs.p50Ms / mine.p50Ms : mine.mbPerSecond / theirs.mbPerSecond;
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

function printCell(
  cell: Cell,
  ratio: Spread,
  verdict: Verdict | undefined,
  runs: Record<"subject" | "rival", Measured[]>,
): void {
  const median = (side: "subject" | "rival", what: keyof Measured): number =>
    spreadOf(runs[side].map((run) => run[what])).median;
  const shown = (what: keyof Measured, digits: number): string =>
    `${median("subject", what).toFixed(digits)} / ${median("rival", what).toFixed(digits)}`;
  const said = verdict === undefined ? "" : ` · goal ≥ ${cell.goal}: ${verdict}`;
  console.log(
    [
      `${cell.name.padEnd(20)} ${ratio.median.toFixed(2)}× [${ratio.lower.toFixed(2)}–${ratio.upper.toFixed(2)}]${said}`,
      `${shown("mbPerSecond", 1)} MB/s`,
      `p50 ${shown("p50Ms", 2)} ms`,
      `p99 ${shown("p99Ms", 1)} ms`,
      `CPU s/GB ${shown("cpuSecondsPerGb", 2)}`,
      `RSS peak ${shown("rssPeakMb", 0)} MB`,
    ].join(" · "),
  );
}

function summarize(all: readonly CellOutcome[]): void {
  const matrix = all.filter(({ cell }) => isInMatrix(cell));
  if (matrix.length > 0) {
    const medians = spreadOf(matrix.map(({ ratio }) => ratio.median));
    const reached = medians.median >= matrixMedianGoal ? "reached" : "missed";
    console.log(
      `median of ${matrix.length} cells against Kafka's default: ${medians.median.toFixed(2)}× · goal ≥ ${matrixMedianGoal}: ${reached}`,
    );
    record({ matrixMedian: medians, verdict: reached });
  }
  const judged = all.filter(({ verdict }) => verdict !== undefined);
  const counted = (wanted: Verdict): number => judged.filter(({ verdict }) => verdict === wanted).length;
  if (judged.length > 0)
    console.log(
      `${counted("reached")} reached, ${counted("missed")} missed, ${counted("open")} open of ${judged.length}`,
    );
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
