/**
 * Whether two brokers tell of the same log (a split brain does not): an offset that one has given and the
 * other has passed without it, or gave with another value. What one was asked for before the record was
 * written says nothing.
 */
import type { Evidence } from "./evidence.ts";
import type { Findings } from "./findings.ts";
import type { Readings } from "./readings.ts";
import { NONE, StepKind } from "./words.ts";

export function findDivergence(evidence: Evidence, readings: Readings, findings: Findings): void {
  const brokers = evidence.history.brokers.length;
  if (brokers < 2) return;
  const views = Array.from(
    { length: brokers },
    (_, broker) => new View(evidence, readings, broker, findings),
  );
  evidence.logs.forEach(({ offsets }, partition) => {
    for (let index = 0; index < offsets.length; index++) {
      compare(evidence, views, { partition, index }, findings);
    }
  });
}

function compare(
  evidence: Evidence,
  views: readonly View[],
  { partition, index }: { readonly partition: number; readonly index: number },
  findings: Findings,
): void {
  let giver = NONE;
  let given = NONE;
  for (const view of views) {
    findings.work++;
    const value = view.valueAt(partition, index);
    if (value === NONE) continue;
    if (giver !== NONE && value !== given) {
      tell(evidence, { partition, index, values: [given, value], brokers: [giver, view.broker] }, findings);
      return;
    }
    giver = view.broker;
    given = value;
  }
  if (giver === NONE || evidence.isExcused(partition, index)) return;
  const shownAt = (views[giver] as View).shownAt(partition, index);
  for (const view of views) {
    findings.work++;
    if (view.valueAt(partition, index) !== NONE || !view.passed(partition, index, shownAt)) continue;
    tell(evidence, { partition, index, values: [given], brokers: [giver, view.broker] }, findings);
    return;
  }
}

function tell(
  evidence: Evidence,
  what: {
    readonly partition: number;
    readonly index: number;
    readonly values: readonly number[];
    readonly brokers: readonly number[];
  },
  findings: Findings,
): void {
  findings.add("divergence", "bug", () => {
    const { partition, index, values } = what;
    const offset = evidence.offsetOf(partition, index);
    const [one, other] = what.brokers.map((broker) => evidence.history.brokers.at(broker));
    const second = values.length === 2 ? findings.value(values[1] as number) : "nothing";
    return {
      sentence: `Broker ${one} gave ${findings.value(values[0] as number)} for ${findings.place(partition, offset)}, and broker ${other} gave ${second}.`,
      partition,
      offsets: [offset],
      values,
      operations: values.map((value) => evidence.writer(value)).filter((writer) => writer !== NONE),
    };
  });
}

/** What one broker has shown of all partitions. */
class View {
  readonly broker: number;
  readonly #evidence: Evidence;
  /** By partition and index: the value that it gave, and the first event by which it had; NONE. */
  readonly #values: readonly Int32Array[];
  readonly #shownAt: readonly Int32Array[];
  /** By partition and index: > 0 where a reader went past it. */
  readonly #passed: readonly Int32Array[];
  /** By partition: the last operation that came to the end through this broker, and how far that had come. */
  readonly #end: Int32Array;
  readonly #endOffset: Float64Array;

  constructor(evidence: Evidence, readings: Readings, broker: number, findings: Findings) {
    const { history, logs } = evidence;
    const { steps, operations } = history;
    this.broker = broker;
    this.#evidence = evidence;
    this.#values = logs.map(({ offsets }) => new Int32Array(offsets.length).fill(NONE));
    this.#shownAt = logs.map(({ offsets }) => new Int32Array(offsets.length).fill(NONE));
    this.#passed = logs.map(({ offsets }) => new Int32Array(offsets.length + 1));
    this.#end = new Int32Array(logs.length).fill(NONE);
    this.#endOffset = new Float64Array(logs.length);
    for (let step = 0; step < steps.kind.length; step++) {
      findings.work++;
      const operation = steps.operation.at(step);
      if (steps.kind.at(step) !== StepKind.poll || operations.broker.at(operation) !== broker) continue;
      if (operations.outcome[operation] !== "ok") continue;
      const partition = steps.partition.at(step);
      const index = evidence.indexOfStep[step] as number;
      if (this.valueAt(partition, index) !== NONE) continue;
      (this.#values[partition] as Int32Array)[index] = steps.value.at(step);
      (this.#shownAt[partition] as Int32Array)[index] = operations.endEvent.at(operation);
    }
    const { runs } = readings;
    for (let run = 0; run < runs.end.length; run++) {
      findings.work++;
      if (runs.broker.at(run) !== broker) continue;
      const partition = runs.partition.at(run);
      const passed = this.#passed[partition] as Int32Array;
      (passed[evidence.indexFrom(partition, runs.low.at(run))] as number)++;
      (passed[evidence.indexFrom(partition, runs.high.at(run) + 1)] as number)--;
      const end = runs.end.at(run);
      if (end === NONE || end < (this.#end[partition] as number)) continue;
      this.#end[partition] = end;
      this.#endOffset[partition] = runs.high.at(run);
    }
    for (const passed of this.#passed) {
      for (let index = 1; index < passed.length; index++) {
        findings.work++;
        (passed[index] as number) += passed[index - 1] as number;
      }
    }
  }

  valueAt(partition: number, index: number): number {
    return (this.#values[partition] as Int32Array)[index] as number;
  }

  shownAt(partition: number, index: number): number {
    return (this.#shownAt[partition] as Int32Array)[index] as number;
  }

  /** Whether a reader of this broker went past an index, or came to the end before it after event `since`. */
  passed(partition: number, index: number, since: number): boolean {
    if (((this.#passed[partition] as Int32Array)[index] as number) > 0) return true;
    const end = this.#end[partition] as number;
    if (end === NONE || this.#evidence.history.operations.beginEvent.at(end) < since) return false;
    return this.#evidence.offsetOf(partition, index) > (this.#endOffset[partition] as number);
  }
}
