/**
 * Looks at what a dead epoch left on the disk and decides nothing: which files are its own, where their
 * frames lie, which headers are sound. Reads through one window, so that memory stays bounded by it and
 * by what the caller keeps. A file counts as foreign only when both copies of its header say so, or when
 * no frame in it proves the contrary.
 */
import { equalBytes } from "../base/bytes.ts";
import { DiskError, RefusedError } from "../base/errors.ts";
import type { BrokerEpoch } from "../base/ids.ts";
import type { Disk, DiskFile } from "../base/ports.ts";
import {
  BLOCK_BYTES,
  carriesSalt,
  decodeFileHeader,
  decodeFrameHeader,
  type FileHeader,
  FileOrigin,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  FRAMES_BEGIN,
  saltOfFrame,
  saltSeed,
  WAL_FORMAT,
  walDirectory,
} from "./wal-format.ts";

const windowBytes = 2 * 1024 * 1024;

/** Something a person should hear of. */
export interface RecoveryReport {
  readonly kind:
    | "unreadable-block"
    | "damaged-file-header"
    | "damaged-frame"
    | "hole"
    | "jump"
    | "unproved-tail"
    | "changed-since-recovery";
  /** One sentence: what, where, what follows. */
  readonly message: string;
}

export interface ScannedFile {
  readonly epoch: BrokerEpoch;
  readonly fileNumber: number;
  readonly path: string;
  readonly handle: DiskFile;
  readonly bytes: number;
  readonly base: number;
  readonly salt: Uint8Array;
  readonly seed: number;
  readonly origin: FileOrigin;
}

export interface LocatedFrame {
  readonly file: ScannedFile;
  /** First byte in the file. */
  readonly at: number;
  readonly header: FrameHeader;
}

export interface ByteRange {
  readonly begin: number;
  readonly end: number;
}

export interface Remainder {
  readonly position: number;
  /** Every sound frame header behind it, in order. */
  readonly frames: readonly LocatedFrame[];
  /**
   * The highest that a sound header tells anywhere from the position on, a misplaced one included: only
   * this WAL can have written it, so what it says was true.
   */
  readonly synced: number;
  /** From the first to the last block that is not clean, in the file of the position. */
  readonly unclean: ByteRange | null;
}

export class WalScan {
  /** The epoch's files in order; bases rise. */
  readonly files: readonly ScannedFile[];
  #window: { readonly file: ScannedFile; readonly at: number; readonly bytes: Uint8Array } | null = null;
  readonly #report: Report;
  /** Blocks that the disk refused to read, by path and first byte. They count as damaged. */
  readonly #unreadable = new Set<string>();

  private constructor(files: readonly ScannedFile[], report: Report) {
    this.files = files;
    this.#report = report;
  }

  /** Opens the files of an epoch; none when there is no directory. Rejects with `DiskError`, or `RefusedError` for a newer format. */
  static async open(
    options: { readonly disk: Disk; readonly clusterId: string; readonly epoch: BrokerEpoch },
    report: Report,
  ): Promise<WalScan> {
    const { disk, epoch } = options;
    const directory = walDirectory(epoch);
    const numbers: number[] = [];
    for (const name of await disk.list(directory)) {
      if (/^\d+\.log$/.test(name)) numbers.push(Number.parseInt(name, 10));
    }
    numbers.sort((a, b) => a - b);
    const files: ScannedFile[] = [];
    for (const fileNumber of numbers) {
      const file = await openFile({ ...options, fileNumber, path: `${directory}/${fileNumber}.log` }, report);
      const before = files[files.length - 1];
      if (file === null) continue;
      if (before !== undefined && file.base < before.base) {
        await file.handle.close();
        report({
          kind: "damaged-file-header",
          message: `${file.path} claims to begin at position ${file.base}, before ${before.path} does; it is left aside`,
        });
      } else files.push(file);
    }
    return new WalScan(files, report);
  }

  /** The file in which a frame at `position` would lie, and where; null before the first. */
  locate(
    position: number,
  ): { readonly file: ScannedFile; readonly index: number; readonly at: number } | null {
    for (let index = this.files.length - 1; index >= 0; index--) {
      const file = this.files[index] as ScannedFile;
      if (file.base <= position) return { file, index, at: FRAMES_BEGIN + position - file.base };
    }
    return null;
  }

  /** Bytes of a file, fewer at its end. A view of a window that is not reused. */
  async read(file: ScannedFile, at: number, length: number): Promise<Uint8Array> {
    const end = Math.min(at + length, file.bytes);
    if (end <= at) return new Uint8Array(0);
    let window = this.#window;
    if (
      window === null ||
      window.file !== file ||
      at < window.at ||
      end > window.at + window.bytes.byteLength
    ) {
      const wanted = Math.min(Math.max(windowBytes, length), file.bytes - at);
      const bytes = await readAround(file.handle, at, wanted, (block) => this.#noteUnreadable(file, block));
      window = { file, at, bytes };
      this.#window = window;
    }
    return window.bytes.subarray(at - window.at, end - window.at);
  }

  #noteUnreadable(file: ScannedFile, at: number): void {
    const place = `${file.path} ${at}`;
    if (this.#unreadable.has(place)) return;
    this.#unreadable.add(place);
    this.#report({
      kind: "unreadable-block",
      message: `${file.path} cannot be read at byte ${at}; what lay there counts as damaged`,
    });
  }

  /**
   * Throws when the end at `position` is only an end because the disk refuses to read what follows: that
   * may be the newest acknowledged frame, of which nothing else tells.
   */
  async refuseUnreadableEnd(position: number): Promise<void> {
    const place = this.locate(position);
    if (place === null) return;
    const frame = await this.frameAt(position);
    const end = place.at + (frame?.header.length ?? BLOCK_BYTES);
    for (let at = place.at; at < end; at += BLOCK_BYTES) {
      if (!this.#unreadable.has(`${place.file.path} ${at}`)) continue;
      throw new DiskError({ errno: "EIO", operation: "read", path: place.file.path });
    }
  }

  /** The frame whose sound header lies at `position`, or null. */
  async frameAt(position: number): Promise<LocatedFrame | null> {
    const place = this.locate(position);
    return place === null
      ? null
      : frameIn(place.file, place.at, await this.read(place.file, place.at, FRAME_HEADER_BYTES));
  }

  /** What lies behind `position`, to the end of the last file. One pass: a start waits for it. */
  async behind(position: number): Promise<Remainder> {
    const frames: LocatedFrame[] = [];
    let synced = 0;
    const place = this.locate(position);
    let begin = -1;
    let uncleanEnd = -1;
    for (let index = place?.index ?? 0; index < this.files.length; index++) {
      const file = this.files[index] as ScannedFile;
      const isFirst = index === place?.index;
      let at = isFirst ? place.at : FRAMES_BEGIN;
      while (at < file.bytes) {
        const block = await this.read(file, at, BLOCK_BYTES);
        const frame = frameIn(file, at, block);
        const isLater = frame !== null && frame.header.position > position;
        // A sound header tells its length, and what lies within is payload.
        const end = isLater ? at + frame.header.length : at + block.byteLength;
        if (isFirst && !isClean(file, block)) {
          if (begin < 0) begin = at;
          uncleanEnd = end;
        }
        if (isLater) {
          frames.push(frame);
          synced = Math.max(synced, frame.header.synced);
        } else if (frame === null && !isZero(block)) {
          synced = Math.max(synced, this.#syncedByMisplaced(block));
        }
        at = end;
      }
    }
    return { position, frames, synced, unclean: begin < 0 ? null : { begin, end: uncleanEnd } };
  }

  #syncedByMisplaced(block: Uint8Array): number {
    for (const owner of this.files) {
      const header = decodeFrameHeader(block, owner);
      if (header !== null) return header.synced;
    }
    return 0;
  }

  async close(): Promise<void> {
    for (const file of this.files) await file.handle.close();
  }
}

function frameIn(file: ScannedFile, at: number, block: Uint8Array): LocatedFrame | null {
  const header = decodeFrameHeader(block, file);
  if (header === null || header.position !== file.base + at - FRAMES_BEGIN) return null;
  return { file, at, header };
}

/**
 * Whether a block behind the end can be what lay there before: zeros, and in a recycled file whatever does
 * not claim to be a frame of this file.
 */
function isClean(file: ScannedFile, block: Uint8Array): boolean {
  return file.origin === FileOrigin.recycled ? !carriesSalt(block, file.salt) : isZero(block);
}

const zeros = new Uint8Array(BLOCK_BYTES);
const isZero = (block: Uint8Array): boolean => equalBytes(block, zeros.subarray(0, block.byteLength));

/**
 * Reads, and where the disk reports an error reads again block by block: those that fail twice come back
 * as zeros and are told. Any other error than EIO rejects.
 */
async function readAround(
  handle: DiskFile,
  begin: number,
  length: number,
  onUnreadable: (at: number) => void,
): Promise<Uint8Array> {
  try {
    return await handle.read(begin, length);
  } catch (cause) {
    if (!isReadError(cause)) throw cause;
  }
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += BLOCK_BYTES) {
    try {
      bytes.set(await handle.read(begin + at, Math.min(BLOCK_BYTES, length - at)), at);
    } catch (cause) {
      if (!isReadError(cause)) throw cause;
      onUnreadable(begin + at);
    }
  }
  return bytes;
}

function isReadError(cause: unknown): boolean {
  return cause instanceof DiskError && cause.errno === "EIO";
}

type Report = (report: RecoveryReport) => void;

interface FileToOpen {
  readonly disk: Disk;
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  readonly fileNumber: number;
  readonly path: string;
}

async function openFile(options: FileToOpen, report: Report): Promise<ScannedFile | null> {
  const { disk, clusterId, epoch, fileNumber, path } = options;
  const handle = await disk.open(path, { mode: "read", lane: "wal" });
  const bytes = await handle.size();
  const blocks = await readAround(handle, 0, Math.min(FRAMES_BEGIN, bytes), () => undefined);
  const copies = [0, BLOCK_BYTES].map((at) => decodeFileHeader(blocks.subarray(at, at + BLOCK_BYTES)));
  const isOurs = (header: FileHeader) =>
    header.epoch === epoch && header.fileNumber === fileNumber && header.clusterId === clusterId;
  const header = copies.find((copy) => copy !== null && isOurs(copy)) ?? null;
  if (header !== null) {
    if (header.format > WAL_FORMAT) {
      throw new RefusedError(
        `${path} has format ${header.format}, written by a newer version; start that one`,
      );
    }
    if (copies.some((copy) => copy === null || !isOurs(copy))) {
      report({
        kind: "damaged-file-header",
        message: `One of the two headers of ${path} is damaged; the other one serves`,
      });
    }
    const { base, salt, origin } = header;
    return { epoch, fileNumber, path, handle, bytes, base, salt, seed: saltSeed(salt), origin };
  }
  const found = copies.includes(null) ? await findByFrames(handle, bytes, epoch, fileNumber) : null;
  if (found === null) {
    await handle.close();
    if (copies.includes(null)) {
      report({
        kind: "damaged-file-header",
        message: `The headers of ${path} are damaged and no frame in it is one of this file; it is left aside`,
      });
    }
    return null;
  }
  report({
    kind: "damaged-file-header",
    message: `Both headers of ${path} are damaged; its frames tell salt and position`,
  });
  // What lay in it before is unknown: counted as zeros, so that no remainder is taken for clean.
  return {
    epoch,
    fileNumber,
    path,
    handle,
    bytes,
    ...found,
    seed: saltSeed(found.salt),
    origin: FileOrigin.zeros,
  };
}

async function findByFrames(
  handle: DiskFile,
  fileBytes: number,
  epoch: BrokerEpoch,
  fileNumber: number,
): Promise<{ readonly base: number; readonly salt: Uint8Array } | null> {
  for (let begin = FRAMES_BEGIN; begin < fileBytes; begin += windowBytes) {
    const length = Math.min(windowBytes, fileBytes - begin);
    const window = await readAround(handle, begin, length, () => undefined);
    for (let at = 0; at < window.byteLength; at += BLOCK_BYTES) {
      const block = window.subarray(at, at + BLOCK_BYTES);
      const salt = saltOfFrame(block, epoch, fileNumber);
      const header = salt === null ? null : decodeFrameHeader(block, { epoch, fileNumber, salt });
      if (salt === null || header === null) continue;
      return { base: header.position - (begin + at - FRAMES_BEGIN), salt };
    }
  }
  return null;
}
