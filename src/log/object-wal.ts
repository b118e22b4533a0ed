/**
 * The WAL in objects: a numbered log made of put-if-absent alone, for a bucket, or for a directory that
 * several processes share. Several slots are on their way at a time, and entries count in the order of the
 * slots: an acknowledgement leaves when its slot and all before it are decided (I5). The bytes of a slot
 * never change, however often they are sent (I6); what stands there is decided by reading it back. A slot
 * that holds somebody else's bytes holds a seal: a successor has this log, and nothing after it ever counts.
 *
 * There is no tick: a group leaves when a lane is free, and what comes meanwhile is the next group. A bound
 * on puts per second is a bound on money.
 */
import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import { DiskError, WalClosedError } from "../base/errors.ts";
import { type BrokerEpoch, type WalPosition, walPosition } from "../base/ids.ts";
import type { Clock, Counter, Histogram, Logger, Meter, ObjectStore, Random, Timer } from "../base/ports.ts";
import { Waiters } from "../base/waiters.ts";
import { create } from "../store/create.ts";
import { encodeEntries, nonceBytes, slotKey } from "./object-wal-format.ts";
import type { Wal, WalEntry, WalEvents, WalGroup } from "./wal.ts";

/** Slots on their way at a time (W). */
export const lanesDefault = 8;
/** Slots above the released position (U): what a take-over has to read at most. */
export const unreleasedSlotsMaxDefault = 4_096;
const objectBytesMaxDefault = 8 * 1024 * 1024;
/** Until a store that was full is asked again. */
const fullRetryMs = 500;
/** It is told of once in this time. */
const complaintMs = 60_000;

export interface ObjectWalOptions {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly meter: Meter;
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  readonly lanes?: number;
  readonly unreleasedSlotsMax?: number;
  /** Bytes of payload after which a slot takes no further append; one append is never divided. */
  readonly objectBytesMax?: number;
  /** Default: no bound. */
  readonly putsPerSecondMax?: number;
  readonly events: WalEvents;
}

/** What one call of `append` brought. */
interface Append {
  readonly entries: readonly WalEntry[];
  readonly checksums: readonly number[];
  readonly bytes: number;
  readonly lastNumber: number;
}

/** A slot that is not counted yet. */
interface Slot {
  readonly number: number;
  readonly entries: readonly WalEntry[];
  readonly bytes: number;
  readonly lastNumber: number;
  readonly sentMs: number;
  isDecided: boolean;
}

export class ObjectWal implements Wal {
  readonly epoch: BrokerEpoch;
  readonly #options: ObjectWalOptions;
  readonly #lanes: number;
  readonly #unreleasedSlotsMax: number;
  readonly #objectBytesMax: number;
  readonly #putIntervalMs: number;
  readonly #nonce: Uint8Array;
  readonly #waiters = new Waiters();
  readonly #putMs: Histogram;
  readonly #writtenBytes: Counter;
  readonly #writtenEntries: Counter;
  #queue: Append[] = [];
  #isLeaving = false;
  /** Slots that were sent and are not counted, ascending without a gap from `#position` on. */
  readonly #sent: Slot[] = [];
  #next = 0;
  /** Slots below it are decided and ours, without a gap (dk). */
  #position = 0;
  #released = 0;
  #appended = 0;
  /** durable ≤ appended; rises only in `#count`. */
  #durable = 0;
  #pendingBytes = 0;
  #durableSentMs = -Infinity;
  /** Before it no further slot may leave. */
  #nextPutMs = -Infinity;
  #paceTimer: Timer | null = null;
  #complainedMs = -Infinity;
  #closing = false;
  #failure: WalClosedError | null = null;

  constructor(options: ObjectWalOptions) {
    this.#options = options;
    this.epoch = options.epoch;
    this.#lanes = options.lanes ?? lanesDefault;
    this.#unreleasedSlotsMax = options.unreleasedSlotsMax ?? unreleasedSlotsMaxDefault;
    this.#objectBytesMax = options.objectBytesMax ?? objectBytesMaxDefault;
    this.#putIntervalMs = 1_000 / (options.putsPerSecondMax ?? Infinity);
    this.#nonce = options.random.bytes(nonceBytes);
    const { meter } = options;
    this.#putMs = meter.histogram(
      "holdfast_wal_put_ms",
      "Time from sending a slot of the object WAL until it is decided",
      [5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000],
    );
    this.#writtenBytes = meter.counter("holdfast_wal_written_bytes", "Bytes written to the WAL");
    this.#writtenEntries = meter.counter("holdfast_wal_written_entries", "Entries made durable by the WAL");
    meter.gauge(
      "holdfast_wal_pending_bytes",
      "Payload appended and not yet durable",
      () => this.#pendingBytes,
    );
    meter.gauge("holdfast_wal_undecided_ms", "How long the oldest undecided slot has been on its way", () => {
      const oldest = this.#sent[0];
      return oldest === undefined ? 0 : options.clock.monotonicMs() - oldest.sentMs;
    });
  }

  get appended(): number {
    return this.#appended;
  }
  get durable(): number {
    return this.#durable;
  }
  get durablePosition(): WalPosition {
    return walPosition(this.#position);
  }
  get pendingBytes(): number {
    return this.#pendingBytes;
  }
  /** Half of the slots that may lie above the released position are there: without a flush nothing leaves before long. */
  get isCrowded(): boolean {
    return this.#next - this.#released >= this.#unreleasedSlotsMax / 2;
  }
  /** Slots below it have left. One at or above it that comes to count shows that this log was not sealed when it left. */
  get sentEnd(): WalPosition {
    return walPosition(this.#next);
  }
  /** When the newest slot that counts had left, ms of the monotonic clock; −∞ before the first. */
  get durableSentMs(): number {
    return this.#durableSentMs;
  }

  append(entries: readonly WalEntry[]): number {
    if (this.#failure !== null) throw this.#failure;
    if (this.#closing) throw new WalClosedError("the WAL is closing and takes no further entries");
    assert(entries.length > 0, "an append has entries");
    const checksums = entries.map(({ payload, payloadChecksum }) => payloadChecksum ?? crc32c(payload));
    const bytes = entries.reduce((sum, { payload }) => sum + payload.byteLength, 0);
    this.#appended += entries.length;
    this.#pendingBytes += bytes;
    this.#queue.push({ entries, checksums, bytes, lastNumber: this.#appended });
    if (!this.#isLeaving) {
      this.#isLeaving = true;
      queueMicrotask(() => {
        this.#isLeaving = false;
        this.#leave();
      });
    }
    return this.#appended;
  }

  whenDurable(number: number): Promise<void> {
    assert(number <= this.#appended, "only entries that were appended are waited for");
    return number <= this.#durable ? Promise.resolve() : this.#waiters.wait(number);
  }

  /** Slots below may be deleted by anybody who reads this in the journal; here it only lets further ones leave. */
  release(below: WalPosition): void {
    assert(below <= this.#position, "only durable positions are released");
    if (below <= this.#released) return;
    this.#released = below;
    this.#leave();
  }

  async close(): Promise<void> {
    this.#closing = true;
    if (this.#failure !== null) throw this.#failure;
    if (this.#durable < this.#appended) await this.#waiters.wait(this.#appended);
    this.#paceTimer?.cancel();
  }

  /** Sends slots while lanes, bounds and pace allow it. */
  #leave(): void {
    while (this.#failure === null && this.#queue.length > 0) {
      if (this.#next >= this.#position + this.#lanes) return;
      // The bound of what a take-over reads, and the reason why a sealer always ends (fencing by number, I7).
      if (this.#next >= this.#released + this.#unreleasedSlotsMax) return;
      const nowMs = this.#options.clock.monotonicMs();
      if (nowMs < this.#nextPutMs) return this.#armPace(this.#nextPutMs - nowMs);
      this.#nextPutMs = Math.max(this.#nextPutMs, nowMs - this.#putIntervalMs) + this.#putIntervalMs;
      this.#send(this.#take(), nowMs);
    }
  }

  #armPace(delayMs: number): void {
    this.#paceTimer ??= this.#options.clock.schedule(delayMs, () => {
      this.#paceTimer = null;
      this.#leave();
    });
  }

  /** The appends of the next slot: whole ones, in order. */
  #take(): readonly Append[] {
    let count = 1;
    let bytes = (this.#queue[0] as Append).bytes;
    for (; count < this.#queue.length; count++) {
      bytes += (this.#queue[count] as Append).bytes;
      if (bytes > this.#objectBytesMax) break;
    }
    return this.#queue.splice(0, count);
  }

  #send(appends: readonly Append[], sentMs: number): void {
    const { clusterId } = this.#options;
    const number = this.#next++;
    const entries = appends.flatMap((each) => each.entries);
    const checksums = appends.flatMap((each) => each.checksums);
    const body = encodeEntries(
      { clusterId, epoch: this.epoch, slot: number },
      this.#nonce,
      entries,
      checksums,
    );
    const bytes = appends.reduce((sum, each) => sum + each.bytes, 0);
    const { lastNumber } = appends.at(-1) as Append;
    const slot: Slot = { number, entries, bytes, lastNumber, sentMs, isDecided: false };
    this.#sent.push(slot);
    this.#put(slot, body);
  }

  #put(slot: Slot, body: Uint8Array): void {
    const { store, clock, random } = this.#options;
    create(store, slotKey(this.epoch, slot.number), body, { clock, random }).then(
      (created) => {
        if (created.kind === "mine") this.#decided(slot, body.byteLength);
        else this.#fail(`slot ${slot.number} is somebody else's: a successor has sealed this log`);
      },
      (cause: unknown) => {
        if (cause instanceof DiskError && cause.retriable) this.#putLater(slot, body, cause);
        else this.#fail(cause instanceof Error ? cause.message : String(cause), cause);
      },
    );
  }

  /** The store is full, and it is certain that nothing of this stands there: the same bytes again (I6), while producers are refused. */
  #putLater(slot: Slot, body: Uint8Array, cause: DiskError): void {
    if (this.#failure !== null) return;
    const { clock, log, events } = this.#options;
    events.onFull?.();
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#complainedMs >= complaintMs) {
      this.#complainedMs = nowMs;
      log.warn("wal-waits-for-room", { epoch: this.epoch, slot: slot.number, cause: cause.message });
    }
    clock.schedule(fullRetryMs, () => {
      if (this.#failure === null) this.#put(slot, body);
    });
  }

  #decided(slot: Slot, bodyBytes: number): void {
    slot.isDecided = true;
    this.#putMs.observe(this.#options.clock.monotonicMs() - slot.sentMs);
    this.#writtenBytes.add(bodyBytes);
    this.#count();
    this.#leave();
  }

  /** Counts what is decided without a gap: the only place where entries become durable. */
  #count(): void {
    while (this.#failure === null && this.#sent[0]?.isDecided === true) {
      const slot = this.#sent.shift() as Slot;
      this.#position = slot.number + 1;
      this.#durable = slot.lastNumber;
      this.#durableSentMs = slot.sentMs;
      this.#pendingBytes -= slot.bytes;
      const group: WalGroup = {
        entries: slot.entries,
        lastNumber: slot.lastNumber,
        begin: walPosition(slot.number),
        end: walPosition(slot.number + 1),
      };
      this.#options.events.onDurable(group);
      this.#waiters.wake(slot.lastNumber);
      this.#writtenEntries.add(slot.entries.length);
    }
  }

  /** What is on its way may still come to stand in its slot; nothing after this is ever called durable here. */
  #fail(why: string, cause?: unknown): void {
    if (this.#failure !== null) return;
    const { log, events } = this.#options;
    const message = `the WAL of epoch ${this.epoch} stopped at slot ${this.#position}: ${why}; whoever recovers it decides what is there`;
    this.#failure = new WalClosedError(message, { cause });
    this.#queue = [];
    this.#paceTimer?.cancel();
    log.error("wal-failed", { epoch: this.epoch, position: this.#position, cause: why });
    this.#waiters.fail(this.#failure);
    events.onFailure(this.#failure);
  }
}
