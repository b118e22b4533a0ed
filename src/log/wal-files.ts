/**
 * The files of one live WAL: the one that is written, those behind it that are not released yet, and the
 * spare ones that are made ready in the background under temporary names. A file gets its final name only
 * when both copies of its header are durable, and frames only when that name is. Nothing touches a file
 * in use. Trouble with a spare file costs the spare file; trouble on the way to the next file is reported
 * to the caller, who must stop.
 */
import { assert } from "../base/assert.ts";
import { makeDirectoryAnew } from "../base/durable-directory.ts";
import type { BrokerEpoch } from "../base/ids.ts";
import type { Disk, DiskFile, Logger, Random } from "../base/ports.ts";
import type { FrameFile } from "./wal-frame.ts";
import {
  encodeFileHeader,
  FileOrigin,
  FRAMES_BEGIN,
  saltSeed,
  WAL_FORMAT,
  walDirectory,
  walFilePath,
} from "./wal-format.ts";

/** Zeros are written and synced in pieces of this size, so that the WAL never waits behind a long one. */
const pacedBytes = 1024 * 1024;
/** A growing file asks for a prepared one when it holds this part of a file: 1 MiB of 64. */
const grownPart = 64;
/** Spare files kept; what is released beyond is removed. */
const sparesMax = 3;

export interface WalFilesOptions {
  readonly disk: Disk;
  readonly random: Random;
  readonly log: Logger;
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  readonly fileBytes: number;
}

export interface OpenWalFile extends FrameFile {
  readonly handle: DiskFile;
  readonly origin: FileOrigin;
  /** Position of the first frame. */
  readonly base: number;
}

interface Spare {
  readonly path: string;
  readonly origin: FileOrigin;
}

/** A full file; `end` is the position behind its last frame. */
interface RetiredFile {
  readonly fileNumber: number;
  readonly end: number;
  /** It has exactly the configured size, every block of it written once. */
  readonly recyclable: boolean;
}

export class WalFiles {
  readonly #options: WalFilesOptions;
  readonly #directory: string;
  #current: OpenWalFile;
  readonly #retired: RetiredFile[] = [];
  readonly #spares: Spare[] = [];
  #sparesMade = 0;
  /** Zeros are being written, or were tried in vain since the last roll. */
  #preparing = false;
  #stopped = false;
  /** Work on spare and released files, one thing after the other. Never rejects. */
  #background: Promise<void> = Promise.resolve();

  private constructor(options: WalFilesOptions, first: OpenWalFile) {
    this.#options = options;
    this.#directory = walDirectory(options.epoch);
    this.#current = first;
  }

  /** Makes the epoch's directory and its file 0, which is used as it is and grows: a first start is quick. */
  static async open(options: WalFilesOptions): Promise<WalFiles> {
    const { disk, epoch } = options;
    const directory = walDirectory(epoch);
    await makeDirectoryAnew(disk, "wal");
    await disk.syncDirectory("");
    await makeDirectoryAnew(disk, directory);
    await disk.syncDirectory("wal");
    const names = await disk.list(directory);
    assert(names.length === 0, `the WAL of epoch ${epoch} begins in an empty directory`);
    return new WalFiles(
      options,
      await makeFile(options, { fileNumber: 0, base: 0, spare: null, temporary: "first.tmp" }),
    );
  }

  get current(): OpenWalFile {
    return this.#current;
  }
  get sparePaths(): readonly string[] {
    return this.#spares.map((spare) => spare.path);
  }

  /** Where in the current file the frame at `position` lies. */
  byteOf(position: number): number {
    return FRAMES_BEGIN + position - this.#current.base;
  }

  /** Whether a frame may go into the current file. One that is larger than any file gets a file of its own. */
  fits(position: number, length: number): boolean {
    const at = this.byteOf(position);
    if (at === FRAMES_BEGIN) return true;
    const { fileBytes } = this.#options;
    if (this.#current.origin === FileOrigin.grown) {
      // Each frame in a growing file costs the disk a change of its size as well: leave it as soon as
      // there is a better one. An epoch that writes next to nothing prepares none.
      if (at - FRAMES_BEGIN > fileBytes / grownPart) this.#prepare();
      if (this.#spares.length > 0) return false;
    } else if (at - FRAMES_BEGIN > fileBytes / 4) this.#prepare();
    return at + length <= fileBytes;
  }

  /** Goes on in the next file, whose first frame is at `base`: the end of everything, all of it durable. */
  async roll(base: number): Promise<void> {
    const before = this.#current;
    const spare = this.#spares.shift() ?? null;
    const fileNumber = before.fileNumber + 1;
    const temporary = `next-${fileNumber}.tmp`;
    this.#current = await makeFile(this.#options, { fileNumber, base, spare, temporary });
    this.#retired.push({
      fileNumber: before.fileNumber,
      end: base,
      recyclable: before.origin !== FileOrigin.grown && this.#sized(before, base),
    });
    this.#preparing = false;
    await before.handle.close();
  }

  #sized(file: OpenWalFile, end: number): boolean {
    return FRAMES_BEGIN + end - file.base <= this.#options.fileBytes;
  }

  /** Files that end at or below `below` become spare ones or go. Only after the command that released them is decided. */
  release(below: number): void {
    while (this.#retired.length > 0 && (this.#retired[0] as RetiredFile).end <= below) {
      const { fileNumber, recyclable } = this.#retired.shift() as RetiredFile;
      this.#inBackground("remove a released file", () => this.#retire(fileNumber, recyclable));
    }
  }

  async #retire(fileNumber: number, recyclable: boolean): Promise<void> {
    const { disk, epoch } = this.#options;
    const path = walFilePath(epoch, fileNumber);
    if (recyclable && this.#spares.length < sparesMax) {
      const spare = `${this.#directory}/spare-${this.#sparesMade++}.tmp`;
      await disk.rename(path, spare);
      // Not overwritten as long as a power cut could bring it back under the name of a log.
      await disk.syncDirectory(this.#directory);
      this.#spares.push({ path: spare, origin: FileOrigin.recycled });
    } else await disk.remove(path);
  }

  #prepare(): void {
    if (this.#preparing || this.#spares.length > 0) return;
    this.#preparing = true;
    const path = `${this.#directory}/spare-${this.#sparesMade++}.tmp`;
    this.#inBackground("prepare a WAL file", async () => {
      if (this.#spares.length > 0) return;
      try {
        await this.#fill(path);
        this.#spares.push({ path, origin: FileOrigin.zeros });
      } catch (cause) {
        await this.#options.disk.remove(path).catch(() => undefined);
        throw cause;
      }
    });
  }

  async #fill(path: string): Promise<void> {
    const { disk, fileBytes } = this.#options;
    const file = await disk.open(path, { mode: "create", lane: "bulk", bytes: fileBytes });
    try {
      const zeros = new Uint8Array(Math.min(pacedBytes, fileBytes));
      for (let at = 0; at < fileBytes && !this.#stopped; at += zeros.byteLength) {
        await file.write(at, [zeros.subarray(0, Math.min(zeros.byteLength, fileBytes - at))]);
        await file.sync();
      }
    } finally {
      await file.close();
    }
  }

  #inBackground(what: string, work: () => Promise<void>): void {
    this.#background = this.#background
      .then(() => (this.#stopped ? undefined : work()))
      .catch((cause: unknown) => {
        this.#options.log.warn("wal-spare-file-failed", { what, epoch: this.#options.epoch, cause });
      });
  }

  /** Ends background work and closes the current file. Writes nothing. */
  async close(): Promise<void> {
    this.#stopped = true;
    await this.#background;
    await this.#current.handle.close();
  }
}

async function makeFile(
  options: WalFilesOptions,
  next: {
    readonly fileNumber: number;
    readonly base: number;
    readonly spare: Spare | null;
    readonly temporary: string;
  },
): Promise<OpenWalFile> {
  const { disk, random, clusterId, epoch } = options;
  const { fileNumber, base, spare } = next;
  const directory = walDirectory(epoch);
  const origin = spare?.origin ?? FileOrigin.grown;
  const salt = random.bytes(8);
  const path = spare?.path ?? `${directory}/${next.temporary}`;
  const handle = await disk.open(path, {
    mode: spare === null ? "create" : "existing",
    lane: "wal",
    synced: true,
  });
  const header = { format: WAL_FORMAT, origin, epoch, fileNumber, salt, base, clusterId };
  await handle.writeSynced(0, [encodeFileHeader(header)]);
  await disk.rename(path, walFilePath(epoch, fileNumber));
  await disk.syncDirectory(directory);
  return { handle, epoch, fileNumber, salt, seed: saltSeed(salt), base, origin };
}
