/**
 * Whether lookups by time told the truth: the answer is the first record, in the order of offsets, whose
 * time is not before the one asked for. Asks that only of records which surely were there when the question
 * was asked, and whose time was told; where records may be deleted, only if somebody asked for the log start
 * afterwards, since it may have passed them in between.
 */
import type { Evidence } from "./evidence.ts";
import type { Findings } from "./findings.ts";
import { NONE, StepKind } from "./words.ts";

export function findWrongLookups(evidence: Evidence, findings: Findings): void {
  const { steps } = evidence.history;
  const timelines = new Map<number, Timeline>();
  for (let step = 0; step < steps.kind.length; step++) {
    findings.work++;
    if (steps.kind.at(step) !== StepKind.lookup) continue;
    const partition = steps.partition.at(step);
    let timeline = timelines.get(partition);
    if (timeline === undefined)
      timelines.set(partition, (timeline = new Timeline(evidence, partition, findings)));
    timeline.judge(step);
  }
}

class Timeline {
  readonly #evidence: Evidence;
  readonly #findings: Findings;
  readonly #partition: number;
  /** By index; NaN where nobody told it. */
  readonly #times: Float64Array;
  /** By index: the latest time up to it, of records that nothing excuses to be gone. */
  readonly #latest: Float64Array;
  /** By index: the event from which on it surely was there, as it or a later one was acknowledged or read. */
  readonly #thereFrom: Float64Array;
  /** The last event at which somebody began to ask for the log start; infinite where it cannot move. */
  readonly #startAsked: number;

  constructor(evidence: Evidence, partition: number, findings: Findings) {
    const { offsets } = evidence.log(partition);
    this.#evidence = evidence;
    this.#findings = findings;
    this.#partition = partition;
    this.#times = new Float64Array(offsets.length).fill(Number.NaN);
    this.#latest = new Float64Array(offsets.length);
    this.#thereFrom = new Float64Array(offsets.length);
    this.#startAsked = evidence.log(partition).startAsked;
    let latest = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < offsets.length; index++) {
      this.#learn(index);
      const time = this.#times[index] as number;
      if (time > latest && !evidence.isExcused(partition, index)) latest = time;
      this.#latest[index] = latest;
    }
    for (let index = offsets.length - 2; index >= 0; index--) {
      findings.work++;
      this.#thereFrom[index] = Math.min(
        this.#thereFrom[index] as number,
        this.#thereFrom[index + 1] as number,
      );
    }
  }

  #learn(index: number): void {
    const { history } = this.#evidence;
    const { steps, operations, facts, writes } = history;
    const log = this.#evidence.log(this.#partition);
    const write = writes.at(log.values[index] as number);
    const sent = write === NONE ? NONE : steps.facts.at(write);
    if (sent !== NONE) this.#times[index] = facts.timestampMs.at(sent);
    let thereFrom = Number.POSITIVE_INFINITY;
    for (let at = log.stepsFrom[index] as number; at < (log.stepsFrom[index + 1] as number); at++) {
      this.#findings.work++;
      const step = log.steps[at] as number;
      const operation = steps.operation.at(step);
      if (operations.outcome[operation] !== "ok") continue;
      thereFrom = Math.min(thereFrom, operations.endEvent.at(operation));
      const row = steps.facts.at(step);
      if (row !== NONE && Number.isNaN(this.#times[index])) this.#times[index] = facts.timestampMs.at(row);
    }
    this.#thereFrom[index] = thereFrom;
  }

  judge(step: number): void {
    const { history } = this.#evidence;
    const { steps, operations, facts } = history;
    const operation = steps.operation.at(step);
    if (operations.outcome[operation] !== "ok") return;
    const askedMs = facts.timestampMs.at(steps.facts.at(step));
    const answer = steps.offset.at(step);
    const index = answer === NONE ? NONE : this.#evidence.indexFrom(this.#partition, answer);
    const { offsets } = this.#evidence.log(this.#partition);
    if (index !== NONE && offsets[index] === answer && (this.#times[index] as number) < askedMs) {
      this.#tell(step, `that one is of ${this.#times[index]} ms`, [answer]);
      return;
    }
    const first = this.#firstFrom(askedMs);
    if (first === offsets.length || (this.#thereFrom[first] as number) > operations.beginEvent.at(operation))
      return;
    if (this.#startAsked < operations.endEvent.at(operation)) return;
    const offset = offsets[first] as number;
    if (answer !== NONE && answer <= offset) return;
    this.#tell(step, `the one at ${offset} is of ${this.#times[first]} ms`, [answer, offset]);
  }

  /** The first index at which `#latest` reaches a time. */
  #firstFrom(timeMs: number): number {
    let low = 0;
    let high = this.#latest.length;
    while (low < high) {
      this.#findings.work++;
      const middle = (low + high) >> 1;
      if ((this.#latest[middle] as number) < timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #tell(step: number, why: string, offsets: readonly number[]): void {
    const findings = this.#findings;
    findings.add("wrong-lookup", "bug", () => {
      const { steps, facts } = this.#evidence.history;
      const operation = steps.operation.at(step);
      const askedMs = facts.timestampMs.at(steps.facts.at(step));
      const answer = steps.offset.at(step);
      return {
        sentence: `Asked for the first record of ${findings.partition(this.#partition)} at or after ${askedMs} ms, the broker told ${findings.by(operation)} ${answer === NONE ? "that there is none" : `offset ${answer}`}, but ${why}.`,
        partition: this.#partition,
        offsets,
        operations: [operation],
      };
    });
  }
}
