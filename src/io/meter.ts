/**
 * The `Meter` port: numbers in memory, read when someone looks. Counting must cost next to nothing, so
 * `prom-client`, which knows the text format and the process's own metrics, is loaded by the first reader.
 * Labels are remembered by identity first: whoever counts often keeps its labels object.
 */
import { assert } from "../base/assert.ts";
import type { Counter, Histogram, Labels, Meter } from "../base/ports.ts";

/** More series than this in one metric would be a leak (a label with unbounded values). */
const seriesMax = 10_000;

interface Sample {
  readonly value: number;
  readonly labels: Labels;
  readonly metricName?: string;
}
interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  get(): { readonly name: string; readonly help: string; readonly type: string; readonly values: Sample[] };
}

export interface MeterReader extends Meter {
  /** The metrics as Prometheus reads them (text format 0.0.4), the process's own included. */
  expose(): Promise<{ readonly contentType: string; readonly text: string }>;
}

export function openMeter(): MeterReader {
  const metrics = new Map<string, Metric>();
  let exposed: Promise<{ contentType: string; metrics(): Promise<string> }> | null = null;

  const register = (metric: Metric): void => {
    assert(/^[a-z][a-z0-9_]*$/.test(metric.name), `${metric.name} is a metric name`);
    assert(!metrics.has(metric.name), `the metric ${metric.name} is registered once`);
    metrics.set(metric.name, metric);
  };
  const describe = (name: string, help: string, type: Metric["type"], values: () => Sample[]): void =>
    register({ name, help, type, get: () => ({ name, help, type, values: values() }) });

  return {
    counter(name, help): Counter {
      const series = new Series(() => ({ value: 0 }));
      describe(name, help, "counter", () =>
        series.all().map(([labels, cell]) => ({ value: cell.value, labels })),
      );
      return {
        add(amount, labels) {
          series.cell(labels).value += amount;
        },
      };
    },
    gauge(name, help, read): void {
      describe(name, help, "gauge", () => [{ value: read(), labels: {} }]);
    },
    histogram(name, help, bounds): Histogram {
      const series = new Series(() => ({ counts: new Float64Array(bounds.length + 1), sum: 0 }));
      describe(name, help, "histogram", () =>
        series.all().flatMap(([labels, cell]) => histogramSamples(name, bounds, labels, cell)),
      );
      return {
        observe(value, labels) {
          const cell = series.cell(labels);
          let index = 0;
          while (index < bounds.length && value > (bounds[index] as number)) index++;
          cell.counts[index] = (cell.counts[index] as number) + 1;
          cell.sum += value;
        },
      };
    },
    async expose() {
      exposed ??= import("prom-client").then(({ default: { Registry, collectDefaultMetrics } }) => {
        const registry = new Registry();
        collectDefaultMetrics({ register: registry });
        return registry;
      });
      const registry = await exposed;
      const known = registry as unknown as {
        getSingleMetric(name: string): unknown;
        registerMetric(metric: Metric): void;
      };
      for (const metric of metrics.values()) {
        if (known.getSingleMetric(metric.name) === undefined) known.registerMetric(metric);
      }
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}

/** The cells of one metric, one for each set of labels. */
class Series<Cell> {
  readonly #make: () => Cell;
  #plain: Cell | null = null;
  readonly #byIdentity = new WeakMap<Labels, Cell>();
  readonly #byText = new Map<string, [Labels, Cell]>();

  constructor(make: () => Cell) {
    this.#make = make;
  }

  cell(labels?: Labels): Cell {
    if (labels === undefined) return (this.#plain ??= this.#make());
    const known = this.#byIdentity.get(labels);
    if (known !== undefined) return known;
    const text = Object.keys(labels)
      .sort()
      .map((name) => JSON.stringify([name, labels[name]]))
      .join();
    let found = this.#byText.get(text);
    if (found === undefined) {
      assert(this.#byText.size < seriesMax, "labels take a bounded set of values");
      found = [{ ...labels }, this.#make()];
      this.#byText.set(text, found);
    }
    this.#byIdentity.set(labels, found[1]);
    return found[1];
  }

  all(): [Labels, Cell][] {
    const labelled = [...this.#byText.values()];
    // A metric that was never touched is shown as zero, so that a query for it finds something.
    return labelled.length > 0 && this.#plain === null ? labelled : [[{}, this.cell()], ...labelled];
  }
}

function histogramSamples(
  name: string,
  bounds: readonly number[],
  labels: Labels,
  cell: { readonly counts: Float64Array; readonly sum: number },
): Sample[] {
  let count = 0;
  const samples: Sample[] = bounds.map((bound, index) => {
    count += cell.counts[index] as number;
    return { metricName: `${name}_bucket`, labels: { ...labels, le: String(bound) }, value: count };
  });
  count += cell.counts[bounds.length] as number;
  samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le: "+Inf" }, value: count });
  samples.push({ metricName: `${name}_sum`, labels, value: cell.sum });
  samples.push({ metricName: `${name}_count`, labels, value: count });
  return samples;
}
