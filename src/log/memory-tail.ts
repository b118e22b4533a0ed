/**
 * The newest part of all partitions of this process in memory, in WAL order: everything that is not in
 * segments yet, and of the rest as much as the budget allows. It is where back-pressure on producers
 * comes from: unflushed bytes are bounded, and who would add to them waits before any offset is assigned.
 * It never lets go of an entry that is not flushed, and lets go of whole groups in WAL order only, since
 * slices share buffers. All bounds count what an entry really holds: buffers and its own object.
 */
import { assert } from "../base/assert.ts";
import { Budget } from "../base/budget.ts";
import { type WalPosition, walPosition } from "../base/ids.ts";
import { TailArena } from "./tail-arena.ts";
import type { TailEntry } from "./tail-entry.ts";
import type { Wal } from "./wal.ts";

export interface TailBounds {
  /** Unflushed bytes over which producers wait. Default 128 MiB. */
  readonly unflushedBytesMax?: number;
  /** Bytes over which flushed groups leave the memory. Default 64 MiB: more held more memory and was not faster. */
  readonly heldBytesMax?: number;
  /** Called when a producer begins to wait for room: only a flush makes some. */
  readonly onWait?: () => void;
}

interface TailGroup {
  readonly entries: readonly TailEntry[];
  readonly end: WalPosition;
  readonly heldBytes: number;
  /** From an older WAL: of when it is in segments, positions of this one say nothing. */
  readonly isLoaded: boolean;
}

export class MemoryTail {
  readonly #arena = new TailArena();
  readonly #unflushed: Budget;
  readonly #heldBytesMax: number;
  readonly #onWait: () => void;
  /** In WAL order. Groups before `#head` are gone, those before `#flushedEnd` are in segments. */
  #groups: (TailGroup | undefined)[] = [];
  #head = 0;
  #flushedEnd = 0;
  #heldBytes = 0;
  #open: AppendSession | null = null;
  #failure: unknown = null;

  constructor(bounds: TailBounds = {}) {
    this.#unflushed = new Budget(bounds.unflushedBytesMax ?? 128 * 1024 * 1024);
    this.#onWait = bounds.onWait ?? (() => undefined);
    this.#heldBytesMax = bounds.heldBytesMax ?? 64 * 1024 * 1024;
  }

  /** Bytes that are not in segments yet, with what was admitted and is still to be appended. */
  get unflushedBytes(): number {
    return this.#unflushed.used;
  }
  get unflushedBytesMax(): number {
    return this.#unflushed.limit;
  }
  /** Requests that wait for room. */
  get waiting(): number {
    return this.#unflushed.waiting;
  }
  /** Everything in memory, flushed or not. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /**
   * To be asked before stage one of a produce request with its record bytes: undefined is yes, a promise
   * resolves when there is room, in order of arrival. What was admitted must be handed to `begin`.
   */
  admit(bytes: number): Promise<void> | undefined {
    if (this.#unflushed.tryTake(bytes)) return undefined;
    const entered = this.#unflushed.take(bytes);
    this.#onWait();
    return entered;
  }

  /** Gives back what was admitted for a request that appends nothing. */
  dismiss(bytes: number): void {
    this.#unflushed.give(bytes);
  }

  /**
   * Begins the appends of one request; `commit` follows in the same synchronous step. Throws what an
   * earlier commit threw: partitions are ahead of their WAL since then, and may not answer any more.
   */
  begin(wal: Wal, admittedBytes = 0): AppendSession {
    if (this.#failure !== null) throw this.#failure;
    assert(this.#open === null, "the appends of one request are committed before those of the next begin");
    this.#open = new AppendSession(this, wal, admittedBytes);
    return this.#open;
  }

  /** For `AppendSession`: fixes where the payloads lie and counts them. */
  settle(session: AppendSession, entries: readonly TailEntry[], admittedBytes: number): void {
    assert(this.#open === session, "a request's appends are committed once");
    this.#open = null;
    const held = this.#arena.settle(entries);
    this.#heldBytes += held;
    this.#unflushed.charge(held);
    this.#unflushed.give(admittedBytes);
  }

  /** For `AppendSession`: the WAL did not take the entries. */
  fail(cause: unknown): void {
    this.#failure = cause;
  }

  /** Takes entries of an older WAL, in order, when a partition is loaded: they count as unflushed until the next release. */
  load(entries: readonly TailEntry[]): void {
    const held = this.#arena.settle(entries);
    this.#heldBytes += held;
    this.#unflushed.charge(held);
    for (const entry of entries) entry.walEnd = walPosition(0);
    this.#groups.push({ entries, end: walPosition(0), heldBytes: held, isLoaded: true });
  }

  /** The next group of this process's WAL is durable. */
  onDurable(entries: readonly TailEntry[], end: WalPosition): void {
    let held = 0;
    for (const entry of entries) {
      entry.walEnd = end;
      held += entry.heldBytes;
    }
    this.#groups.push({ entries, end, heldBytes: held, isLoaded: false });
  }

  /** The FLUSH that releases the WAL below this position is decided: what lies below it is in segments. */
  release(below: WalPosition): void {
    let flushed = 0;
    while (this.#flushedEnd < this.#groups.length) {
      const group = this.#groups[this.#flushedEnd] as TailGroup;
      // Loaded while a flush was under way that does not know of it: the next one does.
      if (group.end > below || (group.isLoaded && !group.entries.every(isInSegments))) break;
      flushed += group.heldBytes;
      this.#flushedEnd++;
    }
    this.#evict();
    if (flushed > 0) this.#unflushed.give(flushed);
  }

  #evict(): void {
    while (this.#heldBytes > this.#heldBytesMax && this.#head < this.#flushedEnd) {
      const group = this.#groups[this.#head] as TailGroup;
      for (const entry of group.entries) entry.owner.forget(entry);
      this.#heldBytes -= group.heldBytes;
      this.#groups[this.#head++] = undefined;
    }
    if (this.#head >= 256 && this.#head * 2 >= this.#groups.length) {
      this.#groups = this.#groups.slice(this.#head);
      this.#flushedEnd -= this.#head;
      this.#head = 0;
    }
  }
}

function isInSegments(entry: TailEntry): boolean {
  return entry.owner.isClosed || entry.end <= entry.owner.flushedEnd;
}

/**
 * The appends of one request: partitions add their entries, then one `commit` gives all of them to the WAL
 * at once, so that a request for 1,000 partitions costs one append. Between `begin` and `commit` nothing
 * may be awaited and nothing else may append: the numbers that answers wait for are handed out ahead, and
 * a partition whose entry never reached the WAL would acknowledge retries of a lost batch.
 */
export class AppendSession {
  readonly #tail: MemoryTail;
  readonly #wal: Wal;
  readonly #admittedBytes: number;
  readonly #entries: TailEntry[] = [];
  readonly #appendedBefore: number;

  constructor(tail: MemoryTail, wal: Wal, admittedBytes: number) {
    this.#tail = tail;
    this.#wal = wal;
    this.#admittedBytes = admittedBytes;
    this.#appendedBefore = wal.appended;
  }

  /** The number that the next entry will have in the WAL. */
  get nextNumber(): number {
    return this.#appendedBefore + this.#entries.length + 1;
  }

  /** For `Partition`. */
  add(entry: TailEntry): void {
    this.#entries.push(entry);
  }

  /** Gives everything to the WAL. Returns the number of the last entry, 0 when there is none. Throws `WalClosedError`. */
  commit(): number {
    this.#tail.settle(this, this.#entries, this.#admittedBytes);
    if (this.#entries.length === 0) return 0;
    const last = this.#append();
    assert(
      last === this.#appendedBefore + this.#entries.length,
      "nothing else was appended while a request's entries were collected",
    );
    return last;
  }

  #append(): number {
    try {
      return this.#wal.append(this.#entries);
    } catch (cause) {
      this.#tail.fail(cause);
      throw cause;
    }
  }
}
