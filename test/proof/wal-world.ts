/**
 * A simulated machine with one WAL after another on it, and beside it the truth: what was appended, what
 * was acknowledged, what was released, what recovery decided. `check` recovers a copy of the disk and
 * compares: nothing acknowledged missing, nothing that was never appended, every append whole or absent.
 */
import { DiskError, WalClosedError } from "../../src/base/errors.ts";
import {
  type BrokerEpoch,
  brokerEpoch,
  leaderEpoch,
  offset,
  partitionIndex,
  producerEpoch,
  producerId,
  topicId,
  type WalPosition,
  walPosition,
} from "../../src/base/ids.ts";
import type { Disk, Random } from "../../src/base/ports.ts";
import { EntryKind, type WalEntry, type WalGroup } from "../../src/log/wal.ts";
import { FileWal } from "../../src/log/wal-file.ts";
import { type RecoveredWal, recoverEpoch, removeReleasedFiles } from "../../src/log/wal-recovery.ts";
import { SimClock } from "../../src/sim/clock.ts";
import { SimDisk } from "../../src/sim/disk.ts";
import { SimRandom } from "../../src/sim/random.ts";
import { Scheduler } from "../../src/sim/scheduler.ts";
import { silentLogger, silentMeter } from "../../src/sim/silence.ts";

export const clusterId = "proof";
const topic = topicId("AAECAwQFBgcICQoLDA0ODw");

/** A promise was broken; the message says which, and what replays it. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** A deliberate mistake, made by what is put between the code and its ports. */
export interface Variant {
  readonly name: string;
  readonly writerDisk?: (disk: Disk) => Disk;
  readonly recoveryDisk?: (disk: Disk) => Disk;
  readonly random?: Random;
  readonly recover?: typeof recoverEpoch;
}
export const unbroken: Variant = { name: "as built" };

/** What is known of one epoch at one moment. Everything in it is a copy or never changes. */
export interface EpochFacts {
  readonly epoch: BrokerEpoch;
  /** The array grows; only the first `appended` count. */
  readonly entries: readonly WalEntry[];
  readonly appended: number;
  /** Entry counts at which an append ended. */
  readonly boundaries: readonly number[];
  /** Entries that were acknowledged. */
  readonly acked: number;
  readonly released: WalPosition;
  /** Entries below `released`. */
  readonly releasedCount: number;
  readonly recovered: RecoveredWal | null;
}

interface MutableEpoch {
  epoch: BrokerEpoch;
  entries: WalEntry[];
  boundaries: number[];
  acked: number;
  groups: WalGroup[];
  released: WalPosition;
  releasedCount: number;
  recovered: RecoveredWal | null;
}

export interface WorldOptions {
  readonly seed: number;
  readonly variant?: Variant;
  readonly fileBytes?: number;
  readonly frameBytesMax?: number;
  readonly blockBytes?: number;
}

export class WalWorld {
  readonly disk: SimDisk;
  readonly scheduler: Scheduler;
  readonly random: SimRandom;
  readonly #options: WorldOptions;
  readonly #variant: Variant;
  #clock: SimClock;
  readonly #epochs: MutableEpoch[] = [];
  #wal: FileWal | null = null;
  #nextBase = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#variant = options.variant ?? unbroken;
    this.random = new SimRandom(options.seed);
    this.scheduler = new Scheduler(this.random);
    this.disk = new SimDisk({
      scheduler: this.scheduler,
      random: this.random.fork("disk"),
      ...(options.blockBytes === undefined ? {} : { blockBytes: options.blockBytes }),
    });
    this.#clock = new SimClock(this.scheduler);
  }

  get wal(): FileWal {
    if (this.#wal === null) throw new Error("no WAL is open in this world");
    return this.#wal;
  }
  get #current(): MutableEpoch {
    return this.#epochs[this.#epochs.length - 1] as MutableEpoch;
  }
  get groups(): readonly WalGroup[] {
    return this.#current.groups;
  }

  facts(): readonly EpochFacts[] {
    return this.#epochs.map(({ epoch, entries, boundaries, acked, released, releasedCount, recovered }) => ({
      epoch,
      entries,
      appended: entries.length,
      boundaries: [...boundaries],
      acked,
      released,
      releasedCount,
      recovered,
    }));
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.scheduler.runUntil(promise);
  }
  advance(ms: number): Promise<void> {
    return this.scheduler.run({ untilMs: this.scheduler.nowMs + ms });
  }

  /** A process starts: a new epoch, a new WAL. */
  async open(): Promise<void> {
    const epoch = brokerEpoch(this.#epochs.length * 3 + 1);
    const facts: MutableEpoch = {
      epoch,
      entries: [],
      boundaries: [0],
      acked: 0,
      groups: [],
      released: walPosition(0),
      releasedCount: 0,
      recovered: null,
    };
    this.#epochs.push(facts);
    const { fileBytes = 16 * 1024, frameBytesMax } = this.#options;
    this.#wal = await this.run(
      FileWal.open({
        disk: this.#variant.writerDisk?.(this.disk) ?? this.disk,
        clock: this.#clock,
        random: this.#variant.random ?? this.random.fork(`salt ${epoch}`),
        log: silentLogger,
        meter: silentMeter,
        clusterId,
        epoch,
        fileBytes,
        ...(frameBytesMax === undefined ? {} : { frameBytesMax }),
        events: {
          onDurable: (group) => {
            facts.acked = group.lastNumber;
            facts.groups.push(group);
          },
          onFailure: () => undefined,
        },
      }),
    );
  }

  entry(bytes: number | Uint8Array, partition = 0): WalEntry {
    const base = this.#nextBase++;
    let payload: Uint8Array;
    if (typeof bytes === "number") {
      payload = new Uint8Array(bytes);
      for (let at = 0; at < bytes; at++) payload[at] = (base * 131 + at * 7 + (at >> 8)) & 0xff;
    } else payload = bytes;
    return {
      kind: payload.byteLength === 0 ? EntryKind.logStart : EntryKind.batch,
      topicId: topic,
      partition: partitionIndex(partition),
      baseOffset: offset(base),
      count: payload.byteLength === 0 ? 0 : 1,
      leaderEpoch: leaderEpoch(1),
      producerId: producerId(-1),
      producerEpoch: producerEpoch(-1),
      sequence: -1,
      appendedMs: this.#clock.wallMs(),
      payload,
    };
  }

  /** Appends entries of these sizes together. */
  append(...sizes: readonly (number | Uint8Array)[]): void {
    const entries = sizes.map((bytes, index) => this.entry(bytes, index % 3));
    this.wal.append(entries);
    const facts = this.#current;
    facts.entries.push(...entries);
    facts.boundaries.push(facts.entries.length);
  }

  async settle(): Promise<void> {
    await this.run(this.wal.whenDurable(this.wal.appended));
  }

  /** Releases all groups but the newest `kept`. */
  release(kept: number): void {
    const { groups } = this.#current;
    const newest = groups[groups.length - 1 - kept];
    if (newest === undefined) return;
    // The command that releases is decided before the WAL is told.
    this.#current.released = newest.end;
    this.#current.releasedCount = newest.lastNumber;
    this.wal.release(newest.end);
  }

  async close(): Promise<void> {
    await this.run(this.wal.close());
    this.#wal = null;
  }

  kill(): void {
    this.#dies();
    this.disk.kill();
  }
  crash(keep: Parameters<SimDisk["crash"]>[0]): void {
    this.#dies();
    this.disk.crash(keep);
  }
  #dies(): void {
    this.#wal = null;
    this.#clock.stop();
    this.#clock = new SimClock(this.scheduler);
  }

  /** What a start does with the epochs before it. */
  async recoverAll(): Promise<void> {
    for (const facts of this.#epochs) {
      if (facts.recovered !== null) continue;
      const result = await this.run(recover(this.disk, facts, this.#variant));
      facts.recovered = result;
    }
  }

  /** Everything of the recovered epochs was flushed: their files go. */
  async removeRecovered(): Promise<void> {
    for (const facts of this.#epochs) {
      if (facts.recovered === null) continue;
      facts.released = facts.recovered.end;
      facts.recovered = { ...facts.recovered, entries: [], hash: new Uint8Array(0) };
      await this.run(removeReleasedFiles({ disk: this.disk, clusterId, epoch: facts.epoch }, null));
    }
  }

  /** Runs a workload; ends it early, and quietly, when a fault closed the WAL or refused a start. */
  async play(workload: (world: WalWorld) => Promise<void>): Promise<void> {
    try {
      await workload(this);
    } catch (cause) {
      if (!(cause instanceof WalClosedError || cause instanceof DiskError)) throw cause;
    }
  }
}

function recover(
  disk: SimDisk,
  facts: Pick<EpochFacts, "epoch" | "released" | "recovered">,
  variant: Variant,
): Promise<RecoveredWal> {
  const { epoch, released, recovered } = facts;
  return (variant.recover ?? recoverEpoch)({
    disk: variant.recoveryDisk?.(disk) ?? disk,
    clusterId,
    epoch,
    released,
    recorded: recovered,
  });
}

/** Recovers every epoch on this disk and compares with the facts; then cuts the power and reads again. */
export async function check(
  disk: SimDisk,
  facts: readonly EpochFacts[],
  variant: Variant,
): Promise<readonly RecoveredWal[]> {
  const results: RecoveredWal[] = [];
  for (const epoch of facts) {
    const result = await recover(disk, epoch, variant);
    if (epoch.recovered === null) compareFirst(epoch, result);
    else compareAgain(epoch, epoch.recovered, result, "an epoch that was recovered long ago");
    results.push(result);
  }
  disk.crash(() => false);
  for (const [index, epoch] of facts.entries()) {
    const first = results[index] as RecoveredWal;
    const again = await recover(disk, { ...epoch, recovered: first }, variant);
    compareAgain(epoch, first, again, "power loss right after recovery");
  }
  return results;
}

function compareFirst(facts: EpochFacts, result: RecoveredWal): void {
  const where = `epoch ${facts.epoch}`;
  if (result.holes.length > 0 || result.jumped)
    throw new Violation(`${where}: damage is claimed where there was none`);
  const count = facts.releasedCount + result.entries.length;
  if (count < facts.acked) {
    throw new Violation(`${where}: ${facts.acked} entries were acknowledged, ${count} are there`);
  }
  if (count > facts.appended) throw new Violation(`${where}: more entries than were appended`);
  if (count > facts.releasedCount && !facts.boundaries.includes(count)) {
    throw new Violation(`${where}: an append came back in part`);
  }
  for (const [index, { entry }] of result.entries.entries()) {
    if (!sameEntry(entry, facts.entries[facts.releasedCount + index] as WalEntry)) {
      throw new Violation(`${where}: entry ${facts.releasedCount + index + 1} came back changed`);
    }
  }
}

function compareAgain(facts: EpochFacts, first: RecoveredWal, again: RecoveredWal, when: string): void {
  const where = `epoch ${facts.epoch}, ${when}`;
  if (again.end !== first.end) throw new Violation(`${where}: the end moved`);
  if (again.entries.length !== first.entries.length) {
    throw new Violation(`${where}: ${first.entries.length} entries before, ${again.entries.length} now`);
  }
  for (const [index, { entry }] of again.entries.entries()) {
    if (!sameEntry(entry, (first.entries[index] as { entry: WalEntry }).entry)) {
      throw new Violation(`${where}: entry ${index} differs`);
    }
  }
  if (again.jumped || again.reports.length > 0)
    throw new Violation(`${where}: ${JSON.stringify(again.reports)}`);
}

export function sameEntry(a: WalEntry, b: WalEntry): boolean {
  return (
    a.kind === b.kind &&
    a.topicId === b.topicId &&
    a.partition === b.partition &&
    a.baseOffset === b.baseOffset &&
    a.count === b.count &&
    a.leaderEpoch === b.leaderEpoch &&
    a.producerId === b.producerId &&
    a.producerEpoch === b.producerEpoch &&
    a.sequence === b.sequence &&
    a.appendedMs === b.appendedMs &&
    Buffer.compare(a.payload, b.payload) === 0
  );
}

/** What a sweep returns to whoever prints it. */
export interface SweepResult {
  readonly name: string;
  readonly counts: { readonly [what: string]: number };
}
export interface SweepOptions {
  /** True: a selection that takes a few seconds. */
  readonly sample: boolean;
  readonly seed?: number;
  readonly variant?: Variant;
  /** Only this workload. */
  readonly workload?: string;
}
