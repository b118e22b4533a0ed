/**
 * Bytes of requests in memory, over all connections. Bytes are charged as they arrive, never by what a
 * length claims; at the bound every connection stops reading at once. Half-received requests could then
 * block each other for ever, so while they are what fills the memory, the one that lacks least may read
 * on; and if nothing at all was answered for a while, those that hold most are given up.
 */
import { assert } from "../base/assert.ts";
import type { Clock, Timer } from "../base/ports.ts";

export interface BudgetedReader {
  /** Bytes that arrived and are not being worked on: part of a request, or requests behind a reader that does not read. */
  readonly idleBytes: number;
  /** What the request that is arriving still lacks; 0: none is arriving. */
  readonly missingBytes: number;
  stopReading(): void;
  readOn(): void;
  /** Closes the connection, which gives its bytes back. */
  giveUp(): void;
}

/** Reading starts again below this part of the bound, so that it does not stop and go with every request. */
const resumeShare = 0.75;
/** For so long everybody waits for one that does not move. */
const stallMs = 10_000;

export class RequestBudget {
  readonly limit: number;
  readonly #clock: Clock;
  readonly #readers = new Set<BudgetedReader>();
  #used = 0;
  /** Of these, bytes of requests that are being worked on and will come back by themselves. */
  #working = 0;
  #blocked = false;
  #finisher: BudgetedReader | null = null;
  #answeredSinceLook = false;
  #timer: Timer | null = null;

  constructor(limit: number, clock: Clock) {
    this.limit = limit;
    this.#clock = clock;
  }

  get used(): number {
    return this.#used;
  }
  /** True: a reader that joins or would read on must wait for `readOn`. */
  get blocked(): boolean {
    return this.#blocked;
  }

  join(reader: BudgetedReader): void {
    this.#readers.add(reader);
    if (this.#blocked) reader.stopReading();
  }

  /** `held`: what it had charged and not given back; `working`: how much of that was begun. */
  leave(reader: BudgetedReader, held: number, working: number): void {
    this.#readers.delete(reader);
    if (this.#finisher === reader) this.#finisher = null;
    this.#working -= working;
    this.#give(held);
  }

  /** Bytes arrived. */
  charge(bytes: number): void {
    this.#used += bytes;
    if (this.#used > this.limit && !this.#blocked) {
      this.#blocked = true;
      for (const reader of this.#readers) reader.stopReading();
      this.#watch();
    }
  }

  /** A request is being worked on from now on. */
  begin(bytes: number): void {
    this.#working += bytes;
  }

  /** A request that was begun is answered. */
  end(bytes: number): void {
    this.#working -= bytes;
    this.#answeredSinceLook = true;
    this.#give(bytes);
  }

  #give(bytes: number): void {
    this.#used -= bytes;
    assert(this.#used >= 0 && this.#working >= 0, "no more request bytes are given back than were charged");
    if (this.#blocked && this.#used <= this.limit * resumeShare) {
      this.#blocked = false;
      this.#finisher = null;
      this.#timer?.cancel();
      for (const reader of this.#readers) reader.readOn();
    }
    this.unlock();
  }

  /** Requests that are being worked on give their memory back by themselves; is it the others that fill it? */
  get #idleFillsIt(): boolean {
    return this.#blocked && this.#working <= this.limit / 2;
  }

  /**
   * Lets the request that lacks least arrive, if otherwise nobody could go on. Called after bytes were
   * charged and what they completed was begun. Work beyond half the bound ends this, so that a disk that
   * hangs does not let memory grow.
   */
  unlock(): void {
    if (!this.#idleFillsIt) return;
    if (this.#finisher !== null && this.#finisher.missingBytes > 0) return;
    const before = this.#finisher;
    this.#finisher = null;
    before?.stopReading();
    let least: BudgetedReader | null = null;
    for (const reader of this.#readers) {
      if (reader.missingBytes === 0) continue;
      if (least === null || reader.missingBytes < least.missingBytes) least = reader;
    }
    this.#finisher = least;
    least?.readOn();
  }

  #watch(): void {
    this.#answeredSinceLook = false;
    this.#timer = this.#clock.schedule(stallMs, () => {
      if (!this.#answeredSinceLook && this.#idleFillsIt) this.#giveUpMost();
      if (this.#blocked) this.#watch();
    });
  }

  #giveUpMost(): void {
    const byIdleBytes = [...this.#readers].sort((a, b) => b.idleBytes - a.idleBytes);
    // A connection gives its bytes back when it has closed, which may be after this.
    let excess = this.#used - this.limit * resumeShare;
    for (const reader of byIdleBytes) {
      if (excess <= 0 || reader.idleBytes === 0) return;
      excess -= reader.idleBytes;
      reader.giveUp();
    }
  }

  /** Whether `reader` may read although everybody else waits. */
  mayRead(reader: BudgetedReader): boolean {
    return !this.#blocked || this.#finisher === reader;
  }
}
