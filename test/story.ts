/**
 * A history told in a few words, for tests of the checker: each call is one operation, begun and ended at
 * once, unless it is begun with `open`. Time goes on by one millisecond with each event.
 */
import { type Report, check } from "../src/audit/check.ts";
import { History } from "../src/audit/history.ts";
import type { Operation } from "../src/audit/operation.ts";
import type { OperationKind, Outcome, PartitionNumber, RecordFacts } from "../src/audit/words.ts";

/** Offset and value of each record. */
export type Records = readonly (readonly [offset: number, value: string, facts?: RecordFacts])[];

export interface Reading {
  readonly outcome?: Outcome;
  readonly broker?: string;
  readonly isEnd?: boolean;
}

export class Story {
  readonly history: History;
  readonly orders: PartitionNumber;
  readonly other: PartitionNumber;
  #nowMs = 0;

  constructor(history = new History()) {
    this.history = history;
    this.orders = this.history.partition("orders", 0);
    this.other = this.history.partition("orders", 1);
  }

  open(client: string, kind: OperationKind): Operation {
    return this.history.client(client).begin(kind, this.#nowMs++);
  }

  close(operation: Operation, outcome: Outcome = "ok"): void {
    operation[outcome](this.#nowMs++);
  }

  /** One operation that sends all of them; offset −1: the broker did not say where. */
  send(client: string, partition: PartitionNumber, records: Records, outcome: Outcome = "ok"): void {
    const operation = this.open(client, "send");
    for (const [offset, value, facts] of records) {
      const step = operation.sends(partition, value, facts);
      if (offset >= 0) operation.stored(step, offset);
    }
    this.close(operation, outcome);
  }

  poll(client: string, partition: PartitionNumber, records: Records, reading: Reading = {}): void {
    const operation = this.open(client, "poll");
    if (reading.broker !== undefined) operation.through(reading.broker);
    for (const [offset, value, facts] of records) operation.polled(partition, offset, value, facts);
    if (reading.isEnd === true) operation.reachedEnd(partition);
    this.close(operation, reading.outcome ?? "ok");
  }

  take(client: string, kind: "assign" | "subscribe", partition: PartitionNumber, from?: number): void {
    const operation = this.open(client, kind);
    operation.takes(partition, from);
    this.close(operation);
  }

  /** From its start to its end, by a reader whose jumps its group is to blame for. */
  readAll(client: string, partition: PartitionNumber, records: Records, reading: Reading = {}): void {
    this.take(client, "subscribe", partition, 0);
    this.poll(client, partition, records, { ...reading, isEnd: true });
  }

  check(): Report {
    return check(this.history);
  }

  /** The kinds that were found, sorted. */
  found(): { readonly bugs: readonly string[]; readonly allowed: readonly string[] } {
    const { bugs, allowed } = this.check();
    return { bugs: bugs.map(({ kind }) => kind).sort(), allowed: allowed.map(({ kind }) => kind).sort() };
  }
}
