/**
 * How each client went through each partition: its runs, unbroken from where it was told to begin, or from
 * its first record, up to its newest; and on the way, where its order was wrong: records skipped, or read
 * going back, within one poll and from one to the next. A run says which records its reader passed: what
 * lies in it and was not shown to anybody is lost. Linear in the length of the history.
 */
import { IntColumn, FloatColumn } from "./columns.ts";
import type { Evidence } from "./evidence.ts";
import { type Findings, listedMax } from "./findings.ts";
import { NONE, StepKind } from "./words.ts";

/** Where a client stands in a partition. Rows of columns, as there may be many. */
class Positions {
  readonly #rows = new Map<number, number>();
  readonly #partitions: number;
  readonly client = new IntColumn();
  readonly partition = new IntColumn();
  /** Index of the newest record that an ok operation read; NONE − 1: not known. */
  readonly index = new IntColumn();
  /** The operation that read it, or that set the position. */
  readonly operation = new IntColumn();
  readonly run = new IntColumn();
  /** Within one operation of any outcome: which, and the index that it read last. */
  readonly innerOperation = new IntColumn();
  readonly innerIndex = new IntColumn();
  /** The operation in which the group moved the partition: nothing is asked of the order in it. */
  readonly exempt = new IntColumn();
  /** The assignment that holds the partition. */
  readonly assignment = new IntColumn();

  constructor(partitions: number) {
    this.#partitions = partitions;
  }

  row(client: number, partition: number): number {
    const name = client * this.#partitions + partition;
    const known = this.#rows.get(name);
    if (known !== undefined) return known;
    const row = this.client.push(client);
    this.#rows.set(name, row);
    this.partition.push(partition);
    this.index.push(unknown);
    this.operation.push(NONE);
    this.run.push(NONE);
    this.innerOperation.push(NONE);
    this.innerIndex.push(unknown);
    this.exempt.push(NONE);
    this.assignment.push(NONE);
    return row;
  }
}

/** No index; one below the first is −1, so this is −2. */
const unknown = NONE - 1;

export class Readings {
  /** By run. */
  readonly runs = {
    partition: new IntColumn(),
    client: new IntColumn(),
    broker: new IntColumn(),
    /** The first offset that it passed, and the last; `high` is `low` − 1 while nothing was read. */
    low: new FloatColumn(),
    high: new FloatColumn(),
    /** Whether `low` is where it was told to begin, so that nothing before its first record is excused. */
    isFromKnown: new IntColumn(),
    /** The run with which this one began, itself or one through another broker. */
    head: new IntColumn(),
    /** The operation that came to the end of the partition; NONE. */
    end: new IntColumn(),
  } as const;
  /** By step: the run to which a record that was read belongs; NONE outside ok operations. */
  readonly runOfStep: Int32Array;
  readonly #evidence: Evidence;
  readonly #findings: Findings;
  readonly #positions: Positions;
  /** By client: whether its partitions are a group's choice. */
  readonly #isSubscribed: Uint8Array;
  /** By client: rows of the positions that it holds. */
  readonly #held: number[][];

  constructor(evidence: Evidence, findings: Findings) {
    const { history } = evidence;
    this.#evidence = evidence;
    this.#findings = findings;
    this.#positions = new Positions(history.partitions.length);
    this.#isSubscribed = new Uint8Array(history.clients.length);
    this.#held = Array.from({ length: history.clients.length }, () => []);
    this.runOfStep = new Int32Array(history.steps.kind.length).fill(NONE);
    for (let operation = 0; operation < history.operations.kind.length; operation++) {
      findings.work++;
      const isOk = history.operations.outcome[operation] === "ok";
      switch (history.operations.kind[operation]) {
        case "poll":
        case "transaction":
          this.#poll(operation, isOk);
          break;
        case "assign":
        case "subscribe":
          if (isOk) this.#assign(operation);
          break;
        case "crash":
          this.#forget(operation, NONE);
          break;
        default:
      }
    }
  }

  // ── Positions ──

  #assign(operation: number): void {
    const { operations, steps } = this.#evidence.history;
    const client = operations.client.at(operation);
    const positions = this.#positions;
    this.#isSubscribed[client] = operations.kind[operation] === "subscribe" ? 1 : 0;
    for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
      this.#findings.work++;
      if (steps.kind.at(step) !== StepKind.take) continue;
      const partition = steps.partition.at(step);
      const row = this.#hold(client, partition);
      positions.assignment.set(row, operation);
      const from = steps.offset.at(step);
      if (from === NONE) continue;
      positions.run.set(row, this.#beginRun({ operation, partition, low: from, isFromKnown: true }));
      positions.index.set(row, this.#evidence.indexFrom(partition, from) - 1);
      positions.operation.set(row, operation);
    }
    this.#forget(operation, operation);
  }

  /** Every position of the client but those of the assignment `kept`. */
  #forget(operation: number, kept: number): void {
    const client = this.#evidence.history.operations.client.at(operation);
    const held = this.#held[client] as number[];
    this.#held[client] = held.filter((row) => {
      this.#findings.work++;
      if (kept !== NONE && this.#positions.assignment.at(row) === kept) return true;
      this.#lose(row);
      this.#positions.assignment.set(row, NONE);
      return false;
    });
  }

  #lose(row: number): void {
    this.#positions.index.set(row, unknown);
    this.#positions.run.set(row, NONE);
  }

  #hold(client: number, partition: number): number {
    const positions = this.#positions;
    const row = positions.row(client, partition);
    const isHeld = positions.assignment.at(row) !== NONE || positions.run.at(row) !== NONE;
    if (!isHeld) (this.#held[client] as number[]).push(row);
    return row;
  }

  #beginRun(run: {
    readonly operation: number;
    readonly partition: number;
    readonly low: number;
    readonly isFromKnown: boolean;
    readonly head?: number;
  }): number {
    const { operations } = this.#evidence.history;
    this.runs.partition.push(run.partition);
    this.runs.client.push(operations.client.at(run.operation));
    this.runs.broker.push(operations.broker.at(run.operation));
    this.runs.low.push(run.low);
    this.runs.high.push(run.low - 1);
    this.runs.isFromKnown.push(run.isFromKnown ? 1 : 0);
    this.runs.head.push(run.head ?? this.runs.head.length);
    return this.runs.end.push(NONE);
  }

  // ── Polls ──

  #poll(operation: number, isOk: boolean): void {
    const { operations, steps } = this.#evidence.history;
    const client = operations.client.at(operation);
    for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
      this.#findings.work++;
      if (steps.kind.at(step) !== StepKind.rebalanced) continue;
      const row = this.#positions.row(client, steps.partition.at(step));
      this.#positions.exempt.set(row, operation);
      this.#lose(row);
    }
    for (let step = operations.firstStep.at(operation); step !== NONE; step = steps.next.at(step)) {
      this.#findings.work++;
      const kind = steps.kind.at(step);
      if (kind === StepKind.poll) this.#read(step, isOk);
      else if (kind === StepKind.end && isOk) this.#end(step);
    }
  }

  #read(step: number, isOk: boolean): void {
    const { operations, steps } = this.#evidence.history;
    const operation = steps.operation.at(step);
    const partition = steps.partition.at(step);
    const client = operations.client.at(operation);
    const positions = this.#positions;
    const row = isOk ? this.#hold(client, partition) : positions.row(client, partition);
    const index = this.#evidence.indexOfStep[step] as number;
    const isFirst = positions.innerOperation.at(row) !== operation;
    const before = isFirst ? (isOk ? positions.index.at(row) : unknown) : positions.innerIndex.at(row);
    const isExempt = positions.exempt.at(row) === operation;
    if (before !== unknown && !isExempt) this.#compare(step, before, index, isFirst);
    positions.innerOperation.set(row, operation);
    positions.innerIndex.set(row, index);
    if (isOk) this.#goOn(row, step, index <= before || isExempt);
  }

  /** Takes the position on; `isJump`: what lies between was not passed. */
  #goOn(row: number, step: number, isJump: boolean): void {
    const { operations, steps } = this.#evidence.history;
    const operation = steps.operation.at(step);
    const partition = steps.partition.at(step);
    const offset = steps.offset.at(step);
    const positions = this.#positions;
    let run = positions.run.at(row);
    if (run === NONE || isJump)
      run = this.#beginRun({ operation, partition, low: offset, isFromKnown: false });
    else if (this.runs.broker.at(run) !== operations.broker.at(operation)) {
      const low = this.runs.high.at(run) + 1;
      const head = this.runs.head.at(run);
      run = this.#beginRun({ operation, partition, low, isFromKnown: true, head });
    }
    this.runs.high.set(run, offset);
    this.runOfStep[step] = run;
    positions.run.set(row, run);
    positions.index.set(row, this.#evidence.indexOfStep[step] as number);
    positions.operation.set(row, operation);
  }

  #end(step: number): void {
    const { operations, steps } = this.#evidence.history;
    const operation = steps.operation.at(step);
    const row = this.#positions.row(operations.client.at(operation), steps.partition.at(step));
    const run = this.#positions.run.at(row);
    // Who knows neither where it began nor any record says nothing by being at the end.
    if (run === NONE) return;
    this.runs.end.set(run, operation);
  }

  // ── Judging two records that were read one after the other ──

  #compare(step: number, before: number, index: number, isFirst: boolean): void {
    const { operations, steps } = this.#evidence.history;
    const operation = steps.operation.at(step);
    const partition = steps.partition.at(step);
    const client = operations.client.at(operation);
    const findings = this.#findings;
    const verdict = isFirst && this.#isSubscribed[client] === 1 ? "allowed" : "bug";
    const from = isFirst ? this.#positions.operation.at(this.#positions.row(client, partition)) : operation;
    const involved = from === operation ? [operation] : [from, operation];
    if (index <= before) {
      findings.add(isFirst ? "nonmonotonic-poll" : "int-nonmonotonic-poll", verdict, () => ({
        sentence: `${findings.by(operation)} read ${findings.place(partition, steps.offset.at(step))}, which is not after ${this.#at(partition, before)}, where ${isFirst ? findings.by(from) : "the same operation"} already was.`,
        partition,
        offsets: [steps.offset.at(step)],
        values: [steps.value.at(step)],
        operations: involved,
      }));
      return;
    }
    const skipped = this.#evidence.requiredIn(partition, before + 1, index);
    if (skipped === 0) return;
    findings.add(isFirst ? "poll-skip" : "int-poll-skip", verdict, () => {
      const indexes = this.#evidence.listRequired(partition, before + 1, index, listedMax);
      const values = indexes.map((each) => this.#evidence.valueAt(partition, each));
      const offsets = indexes.map((each) => this.#evidence.offsetOf(partition, each));
      return {
        sentence: `${findings.by(operation)} went on reading ${findings.place(partition, steps.offset.at(step))} after ${this.#at(partition, before)}, and skipped ${findings.values(values, skipped)} at ${offsets.join(", ")}${skipped > offsets.length ? ", …" : ""}.`,
        partition,
        offsets,
        values,
        operations: involved,
      };
    });
  }

  #at(partition: number, index: number): string {
    return index < 0 ? "its beginning" : `offset ${this.#evidence.offsetOf(partition, index)}`;
  }
}
