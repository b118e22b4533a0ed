/**
 * One share-partition at the leader of its partition: what the group was given of it, and what came of that. Its
 * table is read with our leader epoch before anything is served, so that no older leader writes any more; what
 * ends a delivery is told when it is durable (I1). Giving is synchronous: what lies in segments is read ahead, once
 * for all, and whoever has waited longest takes of it first. It ends when the partition goes, when a newer leader or
 * a newer state shows, or when the group reads nothing here any more; nothing is kept beyond that.
 */
import { HoldfastError } from "../../base/errors.ts";
import { type LeaderEpoch, offset, type Offset } from "../../base/ids.ts";
import type { Env } from "../../base/ports.ts";
import type { AcknowledgeBatch } from "../../coordinator/share/delivery/acknowledgement.ts";
import { type AcquiredRecords, isHeld } from "../../coordinator/share/delivery/acquisition.ts";
import { type DeliveryCounts, DeliveryTable, type HoldEnd } from "../../coordinator/share/delivery/table.ts";
import type { DeadRecords, DeliverySettings } from "../../coordinator/share/delivery/state.ts";
import type { StateBatch } from "../../coordinator/share/state-batch.ts";
import type { Partition } from "../../log/partition.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { Wal } from "../../log/wal.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { DeadLetters, type LetterServices } from "./dead-letters.ts";
import { takeLeaving } from "./leaving.ts";
import type { SharePartitionKey, SharePersister } from "./persister.ts";
import type { ReadAhead } from "./read-ahead.ts";
import type { RecordRead } from "./record-read.ts";
import { ShareLog } from "./share-log.ts";
import type { ShareMetrics } from "./share-metrics.ts";
import type { ShareSettings } from "./settings.ts";
import { type Persisted, StateLine, toldToClients } from "./state-line.ts";
import { isAgain, type TakenRecords, takeRecords, type TakeWish } from "./taking.ts";

export interface SharePartitionOptions {
  readonly key: SharePartitionKey;
  readonly partition: Partition;
  /** Its clock stands still while the process does: nobody could be heard then. */
  readonly env: Pick<Env, "clock" | "log">;
  /** `onTime` is to be called then, in monotonic ms. */
  readonly arm: (atMs: number) => void;
  readonly persister: SharePersister;
  readonly partitions: Partitions;
  readonly wal: Wal;
  /** As they are now. */
  readonly settings: () => ShareSettings;
  /** False: there is no memory for more records in flight. */
  readonly mayGrow: () => boolean;
  /** So many ranges more, or fewer, than before. */
  readonly onRanges: (more: number) => void;
  readonly metrics: ShareMetrics;
  readonly ahead: ReadAhead;
  readonly letters: LetterServices;
  /** Resolves when nothing is on its way of whoever had this share-partition here before. */
  readonly before: Promise<void>;
  /** Once: nothing is served here any more. */
  readonly onOver: (share: SharePartition) => void;
}

export type Taken =
  | (TakenRecords & {
      readonly kind: "records";
      /** What they rest on: they may be told once that is durable. Null: on nothing that has to be kept. */
      readonly persisted: Promise<Persisted> | null;
    })
  | { readonly kind: "nothing" }
  | { readonly kind: "refused"; readonly errorCode: ErrorCode };

/** A fetch that waits. Returns whether it is done. Must not throw. */
export type Attempt = () => boolean;

/** What became of an acknowledgement; `errorCode` may be told once `persisted` resolves with null. */
export interface Acknowledged {
  readonly errorCode: ErrorCode;
  readonly persisted: Promise<Persisted>;
}

const nothing: Taken = { kind: "nothing" };

export class SharePartition implements DeliverySettings {
  readonly key: SharePartitionKey;
  readonly partition: Partition;
  readonly #options: SharePartitionOptions;
  readonly #log: ShareLog;
  #table: DeliveryTable | null = null;
  #line: StateLine | null = null;
  #letters: DeadLetters | null = null;
  /** Why nothing is served here any more; null: it is, or will be. */
  #over: ErrorCode | null = null;
  /** In the order in which they came. */
  readonly #waiting = new Set<Attempt>();
  #isWaking = false;
  #unwatch: () => void = () => undefined;
  /** As they were told and seen last. */
  #ranges = 0;
  #start = -1;
  #startedMs = 0;
  #isDone = true;

  constructor(options: SharePartitionOptions) {
    this.#options = options;
    this.key = options.key;
    this.partition = options.partition;
    const { key, partition, env, settings, ahead } = options;
    const { log } = env;
    this.#log = new ShareLog({ key, partition, log, settings, ahead, onRead: () => this.#wakeSoon() });
  }

  // ── Settings of its table: those of the group, as they are now ──

  get lockDurationMs(): number {
    return this.#options.settings().lockDurationMs;
  }
  get deliveryCountLimit(): number {
    return this.#options.settings().deliveryCountLimit;
  }
  get recordLocksMax(): number {
    return this.#options.mayGrow() ? this.#options.settings().partitionLocksMax : 0;
  }
  get hasDeadLetters(): boolean {
    return this.#options.settings().deadLetterTopic !== null;
  }

  // ── What it is ──

  get leaderEpoch(): LeaderEpoch {
    return this.partition.leaderEpoch;
  }
  get isOver(): boolean {
    return this.#over !== null;
  }
  /** Why nothing is served here any more; null: it is, or will be. */
  get over(): ErrorCode | null {
    return this.#over;
  }
  get isLoaded(): boolean {
    return this.#table !== null;
  }
  get counts(): DeliveryCounts | null {
    return this.#table?.counts ?? null;
  }
  get startOffset(): Offset | null {
    return this.#table?.startOffset ?? null;
  }
  /** Records that were never given to anybody, and those that may be given again. */
  get readyCount(): number {
    const table = this.#table;
    return table === null ? 0 : Math.max(0, this.#log.end - table.endOffset) + table.counts.available;
  }
  /** Since when its first record that is not done is that, monotonic ms; null: there is none. */
  get stuckSinceMs(): number | null {
    const table = this.#table;
    return table === null || table.startOffset >= this.#log.end ? null : this.#startedMs;
  }

  // ── Loading ──

  /** Reads what is kept; nothing is served before. Never rejects: who waits hears of the end, or goes on. */
  async load(): Promise<void> {
    try {
      await this.#load();
    } catch (cause) {
      // The log closed: the process ends, and nobody is told anything.
      if (this.#options.partitions.failure !== null) return;
      if (!(cause instanceof HoldfastError)) throw cause;
      // What is kept makes no sense: nothing is given by it, and nobody else has to suffer.
      this.#complain("share-partition.state-unreadable", cause);
      this.end(ErrorCode.KAFKA_STORAGE_ERROR);
    }
  }

  #complain(what: string, cause: unknown): void {
    const message = cause instanceof Error ? cause.message : String(cause);
    this.#options.env.log.error(what, { ...this.key, cause: message });
  }

  async #load(): Promise<void> {
    const { before, persister, env } = this.#options;
    await before;
    while (!this.isOver) {
      const told = await persister.read(this.key, this.leaderEpoch);
      if (this.isOver) return;
      if (told.kind === "refused") return this.end(toldToClients(told.errorCode));
      if (told.kind === "away") {
        env.log.warn("share-partition.state-away", { ...this.key, errorCode: told.errorCode });
        continue;
      }
      const { stateEpoch, startOffset, batches } = told.value;
      const isNew = startOffset < 0;
      const start = isNew ? await this.#firstOffset() : startOffset;
      if (this.isOver) return;
      if (start === null) return this.end(ErrorCode.KAFKA_STORAGE_ERROR);
      // A new one has nothing before it: so its beginning is a change, and is kept before anything is given.
      const table = DeliveryTable.load({ startOffset, batches }, this);
      if (isNew) table.moveStart(start);
      await this.#begin(table, stateEpoch, batches);
      return;
    }
  }

  async #begin(table: DeliveryTable, stateEpoch: number, batches: readonly StateBatch[]): Promise<void> {
    const { persister, partitions, wal, env, settings, metrics } = this.#options;
    const letters = new DeadLetters({
      key: this.key,
      source: this.partition,
      services: this.#options.letters,
      settings,
      metrics,
      archive: (first, last) => table.archive(first, last),
      settle: () => this.#settle(),
      isOver: () => this.isOver,
    });
    this.#letters = letters;
    const line = new StateLine({
      key: this.key,
      stateEpoch,
      leaderEpoch: this.leaderEpoch,
      persister,
      partitions,
      wal,
      clock: env.clock,
      take: (isHere) => takeLeaving(table, letters, isHere, (dead) => this.#onDead(table, dead, batches)),
      onLost: (why, cause) => {
        if (cause !== undefined) this.#complain("share-partition.state-unwritten", cause);
        this.end(why);
      },
    });
    this.#line = line;
    if ((await line.persisted()) !== null || this.isOver) return;
    this.#table = table;
    letters.carry();
    this.#unwatch = this.partition.watch(() => this.#onLogChange());
    this.#onLogChange();
    this.#wakeSoon();
  }

  /** Where a group begins that has no state; null: the log cannot be read. */
  #firstOffset(): Offset | Promise<Offset | null> {
    const { offsetReset } = this.#options.settings();
    switch (offsetReset.kind) {
      case "earliest":
        return this.partition.logStart;
      case "latest":
        return this.partition.highWatermark;
      case "by_duration":
        return this.#log.find(Math.max(0, this.#options.env.clock.wallMs() - offsetReset.ms));
      default:
        return offsetReset satisfies never;
    }
  }

  // ── Giving ──

  /** Whether a member could be given something now. */
  get #hasWork(): boolean {
    const table = this.#table;
    if (this.#over !== null || this.#log.hasFailed) return true;
    if (table === null || this.#log.isReading || !table.mayAcquire) return false;
    return table.nextFetchOffset < this.#log.end;
  }

  /** About how many bytes a member could be given now; infinitely many where they lie in segments, or it has an error to hear. */
  get availableBytes(): number {
    if (!this.#hasWork) return 0;
    const table = this.#table;
    if (table === null || this.#over !== null || this.#log.hasFailed) return Infinity;
    // What is available again lies before what is new, and is not waited with.
    return table.counts.available > 0 ? Infinity : this.#log.availableBytes(table.nextFetchOffset);
  }

  /** Synchronous: acquires what is there for the member. Nothing may also mean that it is being read. */
  take(wish: TakeWish): Taken {
    if (this.#over !== null) return { kind: "refused", errorCode: this.#over };
    const table = this.#table;
    if (table === null) return nothing;
    const failure = this.#log.takeFailure();
    if (failure !== null) return { kind: "refused", errorCode: failure };
    // Who may take nothing reads nothing: what was read ahead would be gone, be read again, and wake it, for ever.
    if (table.hasAlone(wish.memberId)) return nothing;
    const before = table.nextFetchOffset;
    const taken = takeRecords(
      table,
      wish,
      this.#options.env.clock.monotonicMs(),
      (from, bytesMax, orOneBatch) => (this.#hasWork ? this.#read(from, bytesMax, orOneBatch) : null),
    );
    // Who wakes others although nothing changed is woken by them, for ever.
    const settled = taken.count > 0 || table.nextFetchOffset !== before ? this.#settle() : null;
    if (taken.count === 0) return nothing;
    this.#options.metrics.delivered(taken.acquired, taken.count);
    return { kind: "records", ...taken, persisted: isAgain(taken) ? settled : null };
  }

  /** Null: there is nothing, or not yet. */
  #read(from: Offset, bytesMax: number, orOneBatch: boolean): RecordRead | null {
    const read = this.#log.read(from, bytesMax, orOneBatch);
    if (read.kind === "records") return read.records;
    if (read.kind === "deleted") this.#moveStart();
    if (read.kind === "damaged") this.#passDamaged(from, read.resumeAt);
    return null;
  }

  /** These records are gone, and were reported when that was found (I10): the group goes on behind them. */
  #passDamaged(from: Offset, resumeAt: Offset): void {
    this.#options.env.log.error("share-partition.damaged", { ...this.key, from, to: resumeAt });
    this.#options.metrics.damaged(resumeAt - from);
    this.#table?.skip(from, resumeAt - 1);
    void this.#settle();
    this.#wakeSoon();
  }

  /** What the member still holds: an answer that waited may have outlasted its locks, or its member's session. */
  held(memberId: string, acquired: readonly AcquiredRecords[]): readonly AcquiredRecords[] {
    const table = this.#table;
    if (this.#over !== null || table === null) return [];
    return acquired.filter((each) => isHeld(each, memberId, table.ranges(each.first, each.last)));
  }

  /** The member will not be told of these. */
  giveBack(memberId: string, acquired: readonly AcquiredRecords[]): void {
    for (const each of acquired) this.#table?.giveBack(memberId, each);
    void this.#settle();
  }

  // ── What ends a delivery ──

  /** Synchronous: all of it counts, or nothing. */
  acknowledge(memberId: string, batches: readonly AcknowledgeBatch[]): Acknowledged {
    const table = this.#table;
    if (table === null || this.#over !== null) {
      // What is in flight is known here only: of a share-partition that is not loaded nothing is.
      const errorCode = this.#over ?? ErrorCode.INVALID_RECORD_STATE;
      return { errorCode, persisted: Promise.resolve(null) };
    }
    const nowMs = this.#options.env.clock.monotonicMs();
    const { errorCode } = table.acknowledge({ memberId, batches, nowMs });
    if (errorCode === ErrorCode.NONE) this.#options.metrics.acknowledged(batches);
    else this.#options.metrics.refused();
    return { errorCode, persisted: this.#settle() };
  }

  /** Its session is over: what the member holds is free. */
  release(memberId: string, end: HoldEnd): Promise<Persisted> {
    this.#table?.release(memberId, end);
    return this.#settle();
  }

  /** Locks that ran out by now free their records. */
  onTime(nowMs: number): void {
    if (this.#over !== null || this.#options.partitions.failure !== null) return;
    const count = this.#table?.onTime(nowMs) ?? 0;
    if (count > 0) this.#options.metrics.timedOut(count);
    void this.#settle();
  }

  /** Monotonic ms of `env.clock`; `Infinity`: nothing will happen by itself. */
  get nextDeadlineMs(): number {
    // A log that closed stays so: locks that ran out would be looked at again and again.
    if (this.#over !== null || this.#options.partitions.failure !== null) return Infinity;
    return this.#table?.nextDeadlineMs ?? Infinity;
  }

  /** After each change: what has to be kept leaves, the timer is set, and who waits is woken. */
  #settle(): Promise<Persisted> {
    const table = this.#table;
    if (this.#over !== null) return Promise.resolve(this.#over);
    if (table === null || this.#line === null) return Promise.resolve(null);
    const persisted = this.#line.persisted();
    // The log closed: the process ends, and nobody is told anything.
    persisted.catch(() => undefined);
    this.#letters?.carry();
    this.#options.arm(table.nextDeadlineMs);
    this.#account(table);
    this.#wakeSoon();
    return persisted;
  }

  #account({ rangeCount, startOffset }: DeliveryTable): void {
    this.#options.onRanges(rangeCount - this.#ranges);
    this.#ranges = rangeCount;
    this.#isDone = startOffset >= this.#log.end;
    if (startOffset === this.#start) return;
    this.#start = startOffset;
    this.#startedMs = this.#options.env.clock.monotonicMs();
  }

  /** Those that wait for their letters are archiving; of the others nothing remains but that they are counted and told. */
  #onDead(table: DeliveryTable, dead: readonly DeadRecords[], kept: readonly StateBatch[]): void {
    const { metrics, env } = this.#options;
    for (const each of dead) {
      const archiving = table.ranges(each.first, each.last).filter(({ state }) => state === "archiving");
      if (archiving.length > 0) {
        this.#letters?.add(
          archiving.map(({ first, last }) => ({ ...each, first, last })),
          kept,
        );
        continue;
      }
      metrics.dropped(each.reason, each.last - each.first + 1);
      env.log.warn("share-partition.records-dropped", { ...this.key, ...each });
    }
  }

  // ── The log beneath ──

  #onLogChange(): void {
    const start = this.#table?.startOffset ?? Infinity;
    if (this.partition.logStart > start) this.#moveStart();
    // What comes now is the first that it has to do.
    if (this.#isDone) this.#startedMs = this.#options.env.clock.monotonicMs();
    this.#isDone = start >= this.#log.end;
    this.#wakeSoon();
  }

  /** Retention or DeleteRecords took what lies before. */
  #moveStart(): void {
    const { logStart } = this.partition;
    const gone = this.#table?.moveStart(logStart);
    if (gone === undefined) return;
    this.#letters?.forget(logStart);
    const count = gone.available + gone.acquired + gone.archiving;
    if (count > 0) {
      this.#options.metrics.expiredByLog(count);
      this.#options.env.log.warn("share-partition.records-deleted", { ...this.key, logStart, ...gone });
    }
    void this.#settle();
  }

  // ── Waiting ──

  /** `attempt` is called when there may be something for it, in the order of arrival. Returns how to stop it. */
  wait(attempt: Attempt): () => void {
    this.#waiting.add(attempt);
    return () => this.#waiting.delete(attempt);
  }

  #wakeSoon(): void {
    if (this.#isWaking || this.#waiting.size === 0) return;
    this.#isWaking = true;
    queueMicrotask(() => {
      this.#isWaking = false;
      for (const attempt of this.#waiting) {
        if (!this.#hasWork) return;
        attempt();
      }
    });
  }

  // ── The end ──

  /** Synchronous: from now on nothing is given, and nothing that is said is taken. */
  end(why: ErrorCode): void {
    if (this.#over !== null) return;
    this.#over = why;
    this.#line?.end(why);
    this.#log.close();
    this.#unwatch();
    this.#options.onRanges(-this.#ranges);
    this.#ranges = 0;
    this.#options.onOver(this);
    this.#wakeSoon();
  }

  /** Resolves when nothing of it is on its way any more. */
  async idle(): Promise<void> {
    await this.#line?.idle();
  }
}

export const offsetsOf = (acquired: readonly AcquiredRecords[]) =>
  acquired.map(({ first, last, deliveryCount }) => ({
    firstOffset: offset(first),
    lastOffset: offset(last),
    deliveryCount,
  }));
