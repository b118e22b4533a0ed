/**
 * What the clients of a broker did and saw: their operations, each begun at one moment and ended
 * (ok, failed, or unknown) at another, with the records, offsets and claims in it. Events are told in the
 * order in which they happened; that order, not the times, is what the checks reason with. A value is sent
 * once, so it names its write; what it carried is kept as fingerprints. Kept in columns: 32 bytes for a
 * step, 32 more where it tells what its record carried, 84 for an operation, and the names of values once.
 * A history judges nothing: that is `check.ts`.
 */
import { assert } from "../base/assert.ts";
import { FloatColumn, IntColumn, Keys, Names } from "./columns.ts";
import { Operation } from "./operation.ts";
import {
  type Cleanup,
  type GroupNumber,
  type GroupOptions,
  type GroupProtocol,
  NONE,
  type OperationKind,
  type Outcome,
  type PartitionNumber,
  type ClientOptions,
  type HistoryOptions,
} from "./words.ts";

export class History {
  readonly clients = new Names();
  readonly partitions = new Names();
  readonly groups = new Names();
  readonly values = new Names();
  readonly keys = new Keys();
  readonly brokers = new Names();
  readonly transactionalIds = new Names();
  readonly openMsMax: number;

  /** Operation × 2, + 1 where it ended. In the order in which things happened. */
  readonly events = new IntColumn();
  /** By operation, in the order in which they began. */
  readonly operations = {
    kind: [] as OperationKind[],
    client: new IntColumn(),
    outcome: [] as Outcome[],
    /** Rows of `events`; `endEvent` is NONE while it is not ended. */
    beginEvent: new IntColumn(),
    endEvent: new IntColumn(),
    beginMs: new FloatColumn(),
    endMs: new FloatColumn(),
    firstStep: new IntColumn(),
    lastStep: new IntColumn(),
    group: new IntColumn(),
    generation: new IntColumn(),
    broker: new IntColumn(),
    transactionalId: new IntColumn(),
    /** How many steps had been told when it began, and when it ended. */
    beginStep: new IntColumn(),
    endStep: new IntColumn(),
  } as const;
  /** By step, in the order in which they were told. */
  readonly steps = {
    kind: new IntColumn(),
    operation: new IntColumn(),
    partition: new IntColumn(),
    /** NONE: not known, or no record. */
    value: new IntColumn(),
    offset: new FloatColumn(),
    /** The next step of the same operation. */
    next: new IntColumn(),
    /** A row of `facts`. */
    facts: new IntColumn(),
  } as const;
  readonly facts = {
    payload: new FloatColumn(),
    key: new IntColumn(),
    headers: new FloatColumn(),
    timestampMs: new FloatColumn(),
    /** 0 or 1. */
    isTombstone: new IntColumn(),
  } as const;
  /** By value, the step that sent it; NONE for a value that was only read. */
  readonly writes = new IntColumn();
  readonly #cleanup: Cleanup[] = [];
  readonly #idempotent: boolean[] = [];
  readonly #protocols: GroupProtocol[] = [];

  constructor({ openMsMax = Number.POSITIVE_INFINITY }: HistoryOptions = {}) {
    this.openMsMax = openMsMax;
  }

  /** The same name and index give the same number. What may leave it is said when it is first named. */
  partition(topic: string, index: number, cleanup: Cleanup = "none"): PartitionNumber {
    const number = this.partitions.number(`${topic}/${index}`);
    this.#cleanup[number] ??= cleanup;
    return number as PartitionNumber;
  }

  /** A group that was deleted and begun again is another group, and needs another name. */
  group(name: string, options: GroupOptions = {}): GroupNumber {
    const number = this.groups.number(name);
    this.#protocols[number] ??= options.protocol ?? "classic";
    return number as GroupNumber;
  }

  /** A client, told apart from all others by its name. A static member of a group is named by its instance id. */
  client(name: string, options: ClientOptions = {}): Client {
    const number = this.clients.number(name);
    this.#idempotent[number] ??= options.idempotent ?? true;
    return new Client(this, number);
  }

  cleanupOf(partition: number): Cleanup {
    return this.#cleanup[partition] as Cleanup;
  }
  isIdempotent(client: number): boolean {
    return this.#idempotent[client] as boolean;
  }
  protocolOf(group: number): GroupProtocol {
    return this.#protocols[group] as GroupProtocol;
  }

  /** Of the value: it is NONE until somebody sent or read it. */
  value(name: string): number {
    const number = this.values.number(name);
    if (number === this.writes.length) this.writes.push(NONE);
    return number;
  }
}

/** One client, as its history is told. */
export class Client {
  readonly #history: History;
  readonly #number: number;

  constructor(history: History, number: number) {
    this.#history = history;
    this.#number = number;
  }

  /** Operations of one client may overlap; their order is that of their beginnings. */
  begin(kind: OperationKind, atMs: number): Operation {
    const { operations, events } = this.#history;
    const number = operations.client.push(this.#number);
    assert(number < 0x3fff_ffff, "a history has fewer than 2³⁰ operations");
    operations.kind.push(kind);
    operations.outcome.push("unknown");
    operations.beginEvent.push(events.push(number * 2));
    operations.endEvent.push(NONE);
    operations.beginMs.push(atMs);
    operations.endMs.push(NONE);
    operations.firstStep.push(NONE);
    operations.lastStep.push(NONE);
    operations.group.push(NONE);
    operations.generation.push(NONE);
    operations.broker.push(NONE);
    operations.transactionalId.push(NONE);
    operations.beginStep.push(this.#history.steps.kind.length);
    operations.endStep.push(NONE);
    return new Operation(this.#history, number);
  }
}
