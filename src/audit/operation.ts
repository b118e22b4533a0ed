/**
 * One operation while it is told: its steps, and how it ended. Refuses steps that its kind does not have,
 * and a second end; adds to the columns of its history and holds nothing itself.
 */
import { assert } from "../base/assert.ts";
import type { History } from "./history.ts";
import {
  type GroupNumber,
  NONE,
  type OperationKind,
  type Outcome,
  type PartitionNumber,
  type RecordFacts,
  StepKind,
  type Watermarks,
} from "./words.ts";

const stepsOf: { readonly [kind in OperationKind]: readonly StepKind[] } = {
  send: [StepKind.send],
  poll: [StepKind.poll, StepKind.end, StepKind.rebalanced, StepKind.glimpse],
  transaction: [
    StepKind.send,
    StepKind.poll,
    StepKind.end,
    StepKind.rebalanced,
    StepKind.commit,
    StepKind.handled,
  ],
  init: [],
  assign: [StepKind.take],
  subscribe: [StepKind.take],
  crash: [],
  join: [StepKind.own],
  handle: [StepKind.handled, StepKind.end],
  commit: [StepKind.commit],
  "fetch-offsets": [StepKind.committed],
  reset: [StepKind.reset],
  look: [StepKind.lookup],
};

export class Operation {
  readonly #history: History;
  readonly number: number;

  constructor(history: History, number: number) {
    this.#history = history;
    this.number = number;
  }

  // ── Around the steps ──

  /** For join, handle, commit, fetch-offsets, reset, and a transaction that commits. Generation (or member epoch) −1: not a member's. */
  inGroup(group: GroupNumber, generation = NONE): this {
    this.#history.operations.group.set(this.number, group);
    this.#history.operations.generation.set(this.number, generation);
    return this;
  }

  /** For init: of which transactional id it is the one producer from now on. */
  takesOver(transactionalId: string): this {
    const { operations, transactionalIds } = this.#history;
    assert(operations.kind[this.number] === "init", "a transactional id is taken over by an init");
    operations.transactionalId.set(this.number, transactionalIds.number(transactionalId));
    return this;
  }

  /** Which broker answered: what two brokers say of one partition is compared. */
  through(broker: string): this {
    this.#history.operations.broker.set(this.number, this.#history.brokers.number(broker));
    return this;
  }

  ok(atMs: number): void {
    this.#end("ok", atMs);
  }
  fail(atMs: number): void {
    this.#end("fail", atMs);
  }
  unknown(atMs: number): void {
    this.#end("unknown", atMs);
  }

  // ── Writing ──

  /** An attempt; every value is sent once. Returns the step, for `stored`. */
  sends(partition: PartitionNumber, value: string, facts?: RecordFacts): number {
    const number = this.#history.value(value);
    assert(this.#history.writes.at(number) === NONE, "every value of a history is sent once");
    const step = this.#step(StepKind.send, partition, NONE, number, facts);
    this.#history.writes.set(number, step);
    return step;
  }

  /** The broker said where. */
  stored(step: number, offset: number): void {
    assert(this.#history.steps.kind.at(step) === StepKind.send, "what is stored was sent");
    this.#history.steps.offset.set(step, offset);
  }

  // ── Reading ──

  polled(partition: PartitionNumber, offset: number, value: string, facts?: RecordFacts): void {
    this.#step(StepKind.poll, partition, offset, this.#history.value(value), facts);
  }

  /** As `polled`, but by a reader who asks for records of open and aborted transactions too. */
  glimpsed(partition: PartitionNumber, offset: number, value: string, facts?: RecordFacts): void {
    this.#step(StepKind.glimpse, partition, offset, this.#history.value(value), facts);
  }

  /**
   * The reader has seen that nothing follows, when all faults were healed. In a `handle`: the group has
   * handled all there is.
   */
  reachedEnd(partition: PartitionNumber): void {
    this.#step(StepKind.end, partition);
  }

  /** The group took the partition away or gave it within this operation: its position may jump. */
  rebalanced(partition: PartitionNumber): void {
    this.#step(StepKind.rebalanced, partition);
  }

  /** Of assign and subscribe: reads it from now on, from `from` on where that was set, else from where it was. */
  takes(partition: PartitionNumber, from = NONE): void {
    this.#step(StepKind.take, partition, from);
  }

  // ── What a broker says of a partition; in an operation of any kind ──

  watermarks(partition: PartitionNumber, { logStart, lastStable, highWatermark, logEnd }: Watermarks): void {
    if (logStart !== undefined) this.#say(StepKind.logStart, partition, logStart);
    if (lastStable !== undefined) this.#say(StepKind.lastStable, partition, lastStable);
    if (highWatermark !== undefined) this.#say(StepKind.highWatermark, partition, highWatermark);
    if (logEnd !== undefined) this.#say(StepKind.logEnd, partition, logEnd);
  }

  /** The first record at or after a time is said to be at this offset; −1: there is none. */
  lookedUp(partition: PartitionNumber, timestampMs: number, offset: number): void {
    this.#step(StepKind.lookup, partition, offset, NONE, { timestampMs });
  }

  // ── Groups ──

  /** Of a join: the partition is the member's in this generation. */
  owns(partition: PartitionNumber): void {
    this.#step(StepKind.own, partition);
  }

  /** Of a transaction: it read this record before, and what it made of it is in the transaction. */
  handled(partition: PartitionNumber, offset: number, value: string): void {
    this.#step(StepKind.handled, partition, offset, this.#history.value(value));
  }

  /** `offset` is the next to be read, as Kafka has it. */
  commits(partition: PartitionNumber, offset: number): void {
    this.#step(StepKind.commit, partition, offset);
  }

  /** What the broker says is committed; −1: nothing. */
  committed(partition: PartitionNumber, offset: number): void {
    this.#step(StepKind.committed, partition, offset);
  }

  resets(partition: PartitionNumber, offset: number): void {
    this.#step(StepKind.reset, partition, offset);
  }

  // ── Columns ──

  #step(
    kind: StepKind,
    partition: PartitionNumber,
    offset = NONE,
    value = NONE,
    facts?: RecordFacts,
  ): number {
    const operation = this.#history.operations.kind[this.number] as OperationKind;
    assert(stepsOf[operation].includes(kind), `an operation "${operation}" has no such step`);
    return this.#add(kind, partition, offset, value, facts);
  }

  #say(kind: StepKind, partition: PartitionNumber, offset: number): void {
    this.#add(kind, partition, offset, NONE);
  }

  #add(
    kind: StepKind,
    partition: PartitionNumber,
    offset: number,
    value: number,
    facts?: RecordFacts,
  ): number {
    const { steps, operations } = this.#history;
    assert(operations.endEvent.at(this.number) === NONE, "an operation that has ended has no further step");
    const step = steps.kind.push(kind);
    steps.operation.push(this.number);
    steps.partition.push(partition);
    steps.value.push(value);
    steps.offset.push(offset);
    steps.next.push(NONE);
    steps.facts.push(facts === undefined ? NONE : this.#factsRow(facts));
    const last = operations.lastStep.at(this.number);
    if (last === NONE) operations.firstStep.set(this.number, step);
    else steps.next.set(last, step);
    operations.lastStep.set(this.number, step);
    return step;
  }

  #factsRow({ payload, key, headers, timestampMs, isTombstone = false }: RecordFacts): number {
    const { facts, keys } = this.#history;
    facts.payload.push(payload ?? Number.NaN);
    facts.key.push(key === undefined ? NONE : keys.key(key));
    facts.headers.push(headers ?? Number.NaN);
    facts.isTombstone.push(isTombstone ? 1 : 0);
    return facts.timestampMs.push(timestampMs ?? Number.NaN);
  }

  #end(outcome: Outcome, atMs: number): void {
    const { operations, events } = this.#history;
    assert(operations.endEvent.at(this.number) === NONE, "an operation ends once");
    operations.outcome[this.number] = outcome;
    operations.endEvent.set(this.number, events.push(this.number * 2 + 1));
    operations.endMs.set(this.number, atMs);
    operations.endStep.set(this.number, this.#history.steps.kind.length);
  }
}
