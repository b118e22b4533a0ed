/**
 * Proves that this broker still owns what it owned, for answers that deny or age something: a process that
 * was paused and replaced must not tell an end below a record that its successor acknowledged. Two things
 * prove it (fencing, section 4): a slot of the own WAL that left after the question and counts, since nobody
 * can have recovered a log of which a later slot was still to be decided; or a reading of the journal's tail
 * that began after the question and finds us live. The first is free while the broker writes, the second is
 * two small reads for all who ask. No clock is part of a proof: they only choose which of the two is tried.
 */
import { HoldfastError } from "../../base/errors.ts";
import { type Clock, sleep, type Timer } from "../../base/ports.ts";
import type { ObjectWal } from "../../log/object-wal.ts";
import type { Journal } from "../../metadata/journal.ts";
import type { JournalEvent } from "../../metadata/outcomes.ts";
import { isLive } from "../../metadata/state.ts";
import type { Barrier } from "./cluster.ts";

/** This process was replaced by another: what it would say may be old, so it says nothing. */
export class ReplacedError extends HoldfastError {
  readonly code = "REPLACED";
  override readonly name = "ReplacedError";
}

/** A partition went to another broker while the answer waited, which may be older than what its new owner said. */
export class MovedError extends HoldfastError {
  readonly code = "MOVED";
  override readonly name = "MovedError";
}

export interface StoreBarrierOptions {
  readonly wal: Pick<ObjectWal, "sentEnd" | "durablePosition" | "durableSentMs" | "appended" | "durable">;
  readonly journal: Pick<Journal, "state" | "epoch" | "catchUp" | "onApplied">;
  readonly clock: Clock;
  /** A MOVE of ours is on its way: what is asked meanwhile, own slots do not prove of the partition that it gives away. */
  readonly isMoving: () => boolean;
}

/** While the WAL is busy its next slot is waited for so long before the journal is asked: it costs nothing. */
const busyPatienceMs = 50;

/** From one sparing reading of the tail to the next, and how many may come at once: each costs two reads of the store. */
const tailPauseMs = 250;
const tailBurst = 20;

/** Callers between whom no slot left: what answers one answers all. */
interface Round {
  readonly mark: number;
  readonly askedMs: number;
  readonly passed: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
}

export class StoreBarrier implements Barrier {
  readonly #options: StoreBarrierOptions;
  /** Whose calls are after the beginning of the reading that is under way; one per mark, which lies among the slots on their way: at most W + 2. */
  #waiting: Round[] = [];
  /** Whom the reading that is under way will answer, unless a slot does before. */
  #reading: Round[] | null = null;
  #timer: Timer | null = null;
  #readMs = -Infinity;
  /** The reading of `readTailSparingly` that has not begun, and when its turn is or was. */
  #nextTail: Promise<void> | null = null;
  #tailDueMs = -Infinity;
  #replaced: ReplacedError | null = null;
  /** How often a partition of ours went to somebody else by a MOVE, as far as the journal is known here. */
  #moves = 0;

  constructor(options: StoreBarrierOptions) {
    this.#options = options;
    const { journal } = options;
    journal.onApplied((event) => {
      if (event.kind === "reloaded") this.#moves++;
      else if (event.author === journal.epoch) this.#moves += event.commands.filter(isMoved).length;
    });
  }

  /**
   * The next slot: once it counts, what was ours now was ours. Negative while a MOVE is on its way, whose partition
   * may be somebody else's already: the number of moves up to now, as −1 − n.
   */
  mark(): number {
    const { wal, isMoving } = this.#options;
    return isMoving() ? -1 - this.#moves : wal.sentEnd;
  }

  get lastPassedMs(): number {
    return Math.max(this.#readMs, this.#options.wal.durableSentMs);
  }

  pass(mark = this.mark()): Promise<void> | undefined {
    if (this.#replaced !== null) return Promise.reject(this.#replaced);
    // The slot with this very number left after the mark was taken.
    if (mark >= 0 && this.#options.wal.durablePosition > mark) return undefined;
    return this.#round(mark).passed;
  }

  readTail(): Promise<void> {
    return this.#options.journal.catchUp();
  }

  readTailSparingly(): Promise<void> {
    if (this.#nextTail !== null) return this.#nextTail;
    const { clock } = this.#options;
    const nowMs = clock.monotonicMs();
    // Behind by no more than the burst, which is what nobody has asked for in the time before.
    this.#tailDueMs = Math.max(this.#tailDueMs, nowMs - tailBurst * tailPauseMs) + tailPauseMs;
    const pauseMs = this.#tailDueMs - nowMs;
    if (pauseMs <= 0) return this.readTail();
    this.#nextTail = sleep(clock, pauseMs).then(() => {
      this.#nextTail = null;
      return this.readTail();
    });
    return this.#nextTail;
  }

  /** To be called after each group of the WAL that became durable. */
  noticeDurable(): void {
    if (this.#waiting.length === 0 && this.#reading === null) return;
    const { durablePosition } = this.#options.wal;
    const isOpen = (round: Round): boolean => {
      if (round.mark < 0 || durablePosition <= round.mark) return true;
      round.resolve();
      return false;
    };
    this.#waiting = this.#waiting.filter(isOpen);
    this.#reading = this.#reading?.filter(isOpen) ?? null;
  }

  /** Who waits is told nothing any more; the connections close. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#fail(this.#waiting, new ReplacedError("The broker stops."));
  }

  #round(mark: number): Round {
    const shared = this.#waiting.find((round) => round.mark === mark);
    if (shared !== undefined) return shared;
    const { promise: passed, resolve, reject } = Promise.withResolvers<void>();
    const round: Round = { mark, askedMs: this.#options.clock.monotonicMs(), passed, resolve, reject };
    this.#waiting.push(round);
    this.#readSoon();
    return round;
  }

  #readSoon(): void {
    const [oldest] = this.#waiting;
    if (this.#timer !== null || this.#reading !== null || oldest === undefined) return;
    const { clock, wal } = this.#options;
    const isBusy = wal.appended > wal.durable;
    const waitedMs = clock.monotonicMs() - oldest.askedMs;
    const delayMs = isBusy ? Math.max(0, busyPatienceMs - waitedMs) : 0;
    this.#timer = clock.schedule(delayMs, () => {
      this.#timer = null;
      // Whom it was set for a slot may have answered since, and who came later has not waited long enough.
      const isDue = this.#waiting[0] === oldest;
      if (isDue) void this.#read();
      else this.#readSoon();
    });
  }

  /** Never rejects: each who waits hears what became of it. */
  async #read(): Promise<void> {
    const { journal, clock } = this.#options;
    this.#reading = this.#waiting;
    this.#waiting = [];
    const beganMs = clock.monotonicMs();
    try {
      await journal.catchUp();
      const { epoch, state } = journal;
      if (epoch === null || !isLive(state, epoch)) throw replaced();
      this.#readMs = beganMs;
      for (const round of this.#reading) this.#answer(round);
    } catch (cause) {
      if (cause instanceof ReplacedError) {
        this.#replaced = cause;
        this.#fail(this.#waiting, cause);
      }
      this.#fail(this.#reading, cause);
    }
    this.#reading = null;
    this.#readSoon();
  }

  /** The reading finds us live, and knows of every move that was decided before it. */
  #answer({ mark, resolve, reject }: Round): void {
    if (mark >= 0 || -1 - mark === this.#moves) resolve();
    else reject(new MovedError("A partition went to another broker while its answer waited."));
  }

  #fail(rounds: Round[], cause: unknown): void {
    for (const round of rounds.splice(0)) round.reject(cause);
  }
}

type Judged = Extract<JournalEvent, { kind: "slot" }>["commands"][number];
const isMoved = ({ command, outcome }: Judged): boolean =>
  command.kind === "move" && outcome.kind === "applied";

function replaced(): ReplacedError {
  return new ReplacedError(
    "This broker was silent for so long that another one took over its partitions; it must be started again.",
  );
}
