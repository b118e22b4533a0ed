/**
 * What a dead epoch's WAL holds, decided so that nothing that may have been acknowledged is dropped and
 * nothing damaged passes in silence (I9, I10). Frames are read in order from file to file. Where one is
 * not whole, whatever lies behind it is asked: a later frame, or the base of a later file, that says
 * "synced up to here" makes it damage of acknowledged data; the entries that prove themselves are kept
 * and the others become holes with names. Without such a witness it is the torn end. What is kept beyond
 * the last witness is written and synced again before anybody may build on it: after a kill the page
 * cache shows frames that the disk never got. Nothing is ever deleted or cut here.
 */
import { equalBytes, Writer } from "../base/bytes.ts";
import { crc32c } from "../base/crc32c.ts";
import { type BrokerEpoch, type WalPosition, walPosition } from "../base/ids.ts";
import type { Disk } from "../base/ports.ts";
import type { WalEntry } from "./wal.ts";
import { decodeRowOrNull, entryOfRow, FRAME_HEADER_BYTES, ROW_BYTES, walDirectory } from "./wal-format.ts";
import { type WalHole, WalHoles } from "./wal-holes.ts";
import { quarantineTail } from "./wal-quarantine.ts";
import { type LocatedFrame, type RecoveryReport, type Remainder, WalScan } from "./wal-scan.ts";

export type { WalHole } from "./wal-holes.ts";
export type { RecoveryReport } from "./wal-scan.ts";

export interface RecoverOptions {
  readonly disk: Disk;
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  /** r(e), frozen by FENCE (or a later position from which entries are still needed). */
  readonly released: WalPosition;
  /** What RECOVER said, when this epoch was recovered before: the end and the holes stay as they are. */
  readonly recorded: {
    readonly end: WalPosition;
    readonly holes: readonly WalHole[];
    readonly hash: Uint8Array;
  } | null;
}

export interface RecoveredEntry {
  readonly entry: WalEntry;
  /** Begin of the frame that holds it. */
  readonly position: WalPosition;
}

export interface RecoveredWal {
  /** N: end of the last kept frame, or `released` when there is none. */
  readonly end: WalPosition;
  readonly entries: readonly RecoveredEntry[];
  readonly holes: readonly WalHole[];
  /** Acknowledged data is gone that nothing names: every partition of this WAL must leave a gap. */
  readonly jumped: boolean;
  /** 24 bytes over where the reading began and ended and all that was kept. The same range read again must give the same. */
  readonly hash: Uint8Array;
  readonly reports: readonly RecoveryReport[];
}

/**
 * Reads an epoch, and makes durable what it keeps. Rejects with `DiskError` (try again after a restart;
 * nothing was changed that matters), with `MalformedError` for an entry of an unknown kind.
 */
export async function recoverEpoch(options: RecoverOptions): Promise<RecoveredWal> {
  const reports: RecoveryReport[] = [];
  const scan = await WalScan.open(options, (report) => reports.push(report));
  try {
    const reading = new Reading(scan, options, reports);
    await reading.run();
    if (options.recorded === null) {
      await scan.refuseUnreadableEnd(reading.position);
      await quarantineTail(options.disk, scan, reading.position, reading.remainder, reports);
      await keep(options.disk, scan, reading);
    }
    return reading.result();
  } finally {
    await scan.close();
  }
}

class Reading {
  readonly #scan: WalScan;
  readonly #options: RecoverOptions;
  readonly #reports: RecoveryReport[];
  readonly #entries: RecoveredEntry[] = [];
  readonly #holes: WalHoles;
  #jumped = false;
  /** Kept frames that are whole, newest last: those beyond the last witness are written again. */
  readonly kept: LocatedFrame[] = [];
  /** Where the next frame begins: the end, when the reading is over. */
  position: number;
  /** The highest position that any sound frame or file tells to be synced. */
  witnessed: number;
  /** What lies behind the first bad place, once it was looked for. */
  remainder: Remainder | null = null;
  #hash = 0;

  constructor(scan: WalScan, options: RecoverOptions, reports: RecoveryReport[]) {
    this.#scan = scan;
    this.#options = options;
    this.#reports = reports;
    this.#holes = new WalHoles(options.recorded?.holes ?? []);
    this.position = options.released;
    this.witnessed = options.recorded?.end ?? options.released;
  }

  async run(): Promise<void> {
    for (;;) {
      if (this.#options.recorded !== null && this.position >= this.#options.recorded.end) return;
      const frame = await this.#scan.frameAt(this.position);
      if (frame !== null && this.#follows(frame) && (await this.#readWhole(frame))) continue;
      await this.#askWhatLiesBehind();
      if (this.witnessed <= this.position) return;
      if (frame === null) await this.#salvageWithoutHeader();
      else await this.#salvage(frame);
    }
  }

  /** Whether the frame is the successor of the newest whole one. Behind a damaged one anything may come. */
  #follows(frame: LocatedFrame): boolean {
    const before = this.kept[this.kept.length - 1];
    if (before === undefined || before.header.position + before.header.length !== frame.header.position)
      return true;
    return (
      frame.header.sequence === before.header.sequence + 1 &&
      frame.header.previousChecksum === before.header.headerChecksum
    );
  }

  /** Takes a frame in which everything is sound; false, and nothing taken, when anything is not. */
  async #readWhole(frame: LocatedFrame): Promise<boolean> {
    const { file, at, header } = frame;
    const bytes = await this.#scan.read(file, at, header.length);
    if (bytes.byteLength < header.length) return false;
    const { index, copy } = indexesOf(frame, bytes);
    if (index === null || copy === null) return false;
    const entries: WalEntry[] = [];
    for (let row = 0; row < header.entryCount; row++) {
      const entry = entryOfRow(index, row, bytes, file.seed);
      if (entry === null) return false;
      entries.push(entry);
    }
    for (const [row, entry] of entries.entries()) this.#take(entry, index, row);
    this.kept.push(frame);
    this.witnessed = Math.max(this.witnessed, header.synced);
    this.position += header.length;
    return true;
  }

  #take(entry: WalEntry, index: Uint8Array, row: number): void {
    if (this.#holes.covers(entry)) return;
    this.#hash = crc32c(index.subarray(row * ROW_BYTES, (row + 1) * ROW_BYTES), this.#hash);
    this.#entries.push({ entry, position: walPosition(this.position) });
  }

  async #askWhatLiesBehind(): Promise<void> {
    this.remainder ??= await this.#scan.behind(this.position);
    this.witnessed = Math.max(this.witnessed, this.remainder.synced);
    for (const { base } of this.#scan.files) this.witnessed = Math.max(this.witnessed, base);
    const { recorded } = this.#options;
    if (recorded !== null) this.witnessed = recorded.end;
  }

  /** Acknowledged, its header sound, something in it not: entry by entry, by its own index or by the copy. */
  async #salvage(frame: LocatedFrame): Promise<void> {
    const { file, at, header } = frame;
    const bytes = await this.#scan.read(file, at, header.length);
    const { index } = indexesOf(frame, bytes);
    this.#report(
      "damaged-frame",
      `The frame at position ${header.position} (${file.path}, byte ${at}) is damaged`,
    );
    const successor = index === null ? await this.#copyIn(header.position + header.length) : null;
    const rows = index ?? successor;
    if (rows !== null) this.#takeSound(rows, bytes, file.seed);
    else {
      // Each row proves itself; but which entries the others named, nothing tells any more.
      const own = bytes.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + header.entryCount * ROW_BYTES);
      for (let row = 0; row < header.entryCount; row++) {
        const entry = entryOfRow(own, row, bytes, file.seed);
        if (entry !== null) this.#take(entry, own, row);
      }
      this.#jump(header.position, header.position + header.length);
    }
    this.position = header.position + header.length;
  }

  /** Acknowledged, and no header at its place: the next sound frame knows where the one before it began and what it held. */
  async #salvageWithoutHeader(): Promise<void> {
    const begin = this.position;
    const next = this.remainder?.frames.find(
      ({ header }) => header.position > begin && header.position <= this.witnessed,
    );
    const end = next?.header.position ?? this.witnessed;
    const successor = next === undefined ? null : await this.#copyIn(end);
    const frameBegin = end - (next?.header.previousLength ?? 0);
    if (next === undefined || successor === null || frameBegin < begin || frameBegin === end) {
      this.#jump(begin, end);
      this.position = end;
      return;
    }
    if (frameBegin > begin) this.#jump(begin, frameBegin);
    this.position = frameBegin;
    this.#report("damaged-frame", `The header of the frame at position ${frameBegin} is damaged`);
    const place = this.#scan.locate(frameBegin);
    const bytes =
      place === null ? new Uint8Array(0) : await this.#scan.read(place.file, place.at, end - frameBegin);
    this.#takeSound(successor, bytes, place?.file.seed ?? 0);
    this.position = end;
  }

  /** The copy of the index of the frame that ends at `position`, from the frame that begins there. */
  async #copyIn(position: number): Promise<Uint8Array | null> {
    const frame = await this.#scan.frameAt(position);
    if (frame === null) return null;
    return indexesOf(frame, await this.#scan.read(frame.file, frame.at, frame.header.length)).copy;
  }

  /** Of a damaged frame with a sound index: the sound entries are kept, the others become holes. */
  #takeSound(rows: Uint8Array, frame: Uint8Array, seed: number): void {
    for (let row = 0; row < rows.byteLength / ROW_BYTES; row++) {
      const entry = entryOfRow(rows, row, frame, seed);
      if (entry !== null) {
        this.#take(entry, rows, row);
        continue;
      }
      const lost = decodeRowOrNull(rows.subarray(row * ROW_BYTES, (row + 1) * ROW_BYTES));
      if (lost === null || this.#holes.covers(lost)) continue;
      const hole = this.#holes.add(lost);
      this.#report(
        "hole",
        `Offsets ${hole.from} to ${hole.to - 1} of partition ${hole.partition} of topic ${hole.topicId} are damaged; reading goes on behind them`,
      );
    }
  }

  #jump(begin: number, end: number): void {
    this.#jumped = true;
    this.#report(
      "jump",
      `Acknowledged data at WAL positions ${begin} to ${end} is gone and nothing tells what it was; every partition of this WAL goes on behind a gap`,
    );
  }

  #report(kind: RecoveryReport["kind"], message: string): void {
    this.#reports.push({ kind, message: `WAL of epoch ${this.#options.epoch}: ${message}` });
  }

  result(): RecoveredWal {
    const writer = new Writer();
    writer.uint32(this.#hash);
    writer.uint32(this.#entries.length);
    writer.int64(this.position);
    writer.int64(this.#options.released);
    const hash = writer.finishFlat();
    const { recorded } = this.#options;
    if (recorded !== null && sameBegin(recorded.hash, hash) && !equalBytes(recorded.hash, hash)) {
      this.#report("changed-since-recovery", "a second reading differs from what RECOVER recorded");
    }
    return {
      end: walPosition(recorded?.end ?? this.position),
      entries: this.#entries,
      holes: this.#holes.list(),
      jumped: this.#jumped,
      hash,
      reports: this.#reports,
    };
  }
}

/** Whether two readings began at the same position: only then have their hashes to agree. */
function sameBegin(first: Uint8Array, second: Uint8Array): boolean {
  return first.byteLength === second.byteLength && equalBytes(first.subarray(16), second.subarray(16));
}

/** The frame's index and its copy of the one before, each null when its checksum does not hold. */
function indexesOf(
  { file, header }: LocatedFrame,
  bytes: Uint8Array,
): { readonly index: Uint8Array | null; readonly copy: Uint8Array | null } {
  const copyBegin = FRAME_HEADER_BYTES + header.entryCount * ROW_BYTES;
  const index = bytes.subarray(FRAME_HEADER_BYTES, copyBegin);
  const copy = bytes.subarray(copyBegin, copyBegin + header.copyCount * ROW_BYTES);
  return {
    index: crc32c(index, file.seed) === header.indexChecksum ? index : null,
    copy: crc32c(copy, file.seed) === header.copyChecksum ? copy : null,
  };
}

/**
 * Writes the kept frames behind the last witness again, same bytes, same place, and syncs every file and
 * name that was read. Any error ends the start: what was read may not be what the disk holds.
 */
async function keep(disk: Disk, scan: WalScan, reading: Reading): Promise<void> {
  for (const file of scan.files) {
    const again = reading.kept.filter(
      (frame) => frame.file === file && frame.header.position >= reading.witnessed,
    );
    const handle = await disk.open(file.path, { mode: "existing", lane: "wal", synced: true });
    try {
      for (const { at, header } of again) {
        await handle.writeSynced(at, [await scan.read(file, at, header.length)]);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  if (scan.files.length === 0) return;
  const [first] = scan.files;
  await disk.syncDirectory(walDirectory((first as LocatedFrame["file"]).epoch));
  await disk.syncDirectory("wal");
  await disk.syncDirectory("");
}

/**
 * Removes files of a dead epoch whose frames all lie below `needed`; null: nothing of it is needed, all
 * go. Only after the command that says so is decided. What cannot be read is left until all may go.
 */
export async function removeReleasedFiles(
  options: { readonly disk: Disk; readonly clusterId: string; readonly epoch: BrokerEpoch },
  needed: WalPosition | null,
): Promise<number> {
  const { disk, epoch } = options;
  const directory = walDirectory(epoch);
  const paths = (await disk.list(directory))
    .filter((name) => needed === null || name.endsWith(".tmp"))
    .map((name) => `${directory}/${name}`);
  if (needed !== null) {
    const scan = await WalScan.open(options, () => undefined);
    for (let index = 0; index + 1 < scan.files.length; index++) {
      const [file, next] = scan.files.slice(index, index + 2) as [LocatedFrame["file"], LocatedFrame["file"]];
      if (next.base <= needed) paths.push(file.path);
    }
    await scan.close();
  }
  for (const path of paths) await disk.remove(path);
  if (paths.length > 0) await disk.syncDirectory(directory);
  return paths.length;
}
