/**
 * Keeps enough of the disk free that what was accepted can always be finished (I12): below the floor
 * produce is refused, while flush, journal and retention still have room. A reserve file is given up
 * when even a start has none, and restored when space is back.
 */
import { DiskError } from "../base/errors.ts";
import type { Clock, Disk, Logger, Timer } from "../base/ports.ts";

const reservePath = "reserve";
const reserveChunkBytes = 1 << 20;
const pollMs = 1_000;
/** Of the floor. */
const nearFactor = 1.25;

export class DiskFloor {
  readonly #disk: Disk | null;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #floorBytes: number;
  readonly #reserveBytes: number;
  #freeBytes = Infinity;
  #refusing = false;
  #hasReserve = false;
  #timer: Timer | null = null;
  #polling = false;
  #stopped = false;

  private constructor(options: DiskFloorOptions) {
    this.#disk = options.disk;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#floorBytes = options.floorBytes;
    this.#reserveBytes = options.reserveBytes;
  }

  /** Call before anything else writes: on a full disk this makes room for the start. */
  static async open(options: DiskFloorOptions): Promise<DiskFloor> {
    const floor = new DiskFloor(options);
    const { disk } = options;
    if (disk === null) return floor;
    floor.#hasReserve = (await disk.list("")).includes(reservePath);
    await floor.#look();
    if (floor.#refusing && floor.#hasReserve) await floor.#release(disk);
    floor.#arm();
    return floor;
  }

  /** True while produce must be refused. */
  get refusing(): boolean {
    return this.#refusing;
  }
  /** Before producing is refused: what need not be kept goes now. */
  get isNear(): boolean {
    return this.#refusing || this.#freeBytes < this.#floorBytes * nearFactor;
  }
  get freeBytes(): number {
    return this.#freeBytes;
  }
  get floorBytes(): number {
    return this.#floorBytes;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  /** Somebody met ENOSPC: refuse from now on, until a look says otherwise. */
  reportFull(): void {
    if (this.#disk !== null) this.#refuse(true);
  }

  #arm(): void {
    if (this.#stopped) return;
    this.#timer = this.#clock.schedule(pollMs, () => {
      if (this.#polling) return;
      this.#polling = true;
      this.#look()
        .then(() => this.#restore())
        .catch((cause: unknown) => this.#log.warn("disk-floor.unreadable", { cause: String(cause) }))
        .finally(() => {
          this.#polling = false;
          this.#arm();
        });
    });
  }

  async #look(): Promise<void> {
    if (this.#disk === null) return;
    this.#freeBytes = await this.#disk.freeBytes();
    // Some room above the floor before producing resumes, so that it does not flap.
    const bound = this.#refusing ? this.#floorBytes * 1.1 : this.#floorBytes;
    this.#refuse(this.#freeBytes < bound);
  }

  #refuse(refusing: boolean): void {
    if (refusing === this.#refusing) return;
    this.#refusing = refusing;
    const facts = { freeBytes: this.#freeBytes, floorBytes: this.#floorBytes };
    if (refusing) this.#log.error("disk.full: produce is refused until space is back; reads go on", facts);
    else this.#log.info("disk.space-is-back: produce is accepted again", facts);
  }

  async #release(disk: Disk): Promise<void> {
    try {
      await disk.remove(reservePath);
    } catch (cause) {
      // Another broker over the same directory was faster.
      if (!(cause instanceof DiskError) || cause.errno !== "ENOENT") throw cause;
    }
    await disk.syncDirectory("");
    this.#hasReserve = false;
    this.#log.warn("disk.reserve-released", { bytes: this.#reserveBytes });
  }

  async #restore(): Promise<void> {
    const disk = this.#disk;
    if (disk === null || this.#hasReserve || this.#refusing || this.#stopped) return;
    if (this.#freeBytes < this.#floorBytes + 2 * this.#reserveBytes) return;
    this.#hasReserve = true;
    try {
      const file = await disk.open(reservePath, { mode: "create", lane: "bulk" });
      const zeros = new Uint8Array(Math.min(reserveChunkBytes, this.#reserveBytes));
      for (let at = 0; at < this.#reserveBytes; at += zeros.byteLength) {
        await file.write(at, [zeros.subarray(0, Math.min(zeros.byteLength, this.#reserveBytes - at))]);
      }
      await file.sync();
      await file.close();
      await disk.syncDirectory("");
    } catch (cause) {
      if (!(cause instanceof DiskError) || cause.errno !== "EEXIST") throw cause;
    }
  }
}

export interface DiskFloorOptions {
  /** Null: there is no end to what can be stored, and no floor. */
  readonly disk: Disk | null;
  readonly clock: Clock;
  readonly log: Logger;
  /** Produce is refused while fewer bytes are free. */
  readonly floorBytes: number;
  readonly reserveBytes: number;
}
