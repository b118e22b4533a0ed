/**
 * What brokers said of partitions: log start, last stable offset, high watermark and log end never go back
 * from one answer to a question that was asked after it, stand in their order, and cover what was
 * acknowledged and read before; the log start moves only where records may be deleted.
 */
import type { Evidence } from "./evidence.ts";
import type { Findings } from "./findings.ts";
import { NONE, StepKind } from "./words.ts";

const kinds = 4;
const names = ["log start", "last stable offset", "high watermark", "log end"] as const;

export function findWatermarkAnomalies(evidence: Evidence, findings: Findings): void {
  const judge = new Judge(evidence, findings);
  const { events } = evidence.history;
  for (let event = 0; event < events.length; event++) {
    findings.work++;
    const operation = events.at(event) >> 1;
    if ((events.at(event) & 1) === 0) judge.begun(operation);
    else judge.ended(operation);
  }
}

const isWatermark = (kind: number): boolean => kind >= StepKind.logStart && kind <= StepKind.logEnd;

class Judge {
  readonly #evidence: Evidence;
  readonly #findings: Findings;
  /** By broker, partition and kind: the highest that was told, and the operation that was told. */
  readonly #highest: Float64Array;
  readonly #told: Int32Array;
  /** By partition: the high watermark told in one operation, and which. */
  readonly #own: Float64Array;
  readonly #ownOperation: Int32Array;

  constructor(evidence: Evidence, findings: Findings) {
    const { brokers, partitions } = evidence.history;
    this.#evidence = evidence;
    this.#findings = findings;
    this.#highest = new Float64Array((brokers.length + 1) * partitions.length * kinds);
    this.#told = new Int32Array(this.#highest.length).fill(NONE);
    this.#own = new Float64Array(partitions.length);
    this.#ownOperation = new Int32Array(partitions.length).fill(NONE);
  }

  /** What it will be told must not be less than what others were told by now. */
  begun(operation: number): void {
    const { steps, operations } = this.#evidence.history;
    let last = NONE;
    for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
      this.#findings.work++;
      if (!isWatermark(steps.kind.at(step))) continue;
      const row = this.#row(step, steps.kind.at(step));
      if (steps.offset.at(step) < (this.#highest[row] as number)) this.#tellBack(step, row);
      if (steps.kind.at(step) === StepKind.logStart) this.#judgeStart(step);
      if (last !== NONE && steps.partition.at(last) === steps.partition.at(step))
        this.#judgeOrder(last, step);
      last = step;
    }
  }

  ended(operation: number): void {
    const { steps, operations } = this.#evidence.history;
    for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
      this.#findings.work++;
      const kind = steps.kind.at(step);
      const offset = steps.offset.at(step);
      if (isWatermark(kind)) {
        this.#raise(step, kind, offset);
        if (kind !== StepKind.highWatermark) continue;
        this.#own[steps.partition.at(step)] = offset;
        this.#ownOperation[steps.partition.at(step)] = operation;
      } else if (offset !== NONE && this.#isDurable(step)) {
        this.#raise(step, StepKind.highWatermark, offset + 1);
        this.#raise(step, StepKind.logEnd, offset + 1);
      }
    }
    for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
      this.#findings.work++;
      if (steps.kind.at(step) === StepKind.poll) this.#judgeAbove(step);
    }
  }

  /** What is read is durable, and what is acknowledged. */
  #isDurable(step: number): boolean {
    const { steps, operations } = this.#evidence.history;
    if (steps.kind.at(step) === StepKind.poll) return true;
    return steps.kind.at(step) === StepKind.send && operations.outcome[steps.operation.at(step)] === "ok";
  }

  #row(step: number, kind: number): number {
    const { steps, operations, partitions } = this.#evidence.history;
    const broker = operations.broker.at(steps.operation.at(step)) + 1;
    return (broker * partitions.length + steps.partition.at(step)) * kinds + kind - StepKind.logStart;
  }

  #raise(step: number, kind: number, offset: number): void {
    const row = this.#row(step, kind);
    if (offset <= (this.#highest[row] as number)) return;
    this.#highest[row] = offset;
    this.#told[row] = this.#evidence.history.steps.operation.at(step);
  }

  #name(step: number): string {
    return names[this.#evidence.history.steps.kind.at(step) - StepKind.logStart] as string;
  }

  #tellBack(step: number, row: number): void {
    const findings = this.#findings;
    findings.add("watermark-went-back", "bug", () => {
      const { steps } = this.#evidence.history;
      const partition = steps.partition.at(step);
      const operation = steps.operation.at(step);
      const before = this.#told[row] as number;
      return {
        sentence: `The ${this.#name(step)} of ${findings.partition(partition)} went back: ${findings.by(operation)} was told ${steps.offset.at(step)}, after ${findings.by(before)} had shown that it is at least ${this.#highest[row]}.`,
        partition,
        offsets: [this.#highest[row] as number, steps.offset.at(step)],
        operations: [before, operation],
      };
    });
  }

  #judgeStart(step: number): void {
    const { history } = this.#evidence;
    const { steps } = history;
    const partition = steps.partition.at(step);
    const start = steps.offset.at(step);
    if (start === 0 || history.cleanupOf(partition).includes("delete")) return;
    const findings = this.#findings;
    findings.add("log-start-moved", "bug", () => ({
      sentence: `The log of ${findings.partition(partition)} starts at ${start}, said ${findings.by(steps.operation.at(step))}, although nothing may be deleted from it.`,
      partition,
      offsets: [start],
      operations: [steps.operation.at(step)],
    }));
  }

  /** Two that were told together, the lower one first. */
  #judgeOrder(lower: number, upper: number): void {
    const { steps } = this.#evidence.history;
    const offsets = [steps.offset.at(lower), steps.offset.at(upper)] as const;
    if (steps.kind.at(lower) >= steps.kind.at(upper) || offsets[0] <= offsets[1]) return;
    const findings = this.#findings;
    findings.add("watermark-order", "bug", () => ({
      sentence: `The ${this.#name(lower)} of ${findings.partition(steps.partition.at(lower))} (${offsets[0]}) is above its ${this.#name(upper)} (${offsets[1]}), said ${findings.by(steps.operation.at(lower))}.`,
      partition: steps.partition.at(lower),
      offsets,
      operations: [steps.operation.at(lower)],
    }));
  }

  #judgeAbove(step: number): void {
    const { steps } = this.#evidence.history;
    const operation = steps.operation.at(step);
    const partition = steps.partition.at(step);
    const mark = this.#own[partition] as number;
    if (this.#ownOperation[partition] !== operation || steps.offset.at(step) < mark) return;
    const findings = this.#findings;
    findings.add("watermark-order", "bug", () => ({
      sentence: `${findings.by(operation)} was given ${findings.value(steps.value.at(step))} of ${findings.place(partition, steps.offset.at(step))}, and the high watermark with it was ${mark}.`,
      partition,
      offsets: [steps.offset.at(step)],
      values: [steps.value.at(step)],
      operations: [operation],
    }));
  }
}
