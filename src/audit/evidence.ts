/**
 * What follows from a history before anything is judged: which writes surely took effect, which values
 * somebody read, and for each partition the order of its log as all clients together saw it. Takes every
 * offset that anybody was shown, also in an operation that failed: what is shown must be true. Linear in
 * the length of the history.
 */
import type { History } from "./history.ts";
import { sortedBy } from "./radix.ts";
import { NONE, StepKind } from "./words.ts";

/** The order of one partition: known offsets, ascending and without holes (markers take offsets too). */
export interface PartitionLog {
  /** By index. */
  readonly offsets: Float64Array;
  /** One value of each offset; where it has several, the one that belongs there and was told first. */
  readonly values: Int32Array;
  /** Where in `steps` the steps that tell of an index begin; one more than there are indexes. */
  readonly stepsFrom: Int32Array;
  readonly steps: Int32Array;
  /** How many indexes below this one may be gone by retention or compaction; one more than there are indexes. */
  readonly excusedBelow: Int32Array;
  /** The highest log start that anybody was told. */
  readonly logStart: number;
  /** The last event at which somebody began to ask for it and was told; infinite where it cannot move. */
  readonly startAsked: number;
}

export class Evidence {
  readonly history: History;
  /** By operation: it is ok, or it is a transaction of unknown outcome of which somebody read a part. */
  readonly tookEffect: Uint8Array;
  /** By operation: the event at which an ok operation had read something of it; infinite: none ever did. */
  readonly firstSeen: Float64Array;
  /** By value: an ok operation read it where it belongs. */
  readonly isRead: Uint8Array;
  /** By value, in the log of the partition to which it was sent; NONE: its place is not known. */
  readonly firstIndex: Int32Array;
  readonly lastIndex: Int32Array;
  /** By step that reads or writes a record: its index in the log of its partition. */
  readonly indexOfStep: Int32Array;
  readonly logs: readonly PartitionLog[];
  work = 0;

  constructor(history: History) {
    this.history = history;
    const values = history.values.length;
    this.isRead = new Uint8Array(values);
    this.firstIndex = new Int32Array(values).fill(NONE);
    this.lastIndex = new Int32Array(values).fill(NONE);
    this.indexOfStep = new Int32Array(history.steps.kind.length).fill(NONE);
    this.tookEffect = new Uint8Array(history.operations.kind.length);
    this.firstSeen = new Float64Array(history.operations.kind.length).fill(Number.POSITIVE_INFINITY);
    this.#findReads();
    this.#findEffects();
    this.logs = this.#findOrders();
  }

  /** The partition to which a value was sent; NONE: nobody sent it. */
  home(value: number): number {
    const step = this.history.writes.at(value);
    return step === NONE ? NONE : this.history.steps.partition.at(step);
  }

  /** The operation that sent a value; NONE: nobody. */
  writer(value: number): number {
    const step = this.history.writes.at(value);
    return step === NONE ? NONE : this.history.steps.operation.at(step);
  }

  /** Whether what this step sent surely is in the log, or was. */
  isWritten(step: number): boolean {
    const { steps, operations } = this.history;
    const operation = steps.operation.at(step);
    if (this.tookEffect[operation] === 1) return true;
    // Outside a transaction each record stands for itself.
    if (operations.kind[operation] === "transaction" || operations.outcome[operation] === "fail")
      return false;
    return steps.offset.at(step) !== NONE || this.isRead[steps.value.at(step)] === 1;
  }

  log(partition: number): PartitionLog {
    return this.logs[partition] as PartitionLog;
  }

  offsetOf(partition: number, index: number): number {
    return this.log(partition).offsets[index] as number;
  }

  valueAt(partition: number, index: number): number {
    return this.log(partition).values[index] as number;
  }

  /** The first index at or after an offset; the number of indexes if there is none. */
  indexFrom(partition: number, offset: number): number {
    const { offsets } = this.log(partition);
    let low = 0;
    let high = offsets.length;
    while (low < high) {
      this.work++;
      const middle = (low + high) >> 1;
      if ((offsets[middle] as number) < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** How many of the indexes in [from, end) must be there, as nothing excuses that they are gone. */
  requiredIn(partition: number, from: number, end: number): number {
    const { excusedBelow } = this.log(partition);
    return end <= from ? 0 : end - from - ((excusedBelow[end] as number) - (excusedBelow[from] as number));
  }

  isExcused(partition: number, index: number): boolean {
    const { excusedBelow } = this.log(partition);
    return excusedBelow[index + 1] !== excusedBelow[index];
  }

  /** The first required indexes in [from, end), at most `max`: for examples, as it walks. */
  listRequired(partition: number, from: number, end: number, max: number): readonly number[] {
    const found: number[] = [];
    for (let index = from; index < end && found.length < max; index++) {
      this.work++;
      if (!this.isExcused(partition, index)) found.push(index);
    }
    return found;
  }

  // ── How it is found ──

  #findReads(): void {
    const { steps, operations } = this.history;
    for (let step = 0; step < steps.kind.length; step++) {
      this.work++;
      if (steps.kind.at(step) !== StepKind.poll) continue;
      if (operations.outcome[steps.operation.at(step)] !== "ok") continue;
      const value = steps.value.at(step);
      const writer = this.writer(value);
      if (writer === NONE) continue;
      const seen = operations.endEvent.at(steps.operation.at(step));
      this.firstSeen[writer] = Math.min(this.firstSeen[writer] as number, seen);
      if (this.home(value) === steps.partition.at(step)) this.isRead[value] = 1;
    }
  }

  #findEffects(): void {
    const { operations, steps } = this.history;
    for (let operation = 0; operation < operations.kind.length; operation++) {
      this.work++;
      if (operations.outcome[operation] === "ok") this.tookEffect[operation] = 1;
      if (operations.outcome[operation] !== "unknown" || operations.kind[operation] !== "transaction")
        continue;
      for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
        this.work++;
        const isSeen = steps.kind.at(step) === StepKind.send && this.isRead[steps.value.at(step)] === 1;
        if (isSeen) this.tookEffect[operation] = 1;
      }
    }
  }

  #findOrders(): readonly PartitionLog[] {
    const { steps, operations, partitions } = this.history;
    const counts = new Int32Array(partitions.length);
    const starts = Array.from({ length: partitions.length }, () => ({ logStart: 0, startAsked: NONE }));
    const tells = (step: number): boolean => {
      const kind = steps.kind.at(step);
      if (kind === StepKind.poll) return true;
      return kind === StepKind.send && steps.offset.at(step) !== NONE && this.isWritten(step);
    };
    for (let step = 0; step < steps.kind.length; step++) {
      this.work++;
      const partition = steps.partition.at(step);
      if (tells(step)) (counts[partition] as number)++;
      else if (steps.kind.at(step) === StepKind.logStart) {
        const start = starts[partition] as { logStart: number; startAsked: number };
        start.logStart = Math.max(start.logStart, steps.offset.at(step));
        start.startAsked = Math.max(start.startAsked, operations.beginEvent.at(steps.operation.at(step)));
      }
    }
    const told = Array.from(counts, (count) => new Int32Array(count));
    counts.fill(0);
    for (let step = 0; step < steps.kind.length; step++) {
      this.work++;
      if (!tells(step)) continue;
      const partition = steps.partition.at(step);
      (told[partition] as Int32Array)[(counts[partition] as number)++] = step;
    }
    const keySeen = new Int32Array(this.history.keys.length).fill(NONE);
    return told.map((each, partition) => {
      const { logStart, startAsked } = starts[partition] as { logStart: number; startAsked: number };
      const mayDelete = this.history.cleanupOf(partition).includes("delete");
      const order = this.#order(partition, each, logStart, keySeen);
      return { ...order, logStart, startAsked: mayDelete ? startAsked : Number.POSITIVE_INFINITY };
    });
  }

  #order(
    partition: number,
    told: Int32Array,
    logStart: number,
    keySeen: Int32Array,
  ): Omit<PartitionLog, "logStart" | "startAsked"> {
    const { offset: offsetOf, value: valueOf } = this.history.steps;
    const steps = sortedBy(told, (step) => offsetOf.at(step), this);
    const offsets: number[] = [];
    const values: number[] = [];
    const stepsFrom: number[] = [];
    for (let at = 0; at < steps.length; at++) {
      this.work++;
      const step = steps[at] as number;
      const value = valueOf.at(step);
      if (offsets.length === 0 || offsets.at(-1) !== offsetOf.at(step)) {
        offsets.push(offsetOf.at(step));
        values.push(value);
        stepsFrom.push(at);
      }
      const index = offsets.length - 1;
      this.indexOfStep[step] = index;
      if (this.home(value) !== partition) continue;
      const chosen = values[index] as number;
      if (this.home(chosen) !== partition || value < chosen) values[index] = value;
      if (this.firstIndex[value] === NONE) this.firstIndex[value] = index;
      this.lastIndex[value] = index;
    }
    stepsFrom.push(steps.length);
    return {
      offsets: Float64Array.from(offsets),
      values: Int32Array.from(values),
      stepsFrom: Int32Array.from(stepsFrom),
      steps,
      excusedBelow: this.#excuses(partition, { offsets, values, logStart, keySeen }),
    };
  }

  #excuses(
    partition: number,
    log: {
      readonly offsets: readonly number[];
      readonly values: readonly number[];
      readonly logStart: number;
      /** By key: the last partition in which it was seen. Filled here. */
      readonly keySeen: Int32Array;
    },
  ): Int32Array {
    const cleanup = this.history.cleanupOf(partition);
    const mayDelete = cleanup.includes("delete");
    const mayCompact = cleanup.includes("compact");
    const excusedBelow = new Int32Array(log.offsets.length + 1);
    for (let index = log.offsets.length - 1; index >= 0; index--) {
      this.work++;
      const isDeleted = mayDelete && (log.offsets[index] as number) < log.logStart;
      const facts = mayCompact ? this.#factsOf(log.values[index] as number) : NONE;
      const key = facts === NONE ? NONE : this.#keyIn(facts);
      const isSuperseded = key !== NONE && log.keySeen[key] === partition;
      const isTombstone = key !== NONE && this.history.facts.isTombstone.at(facts) === 1;
      if (key !== NONE) log.keySeen[key] = partition;
      excusedBelow[index + 1] = isDeleted || isSuperseded || isTombstone ? 1 : 0;
    }
    for (let index = 0; index < log.offsets.length; index++) {
      this.work++;
      (excusedBelow[index + 1] as number) += excusedBelow[index] as number;
    }
    return excusedBelow;
  }

  /** The row of what the writer of a value told of it. */
  #factsOf(value: number): number {
    const { writes, steps } = this.history;
    const step = writes.at(value);
    return step === NONE ? NONE : steps.facts.at(step);
  }

  #keyIn(row: number): number {
    const { facts, keys } = this.history;
    const key = facts.key.at(row);
    return key === NONE || keys.isNull(key) ? NONE : key;
  }
}
