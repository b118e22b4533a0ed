/**
 * Runs one shard on its partition of a coordinator's topic: reads the log once, then for each decision
 * appends what it wrote as one frame and lets its answers go when everything that the shard had applied at
 * that moment is durable (I1): a refusal, too, reveals state. Deciding and appending is one synchronous
 * step, so the order of decisions is the order of the log. Before the partition takes no more appends the
 * shard stops for good: another one is read where the partition goes, also if it stays. If the log closes,
 * the state dies with the process, and nothing is ever taken back.
 */
import { assert } from "../base/assert.ts";
import { HoldfastError } from "../base/errors.ts";
import { advance, type Offset, type ProducerEpoch, type ProducerId } from "../base/ids.ts";
import { type Clock, type Logger, sleep } from "../base/ports.ts";
import type { AppendSession } from "../log/memory-tail.ts";
import type { AppendRefusal, MarkerWish, MarkOutcome, ReadOutcome } from "../log/outcomes.ts";
import type { Partition } from "../log/partition.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Wal } from "../log/wal.ts";
import { BatchView, batchesIn } from "../record/batch.ts";
import { BatchBuilder } from "../record/builder.ts";
import { readControl } from "../record/control.ts";
import { recordsIn } from "../record/record.ts";
import { isParticipant, type Participant, type RecordCodec, type Shard } from "./shard.ts";
import { type Reply, type Ticket, Turn } from "./turn.ts";

export interface RuntimeOptions<S extends Shard<R>, R> {
  readonly shard: S;
  readonly codec: RecordCodec<R>;
  /** Its name, for the log. */
  readonly topic: string;
  readonly partition: Partition;
  readonly partitions: Partitions;
  readonly wal: Pick<Wal, "durable" | "whenDurable">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** In whose transaction something is written. */
export interface ProducerIdentity {
  readonly producerId: ProducerId;
  readonly producerEpoch: ProducerEpoch;
}

/** Read at a time while a shard is loaded. */
const loadBytes = 1024 * 1024;
/** Until a store that did not answer is asked again. */
const readRetryMs = 500;
/** Nothing that is written here is compressed; what somebody else wrote may be, and inflates to at most this. */
const inflatedBytesMax = 64 * 1024 * 1024;
/** A decision of more bytes than this becomes several batches, all in one frame. */
const batchBytes = 1024 * 1024;

export class ShardRuntime<S extends Shard<R>, R> {
  readonly shard: S;
  readonly #codec: RecordCodec<R>;
  readonly #topic: string;
  readonly partition: Partition;
  readonly #partitions: Partitions;
  readonly #wal: RuntimeOptions<S, R>["wal"];
  readonly #clock: Clock;
  readonly #log: Logger;
  #state: "reading" | "deciding" | "stopped" = "reading";
  #tickets = 0;
  readonly #waiting = new Map<number, (response: unknown) => void>();

  constructor(options: RuntimeOptions<S, R>) {
    this.shard = options.shard;
    this.#codec = options.codec;
    this.#topic = options.topic;
    this.partition = options.partition;
    this.#partitions = options.partitions;
    this.#wal = options.wal;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Whether it is read, and may decide. */
  get isOpen(): boolean {
    return this.#state === "deciding";
  }

  /** Whether it was given up, read or not. */
  get isStopped(): boolean {
    return this.#state === "stopped";
  }

  /** Reads the partition to its end, or until it is stopped; nothing may be decided before. Rejects with `DiskError`. */
  async load(): Promise<void> {
    const partition = this.partition;
    // What was appended before an earlier shard stopped may not be durable yet.
    await this.#durable();
    const end = partition.durableEnd;
    let next = partition.logStart;
    while (next < end && this.#state === "reading") {
      const found = await this.#read(next);
      switch (found.kind) {
        case "out-of-range":
          next = found.logStart;
          break;
        case "damaged":
          // Named, never passed over in silence: what is missing may be done again.
          this.#log.error("coordinator-state.damaged", {
            topic: this.#topic,
            partition: partition.partition,
            from: next,
            to: found.resumeAt,
          });
          next = found.resumeAt;
          break;
        case "read":
          for (const chunk of found.chunks) {
            for (const batch of batchesIn(chunk)) {
              this.#load(batch);
              next = advance(batch.lastOffset, 1);
            }
          }
          break;
        default:
          found satisfies never;
      }
    }
    if (this.#state !== "reading") return;
    this.#dropEnded();
    this.shard.loaded(this.#clock.monotonicMs());
    this.#state = "deciding";
  }

  /** A store that does not answer now is asked again: to go on without what it has would lose it. */
  async #read(from: Offset): Promise<ReadOutcome> {
    for (;;) {
      try {
        return await this.partition.read({ offset: from, bytesMax: loadBytes, orOneBatch: true });
      } catch (cause) {
        const isOver = this.#state !== "reading";
        if (isOver || !(cause instanceof HoldfastError) || !cause.retriable) throw cause;
        this.#log.warn("coordinator-state.read-retried", { topic: this.#topic, cause: cause.message });
        await sleep(this.#clock, readRetryMs);
      }
    }
  }

  #load(batch: BatchView): void {
    if (batch.isControl) return this.#loadMarker(batch);
    for (const { key, value, offset } of recordsIn(batch, inflatedBytesMax)) {
      if (key === null) continue;
      const record = this.#codec.decode({ key, value });
      if (record === null) continue;
      if (batch.isTransactional) this.#participant.hold(batch.producerId, record);
      else this.shard.load(record, offset);
    }
  }

  #loadMarker(batch: BatchView): void {
    // Anybody may name a partition of ours in a transaction; where nothing is held, its end says nothing.
    if (!isParticipant<S, R>(this.shard)) return;
    const control = readControl(batch);
    if (control.kind !== "other") this.shard.settle(batch.producerId, control.kind);
  }

  /** A marker that is gone with a damaged range leaves a transaction that nobody ends any more. */
  #dropEnded(): void {
    if (!isParticipant<S, R>(this.shard)) return;
    for (const producerId of this.shard.holders()) {
      if (this.partition.hasOpenTransaction(producerId)) continue;
      // It may have committed: who relies on it does its work again, which is better than to pass over some.
      const { partition } = this.partition;
      this.#log.error("coordinator-state.marker-missing", { topic: this.#topic, partition, producerId });
      this.shard.settle(producerId, "abort");
    }
  }

  get #participant(): S & Participant<R> {
    assert(isParticipant<S, R>(this.shard), "transactions of producers write to shards that know of them");
    return this.shard;
  }

  /** Decides, appends and applies at once; resolves when that, and everything before it, is durable. */
  run<T>(decide: (shard: S, turn: Turn<R>) => T, admittedBytes = 0): Promise<T> {
    const result = this.#turn((turn) => decide(this.shard, turn), admittedBytes);
    return this.#durable().then(() => result);
  }

  /**
   * As `run`, into a session of the caller's: one frame with what else is in it. Its `commit` must follow in the
   * same step; what was decided is durable when the session is.
   */
  runInto<T>(session: AppendSession, decide: (shard: S, turn: Turn<R>) => T): T {
    return this.#turn((turn) => decide(this.shard, turn), 0, session);
  }

  /** As `run`, for a request that may have to wait for other members: resolves with what its ticket is answered. */
  ask<Res>(decide: (shard: S, turn: Turn<R>, ticket: Ticket<Res>) => void, admittedBytes = 0): Promise<Res> {
    const ticket: Ticket<Res> = { id: ++this.#tickets };
    return new Promise((resolve) => {
      this.#waiting.set(ticket.id, resolve as (response: unknown) => void);
      this.#turn((turn) => decide(this.shard, turn, ticket), admittedBytes);
    });
  }

  /**
   * As `run`, with what it writes inside the producer's transaction: its records hold once that commits.
   * It may answer nobody but its caller. Refused where the partition knows a newer epoch of the producer.
   */
  runIn<T>(
    producer: ProducerIdentity,
    decide: (shard: S, turn: Turn<R>) => T,
    admittedBytes = 0,
  ): Promise<{ readonly kind: "decided"; readonly result: T } | AppendRefusal> {
    assert(this.isOpen, "a shard decides once it is loaded, and until it stops");
    const now = this.#now();
    const turn = new Turn<R>(now, () => undefined);
    const result = decide(this.shard, turn);
    assert(turn.replies.length === 0, "a decision inside a transaction answers its caller only");
    const refusal = this.#append(turn.records, now.wallMs, admittedBytes, producer);
    if (refusal !== null) return this.#durable().then(() => refusal);
    for (const record of turn.records) this.#participant.hold(producer.producerId, record);
    return this.#durable().then(() => ({ kind: "decided", result }));
  }

  /**
   * Writes the marker that ends a producer's transaction here, and in the same step lets what it holds count
   * or go. Into `session`, whose `commit` must follow in the same step; null: into one of its own.
   */
  mark(wish: MarkerWish, session: AppendSession | null = null): MarkOutcome {
    assert(this.isOpen, "markers are written to a partition whose shard is loaded");
    const appends = session ?? this.#partitions.begin();
    const outcome = this.partition.mark(appends, wish, this.#clock.wallMs());
    if (session === null) appends.commit();
    if (outcome.kind === "marked") this.#participant.settle(wish.producerId, wish.outcome);
    return outcome;
  }

  #now(): { readonly monotonicMs: number; readonly wallMs: number } {
    return { monotonicMs: this.#clock.monotonicMs(), wallMs: this.#clock.wallMs() };
  }

  #turn<T>(decide: (turn: Turn<R>) => T, admittedBytes: number, session?: AppendSession): T {
    assert(this.isOpen, "a shard decides once it is loaded, and until it stops");
    const now = this.#now();
    let next = this.partition.logEnd;
    const turn = new Turn<R>(now, (record) => {
      this.shard.apply(record, next);
      next = advance(next, 1);
    });
    const result = decide(turn);
    const refusal = this.#append(turn.records, now.wallMs, admittedBytes, null, session);
    assert(refusal === null, "a batch without a producer is always appended");
    if (turn.replies.length > 0) this.#answer(turn.replies);
    return result;
  }

  /** Returns why nothing of it was appended, or null. */
  #append(
    records: readonly R[],
    wallMs: number,
    admittedBytes: number,
    producer: ProducerIdentity | null,
    joined?: AppendSession,
  ): AppendRefusal | null {
    if (records.length === 0) {
      if (admittedBytes > 0) this.#partitions.tail.dismiss(admittedBytes);
      return null;
    }
    const session = joined ?? this.#partitions.begin(admittedBytes);
    const fields = producer === null ? {} : { ...producer, isTransactional: true };
    let refusal: AppendRefusal | null = null;
    let appended = 0;
    let builder = new BatchBuilder();
    const close = (): void => {
      const batch = BatchView.at(builder.build(fields));
      const outcome = this.partition.append(session, batch, wallMs);
      if ("baseOffset" in outcome) {
        assert(outcome.kind === "appended", "what has no sequence number is never a duplicate");
        appended++;
      } else {
        assert(appended === 0, "of one decision all batches are appended, or none");
        refusal = outcome;
      }
      builder = new BatchBuilder();
    };
    for (const record of records) {
      builder.append({ ...this.#codec.encode(record), timestamp: wallMs });
      if (builder.bytes >= batchBytes) close();
    }
    if (builder.recordCount > 0) close();
    if (joined === undefined) session.commit();
    return refusal;
  }

  #answer(replies: readonly Reply[]): void {
    this.#durable().then(
      () => {
        for (const { ticket, response } of replies) {
          this.#waiting.get(ticket.id)?.(response);
          this.#waiting.delete(ticket.id);
        }
      },
      // The log is closed and the process ends: nobody is answered, and nothing was promised.
      () => this.#waiting.clear(),
    );
  }

  /** Everything that the shard has applied is in entries up to the partition's newest. */
  #durable(): Promise<void> {
    const { lastNumber } = this.partition;
    return lastNumber <= this.#wal.durable ? Promise.resolve() : this.#wal.whenDurable(lastNumber);
  }

  /** Monotonic ms; `Infinity`: nothing will happen by itself. */
  get nextDeadlineMs(): number {
    return this.isOpen ? this.shard.nextDeadlineMs : Infinity;
  }

  /** Does what became due. Nothing any more once the log is closed: its state dies with the process. */
  onTime(): void {
    if (this.#partitions.failure !== null) return;
    this.#turn((turn) => this.shard.onTime(turn), 0);
  }

  /** Whoever waits for other members is told to look for its coordinator anew. */
  dismiss(): void {
    if (this.isOpen && this.#partitions.failure === null) this.#turn((turn) => this.shard.dismiss(turn), 0);
  }

  /** The partition is about to go: whoever waits is told, and nothing is decided here any more. */
  stop(): void {
    this.dismiss();
    this.#state = "stopped";
  }
}
