/**
 * A correct log for the checker to be wrong about: partitions with transactions, retention and compaction,
 * read through brokers that lag. Actors take turns in an order drawn from a seed and tell a history of what
 * they do and see; a variant breaks one rule, and then the checker must find something.
 */
import { History } from "../../src/audit/history.ts";
import type { Operation } from "../../src/audit/operation.ts";
import type { Cleanup, OperationKind, PartitionNumber, RecordFacts } from "../../src/audit/words.ts";
import { SimRandom } from "../../src/sim/random.ts";

export const variants = [
  "an acknowledged record is lost",
  "an idempotent record is stored twice",
  "an unsent record appears",
  "a record is altered",
  "an aborted record is shown",
  "a transaction is committed in one partition only",
  "the high watermark goes back",
  "a commit of an old generation is taken",
  "a member commits what it has not handled",
  "a committed offset goes back",
  "one partition is given to two members",
  "offsets are committed outside of their transaction",
  "a transaction is committed without its offsets",
  "a fenced producer is taken",
  "a transaction hangs",
] as const;
export type Variant = (typeof variants)[number];

export interface Entry {
  readonly offset: number;
  /** Null: the end of a transaction. */
  readonly value: string | null;
  readonly facts: RecordFacts;
  state: "open" | "committed" | "aborted";
}

/** After so long an open transaction is aborted. */
const timeoutMs = 100;
/** Longer than markers that are written one by one, between the turns of others, can take. */
const endingMsMax = 600;

export class OpenTransaction {
  readonly entries: { readonly partition: ModelPartition; readonly entry: Entry }[] = [];
  state: "open" | "committed" | "aborted" = "open";
  beganMs: number;
  /** Up to where its input is handled, once that is part of it; −1: it is not. */
  next = -1;
  /** Of the variant: nobody ends it. */
  isForgotten = false;

  constructor(beganMs: number) {
    this.beganMs = beganMs;
  }
}

export class ModelPartition {
  readonly number: PartitionNumber;
  readonly cleanup: Cleanup;
  /** Ascending; compaction leaves holes. */
  entries: Entry[] = [];
  start = 0;
  end = 0;

  constructor(number: PartitionNumber, cleanup: Cleanup) {
    this.number = number;
    this.cleanup = cleanup;
  }

  append(value: string | null, facts: RecordFacts, state: Entry["state"]): Entry {
    const entry = { offset: this.end++, value, facts, state };
    this.entries.push(entry);
    return entry;
  }

  /** Up to here readers of committed records may go. */
  get stable(): number {
    return this.entries.find(({ state }) => state === "open")?.offset ?? this.end;
  }

  visible(from: number, end: number): readonly Entry[] {
    return this.entries.filter(
      ({ offset, value, state }) => offset >= from && offset < end && value !== null && state === "committed",
    );
  }

  /** Oldest records go. */
  retain(start: number): void {
    this.start = Math.max(this.start, Math.min(start, this.stable));
    this.entries = this.entries.filter(({ offset }) => offset >= this.start);
  }

  /** Of each key the newest record stays, and all that is not stable. */
  compact(): void {
    const stable = this.stable;
    const newest = new Map<string, number>();
    for (const { offset, facts, state } of this.entries) {
      if (offset < stable && state === "committed" && facts.key) newest.set(facts.key, offset);
    }
    this.entries = this.entries.filter(
      ({ offset, value, facts, state }) =>
        offset >= stable ||
        value === null ||
        state !== "committed" ||
        !facts.key ||
        newest.get(facts.key) === offset,
    );
  }
}

export type Turns = Generator<void, void, void>;

export class CleanWorld {
  readonly random: SimRandom;
  readonly history: History;
  readonly #open = new Map<OpenTransaction, () => void>();
  readonly variant: Variant | null;
  readonly partitions: readonly ModelPartition[];
  readonly brokers: readonly string[];
  /** By broker and partition: up to where the broker has come. */
  readonly #copied = new Map<string, number>();
  readonly counts: { [what: string]: number } = {};
  /** Producers are done, and what remains is read. */
  isOver = false;
  /** Of the variant: it has happened. */
  isBroken = false;
  nowMs = 0;
  #values = 0;

  constructor(seed: number, variant: Variant | null) {
    this.random = new SimRandom(seed);
    this.variant = variant;
    // Worlds are short: what hangs in one must show soon.
    this.history = new History({
      openMsMax: timeoutMs + (variant === "a transaction hangs" ? 100 : endingMsMax),
    });
    this.brokers = ["1", "2", "3"].slice(0, this.random.pick([1, 1, 3]));
    this.partitions = Array.from({ length: this.random.between(1, 4) }, (_, index) => {
      const cleanup =
        variant === null
          ? this.random.pick<Cleanup>(["none", "none", "delete", "compact", "compact,delete"])
          : "none";
      return new ModelPartition(this.history.partition("t", index, cleanup), cleanup);
    });
  }

  /** Everybody takes turns, until all have come to their end. */
  run(actors: readonly Turns[]): void {
    const waiting = actors.slice();
    while (waiting.length > 0) {
      const at = this.random.below(waiting.length);
      this.nowMs += this.random.below(5);
      this.#onTime();
      if ((waiting[at] as Turns).next().done) waiting.splice(at, 1);
    }
  }

  /** `abort` is called when it is open for too long. */
  track(transaction: OpenTransaction, abort: () => void): void {
    this.#open.set(transaction, abort);
  }

  /** Nobody ends the others any more. */
  abortAll(): void {
    for (const transaction of this.#open.keys()) this.end(transaction, "aborted");
  }

  #onTime(): void {
    for (const [transaction, abort] of this.#open) {
      if (transaction.isForgotten || this.nowMs - transaction.beganMs < timeoutMs) continue;
      this.count("transactions timed out");
      abort();
    }
  }

  /** From now on its time-out does not matter. */
  decide(transaction: OpenTransaction, outcome: "committed" | "aborted"): void {
    transaction.state = outcome;
    this.#open.delete(transaction);
  }

  /** In all its partitions at once. */
  end(transaction: OpenTransaction, outcome: "committed" | "aborted"): void {
    this.decide(transaction, outcome);
    const touched = new Set(transaction.entries.map(({ partition }) => partition));
    for (const { entry } of transaction.entries) entry.state = outcome;
    for (const partition of touched) partition.append(null, {}, "committed");
  }

  count(what: string, by = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + by;
  }

  /** Once, and not at the very beginning: whether the variant breaks its rule here and now. */
  breaks(variant: Variant): boolean {
    if (this.variant !== variant || this.isBroken || !this.random.chance(0.3)) return false;
    this.isBroken = true;
    return true;
  }

  begin(client: string, kind: OperationKind): Operation {
    this.count("operations");
    return this.history.client(client).begin(kind, this.nowMs);
  }

  aValue(): string {
    return `v${this.#values++}`;
  }

  facts(): RecordFacts {
    const { random } = this;
    return {
      payload: random.u32(),
      headers: random.below(4),
      key: random.pick([null, "a", "b", "c"]),
      timestampMs: this.nowMs + random.below(20),
    };
  }

  // ── Reading ──

  /** Who wants to begin at the start of a log has to ask where that is. */
  askStart(client: string, partition: ModelPartition): number {
    const look = this.begin(client, "look");
    look.watermarks(partition.number, { logStart: partition.start });
    look.ok(this.nowMs);
    return partition.start;
  }

  /** How far a broker has come, which is never less than before. */
  endAt(broker: string, partition: ModelPartition): number {
    const name = `${broker} ${partition.number}`;
    const before = this.#copied.get(name) ?? 0;
    const isCaughtUp = broker === this.brokers[0] || this.isOver || this.random.chance(0.3);
    const end = isCaughtUp ? partition.end : before + this.random.below(partition.end - before + 1);
    this.#copied.set(name, end);
    return end;
  }

  /** Records from `from` on in one answer, told as part of `operation`; returns the next position. */
  read(
    operation: Operation,
    partition: ModelPartition,
    options: { readonly from: number; readonly broker: string; readonly max: number },
  ): number {
    const { from, broker, max } = options;
    const end = this.endAt(broker, partition);
    const lastStable = Math.min(partition.stable, end);
    operation.through(broker);
    const highWatermark = this.breaks("the high watermark goes back") ? Math.max(0, end - 3) : end;
    operation.watermarks(partition.number, {
      logStart: Math.min(partition.start, end),
      lastStable: Math.min(lastStable, highWatermark),
      highWatermark,
      logEnd: end,
    });
    const all = partition.visible(from, lastStable);
    const given = all.slice(0, max);
    for (const { offset, value, facts } of given) {
      const shown = this.breaks("a record is altered") ? { ...facts, payload: -1 } : facts;
      operation.polled(partition.number, offset, value as string, shown);
      this.count("records read");
    }
    return given.length === all.length ? Math.max(from, lastStable) : (given.at(-1) as Entry).offset + 1;
  }
}
