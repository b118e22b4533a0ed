/** As much of the Prometheus text format as a bench reads: values, and histograms by their buckets. */

/** Upper bounds with the number of observations up to each, ascending; the last bound is infinite. */
export type Histogram = readonly { readonly upTo: number; readonly count: number }[];

/** The sum of a metric over its labels; 0 when it is not there (yet). */
export function valueOf(text: string, name: string): number {
  let sum = 0;
  for (const { value } of samplesOf(text, name)) sum += value;
  return sum;
}

/** The buckets of a histogram, summed over its other labels. An unknown name is an error: it would read as silence. */
export function histogramOf(text: string, name: string): Histogram {
  const counts = new Map<number, number>();
  for (const { labels, value } of samplesOf(text, `${name}_bucket`)) {
    const bound = /le="([^"]+)"/.exec(labels)?.[1];
    if (bound === undefined) continue;
    const upTo = bound === "+Inf" ? Infinity : Number(bound);
    counts.set(upTo, (counts.get(upTo) ?? 0) + value);
  }
  if (counts.size === 0) throw new Error(`/metrics has no histogram ${name}`);
  return [...counts].map(([upTo, count]) => ({ upTo, count })).toSorted((a, b) => a.upTo - b.upTo);
}

/**
 * The quantile of what was observed between two looks, drawn as a straight line within its bucket;
 * undefined when fewer than `countMin` observations lie between them.
 */
export function quantileBetween(
  before: Histogram,
  after: Histogram,
  share: number,
  countMin: number,
): number | undefined {
  const counts = after.map(({ upTo, count }, index) => ({
    upTo,
    count: count - (before[index]?.count ?? 0),
  }));
  const total = counts.at(-1)?.count ?? 0;
  if (total < countMin) return undefined;
  const wanted = share * total;
  let from = { upTo: 0, count: 0 };
  for (const bucket of counts) {
    if (bucket.count >= wanted) {
      if (bucket.upTo === Infinity) return from.upTo;
      return from.upTo + ((bucket.upTo - from.upTo) * (wanted - from.count)) / (bucket.count - from.count);
    }
    from = bucket;
  }
  return from.upTo;
}

function* samplesOf(text: string, name: string): Generator<{ labels: string; value: number }> {
  for (const line of text.split("\n")) {
    if (!line.startsWith(name)) continue;
    const match = /^(\{[^}]*\})? ([^ ]+)/.exec(line.slice(name.length));
    if (match !== null) yield { labels: match[1] ?? "", value: Number(match[2]) };
  }
}
