/** What the bench says of its cells: one line each, and the goals that are set over all of them. */
import { type Cell, cpuGoal, isInMatrix, largeBatchCpuGoal, largeBatchKb, mostProduceGoal } from "./cells.ts";
import type { Measured } from "./loads.ts";
import { type Spread, spreadOf, type Verdict, verdictAtMost } from "./stats.ts";

export type Side = "subject" | "rival";

export interface Run extends Measured {
  readonly primedBytes: number;
  /** Of the server that only answers, in the same pair; 0 where the cell has none. */
  readonly echoP50Ms: number;
  readonly echoP99Ms: number;
}

export interface CellOutcome {
  readonly cell: Cell;
  readonly ratio: Spread;
  readonly verdict: Verdict | undefined;
  /** Holdfast's CPU time per byte over Kafka's. */
  readonly cpuRatio: Spread;
  readonly runs: Readonly<Record<Side, readonly Run[]>>;
}

/** Below this a difference to the echo server is what a scheduler does by chance. */
const excessMsMin = 0.01;

/** Above 1 means that the subject is ahead: by rate where there is one, by the inverse of the latency else. */
export function ratioOf(cell: Cell, mine: Run, theirs: Run): number {
  if (cell.load === "latency") return excessOf(theirs).p99Ms / excessOf(mine).p99Ms;
  if (cell.load === "end-to-end") return theirs.p50Ms / mine.p50Ms;
  return mine.mbPerSecond / Math.max(0.001, theirs.mbPerSecond);
}

function excessOf(run: Run): { p50Ms: number; p99Ms: number } {
  return {
    p50Ms: Math.max(excessMsMin, run.p50Ms - run.echoP50Ms),
    p99Ms: Math.max(excessMsMin, run.p99Ms - run.echoP99Ms),
  };
}

export function printCell(outcome: CellOutcome): void {
  const { cell, ratio, verdict, cpuRatio, runs } = outcome;
  const shown = (what: (run: Run) => number, digits: number): string =>
    (["subject", "rival"] as const)
      .map((side) => spreadOf(runs[side].map(what)).median.toFixed(digits))
      .join(" / ");
  const said = verdict === undefined ? "" : ` · goal ≥ ${cell.goal?.toFixed(2)}: ${verdict}`;
  const parts = [`${cell.name.padEnd(22)} ${spread(ratio)}${said}`];
  if (cell.load === "produce" || cell.load === "read")
    parts.push(`${shown((run) => run.mbPerSecond, 1)} MB/s`);
  if (cell.load === "latency") {
    const echo = spreadOf(runs.subject.map((run) => run.echoP99Ms)).median;
    parts.push(
      `p50 above echo ${shown((run) => excessOf(run).p50Ms, 2)} ms`,
      `p99 above echo ${shown((run) => excessOf(run).p99Ms, 2)} ms (echo ${echo.toFixed(2)})`,
    );
  } else if (cell.client === "go" && cell.load === "produce") {
    parts.push(
      `p50 ${shown((run) => run.p50Ms, 1)} ms`,
      `p99 ${shown((run) => run.p99Ms, 0)} ms`,
      `batch ${shown((run) => run.batchKb, 0)} KB`,
    );
  } else if (cell.load === "end-to-end") {
    parts.push(`mean ${shown((run) => run.p50Ms, 2)} ms`);
  }
  parts.push(
    `CPU s/GB ${shown((run) => run.cpuSecondsPerGb, 2)} = ${spread(cpuRatio)}`,
    `RSS peak ${shown((run) => run.rssPeakMb, 0)} MB`,
  );
  for (const side of ["subject", "rival"] as const) {
    const cut = runs[side].filter((run) => run.wasCut).length;
    if (cut > 0) parts.push(`${cut} runs of ${side === "subject" ? "ours" : "Kafka"} cut: it stalled`);
  }
  console.log(parts.join(" · "));
}

function spread({ median, lower, upper }: Spread): string {
  return `${median.toFixed(2)}× [${lower.toFixed(2)}–${upper.toFixed(2)}]`;
}

/** Prints what is said of all cells together; answers it as lines to record. */
export function summarize(all: readonly CellOutcome[]): readonly Record<string, unknown>[] {
  const lines: Record<string, unknown>[] = [];
  const matrix = all.filter(({ cell }) => isInMatrix(cell));
  if (matrix.length > 0) {
    const medians = spreadOf(matrix.map(({ ratio }) => ratio.median));
    const ahead = matrix.filter(({ ratio }) => ratio.median >= mostProduceGoal).length;
    const most: Verdict = ahead * 2 > matrix.length ? "reached" : "missed";
    console.log(
      `producing beside Kafka's default: median ${medians.median.toFixed(2)}×; ${ahead} of ${matrix.length} cells ≥ ${mostProduceGoal} · goal most: ${most}`,
    );
    lines.push({ matrixMedian: medians, ahead, verdict: most });
    lines.push(cpuLine("all producing cells", matrix, cpuGoal));
    const large = matrix.filter(
      ({ runs }) => spreadOf(runs.subject.map((run) => run.batchKb)).median >= largeBatchKb,
    );
    if (large.length > 0)
      lines.push(cpuLine(`cells with batches ≥ ${largeBatchKb} KB`, large, largeBatchCpuGoal));
    const peak = Math.max(...matrix.flatMap(({ runs }) => runs.subject.map((run) => run.rssPeakMb)));
    console.log(
      `RSS peak of ours over these cells: ${peak.toFixed(0)} MB · goal ≤ ${rssPeakMbMax}: ${peak <= rssPeakMbMax ? "reached" : "missed"}`,
    );
    lines.push({ rssPeakMb: peak });
  }
  const judged = all.filter(({ verdict }) => verdict !== undefined);
  const counted = (wanted: Verdict): number => judged.filter(({ verdict }) => verdict === wanted).length;
  if (judged.length > 0)
    console.log(
      `${counted("reached")} reached, ${counted("missed")} missed, ${counted("open")} open of ${judged.length}`,
    );
  return lines;
}

const rssPeakMbMax = 450;

function cpuLine(name: string, outcomes: readonly CellOutcome[], goal: number): Record<string, unknown> {
  const medians = spreadOf(outcomes.map(({ cpuRatio }) => cpuRatio.median));
  // The goal is about the median of the cells; with two cells or more their quartiles say how they differ.
  const verdict = medians.median <= goal ? "reached" : "missed";
  const names = outcomes.map(({ cell }) => cell.name).join(", ");
  console.log(
    `broker CPU per byte over Kafka's, ${name} (${names}): ${spread(medians)} · goal ≤ ${goal}: ${verdict}`,
  );
  return {
    cpuRatioOf: name,
    cpuRatio: medians,
    cells: names,
    goal,
    verdict,
    spreadVerdict: verdictAtMost(medians, goal),
  };
}
