/**
 * What may be said of a few noisy ratios: their median with its quartiles, and whether the goal is reached,
 * missed, or lies between the quartiles and so is open. Two shared cores give nothing firmer.
 */
export interface Spread {
  readonly median: number;
  readonly lower: number;
  readonly upper: number;
  readonly count: number;
}

export type Verdict = "reached" | "missed" | "open";

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    lower: quantile(sorted, 0.25),
    upper: quantile(sorted, 0.75),
    count: sorted.length,
  };
}

/** Whether values that should be at least `goal` are. */
export function verdictAtLeast(spread: Spread, goal: number): Verdict {
  if (spread.lower >= goal) return "reached";
  return spread.upper < goal ? "missed" : "open";
}

/** Whether values that should be at most `goal` are. */
export function verdictAtMost(spread: Spread, goal: number): Verdict {
  if (spread.upper <= goal) return "reached";
  return spread.lower > goal ? "missed" : "open";
}

/** Between neighbours the quantile is drawn as a straight line. */
function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  if (below === undefined || above === undefined) throw new Error("There is no quantile of nothing");
  return below + (above - below) * (at - Math.floor(at));
}
