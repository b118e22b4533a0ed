/**
 * The WAL in local files: the room in which an acknowledgement is born on one machine. Entries collect
 * while a frame is on its way to the disk; when its synced write has succeeded the durable position
 * moves, the next frame leaves, and those who wait are woken. There is no tick: an idle WAL writes at the
 * end of the current promise job, a busy one as soon as the disk is free. Any error ends it for ever:
 * nothing is synced a second time, since a sync that failed once can succeed without the bytes (I9).
 */
import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import { WalClosedError } from "../base/errors.ts";
import { type BrokerEpoch, type WalPosition, walPosition } from "../base/ids.ts";
import type { Clock, Counter, Disk, Histogram, Logger, Meter, Random, Timer } from "../base/ports.ts";
import { Waiters } from "../base/waiters.ts";
import type { Wal, WalEntry, WalEvents, WalGroup } from "./wal.ts";
import { WalFiles } from "./wal-files.ts";
import { BLOCK_BYTES, FRAMES_BEGIN } from "./wal-format.ts";
import { FrameBuilder } from "./wal-frame.ts";

/** A frame without entries follows the last one with some after this long, and witnesses it. */
const markDelayMs = 100;

export interface FileWalOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly meter: Meter;
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  /** Size of one file, a multiple of 4 KiB. Default 64 MiB. */
  readonly fileBytes?: number;
  /** Bytes of payload after which a frame takes no further append; one append is never divided. Default 8 MiB. */
  readonly frameBytesMax?: number;
  readonly events: WalEvents;
}

/** What one call of `append` brought. */
interface Append {
  readonly entries: readonly WalEntry[];
  /** CRC32C of the payloads, computed while the disk is busy with others. */
  readonly checksums: readonly number[];
  readonly bytes: number;
  readonly lastNumber: number;
}

interface Frame {
  readonly entries: readonly WalEntry[];
  readonly checksums: readonly number[];
  readonly bytes: number;
  readonly lastNumber: number;
}

export class FileWal implements Wal {
  readonly epoch: BrokerEpoch;
  readonly #files: WalFiles;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #events: WalEvents;
  readonly #frameBytesMax: number;
  readonly #builder = new FrameBuilder();
  readonly #waiters = new Waiters();
  readonly #syncMs: Histogram;
  readonly #writtenBytes: Counter;
  readonly #writtenEntries: Counter;
  #queue: Append[] = [];
  /** idle → leaving (until the end of this promise job) → writing → idle or writing. One frame at a time. */
  #lane: "idle" | "leaving" | "writing" = "idle";
  #appended = 0;
  /** durable ≤ appended; rises only in `#written`. */
  #durable = 0;
  #position = 0;
  #pendingBytes = 0;
  #closing = false;
  #closed: Promise<void> | null = null;
  #failure: WalClosedError | null = null;
  /** The newest frame has entries and no witness yet. */
  #unmarked = false;
  #markTimer: Timer | null = null;
  #writtenAtMs = 0;
  #onIdle: (() => void) | null = null;

  private constructor(options: FileWalOptions, files: WalFiles) {
    this.epoch = options.epoch;
    this.#files = files;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#events = options.events;
    this.#frameBytesMax = options.frameBytesMax ?? 8 * 1024 * 1024;
    const { meter } = options;
    this.#syncMs = meter.histogram(
      "holdfast_wal_sync_ms",
      "Time from handing a frame to the disk until it is durable",
      [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 500],
    );
    this.#writtenBytes = meter.counter(
      "holdfast_wal_written_bytes",
      "Bytes written to the WAL, with padding",
    );
    this.#writtenEntries = meter.counter("holdfast_wal_written_entries", "Entries made durable by the WAL");
    meter.gauge(
      "holdfast_wal_pending_bytes",
      "Payload appended and not yet durable",
      () => this.#pendingBytes,
    );
  }

  /** Begins the WAL of a new epoch. Rejects with `DiskError`. */
  static async open(options: FileWalOptions): Promise<FileWal> {
    const fileBytes = options.fileBytes ?? 64 * 1024 * 1024;
    assert(
      fileBytes % BLOCK_BYTES === 0 && fileBytes > FRAMES_BEGIN,
      "a WAL file has whole blocks, and some for frames",
    );
    return new FileWal(options, await WalFiles.open({ ...options, fileBytes }));
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

  append(entries: readonly WalEntry[]): number {
    if (this.#failure !== null) throw this.#failure;
    if (this.#closing) throw new WalClosedError("the WAL is closing and takes no further entries");
    assert(entries.length > 0, "an append has entries");
    const checksums: number[] = [];
    let bytes = 0;
    for (const { payload, payloadChecksum } of entries) {
      checksums.push(payloadChecksum ?? crc32c(payload));
      bytes += payload.byteLength;
    }
    this.#appended += entries.length;
    this.#pendingBytes += bytes;
    this.#queue.push({ entries, checksums, bytes, lastNumber: this.#appended });
    if (this.#lane === "idle") {
      this.#lane = "leaving";
      queueMicrotask(() => this.#leave());
    }
    return this.#appended;
  }

  whenDurable(number: number): Promise<void> {
    assert(number <= this.#appended, "only entries that were appended are waited for");
    return number <= this.#durable ? Promise.resolve() : this.#waiters.wait(number);
  }

  release(below: WalPosition): void {
    assert(below <= this.#position, "only durable positions are released");
    if (this.#failure === null) this.#files.release(below);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing = true;
    this.#markTimer?.cancel();
    try {
      if (this.#failure !== null) throw this.#failure;
      if (this.#durable < this.#appended) await this.#waiters.wait(this.#appended);
      if (this.#lane !== "idle") await this.#whenIdle();
      if (this.#unmarked) {
        this.#mark();
        await this.#whenIdle();
      }
      if (this.#failure !== null) throw this.#failure;
    } finally {
      await this.#files.close();
    }
  }

  /** Takes what waits, up to the bound, and sends it. Synchronous up to the call of the disk, unless a new file is due. */
  #leave(): void {
    if (this.#failure !== null) return;
    const queue = this.#queue;
    const first = queue[0] as Append;
    if (queue.length === 1) {
      this.#queue = [];
      this.#send(first);
      return;
    }
    let count = 1;
    let bytes = first.bytes;
    while (count < queue.length && bytes + (queue[count] as Append).bytes <= this.#frameBytesMax) {
      bytes += (queue[count] as Append).bytes;
      count++;
    }
    const taken = count === queue.length ? queue : queue.slice(0, count);
    this.#queue = count === queue.length ? [] : queue.slice(count);
    const entries: WalEntry[] = [];
    const checksums: number[] = [];
    for (const append of taken) {
      for (const entry of append.entries) entries.push(entry);
      for (const checksum of append.checksums) checksums.push(checksum);
    }
    this.#send({ entries, checksums, bytes, lastNumber: (taken[count - 1] as Append).lastNumber });
  }

  #send(frame: Frame): void {
    this.#lane = "writing";
    const length = this.#builder.lengthFor(frame.entries.length, frame.bytes);
    if (this.#files.fits(this.#position, length)) this.#write(frame);
    else this.#files.roll(this.#position).then(() => this.#write(frame), this.#fail);
  }

  #write(frame: Frame): void {
    const { current } = this.#files;
    const { chunks, length } = this.#builder.build(current, this.#position, frame.entries, frame.checksums);
    const begunMs = this.#clock.monotonicMs();
    current.handle
      .writeSynced(this.#files.byteOf(this.#position), chunks)
      .then(() => this.#written(frame, length, begunMs), this.#fail);
  }

  /** The synced write succeeded: here, and nowhere else, entries become durable. */
  #written(frame: Frame, length: number, begunMs: number): void {
    if (this.#failure !== null) return;
    const begin = walPosition(this.#position);
    this.#position += length;
    this.#durable = frame.lastNumber;
    this.#pendingBytes -= frame.bytes;
    this.#writtenAtMs = this.#clock.monotonicMs();
    this.#unmarked = frame.entries.length > 0;
    const end = walPosition(this.#position);
    // The disk gets its next frame before anybody is told about this one.
    if (this.#queue.length > 0) this.#leave();
    else this.#lane = "idle";
    if (frame.entries.length > 0) {
      const group: WalGroup = { entries: frame.entries, lastNumber: frame.lastNumber, begin, end };
      this.#events.onDurable(group);
      this.#waiters.wake(frame.lastNumber);
      this.#armMark(markDelayMs);
    }
    this.#syncMs.observe(this.#writtenAtMs - begunMs);
    this.#writtenBytes.add(length);
    this.#writtenEntries.add(frame.entries.length);
    if (this.#lane === "idle") this.#becameIdle();
  }

  /** The fate of the bytes is unknown, or they are not there: nothing after this is ever called durable. */
  readonly #fail = (cause: unknown): void => {
    if (this.#failure !== null) return;
    const why = cause instanceof Error ? cause.message : String(cause);
    this.#failure = new WalClosedError(
      `the WAL of epoch ${this.epoch} stopped at position ${this.#position}: ${why}; a restart recovers what is there`,
      { cause },
    );
    this.#queue = [];
    this.#markTimer?.cancel();
    this.#log.error("wal-failed", { epoch: this.epoch, position: this.#position, cause });
    this.#waiters.fail(this.#failure);
    this.#events.onFailure(this.#failure);
    this.#becameIdle();
  };

  /** One timer per 100 ms however many frames there are: it looks when it fires. */
  #armMark(delayMs: number): void {
    if (this.#markTimer !== null || this.#closing) return;
    this.#markTimer = this.#clock.schedule(delayMs, () => {
      this.#markTimer = null;
      if (this.#failure !== null || this.#closing || !this.#unmarked) return;
      const restMs = this.#writtenAtMs + markDelayMs - this.#clock.monotonicMs();
      if (this.#lane !== "idle") this.#armMark(markDelayMs);
      else if (restMs > 1) this.#armMark(restMs);
      else this.#mark();
    });
  }

  /** A frame without entries: what it says is that everything before it is synced. */
  #mark(): void {
    this.#send({ entries: [], checksums: [], bytes: 0, lastNumber: this.#durable });
  }

  #whenIdle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve;
    });
  }

  #becameIdle(): void {
    this.#onIdle?.();
    this.#onIdle = null;
  }
}
