/**
 * The mistakes that the sweeps must catch, each made between the code and its ports: whoever weakens a
 * sweep until one of them passes has lost the proof. `caughtBy` names a sweep that finds it.
 */
import type { Disk, DiskFile } from "../../src/base/ports.ts";
import { DiskError } from "../../src/base/errors.ts";
import { walPosition } from "../../src/base/ids.ts";
import {
  decodeFrameHeader,
  encodeFrameHeader,
  decodeFileHeader,
  FRAME_HEADER_BYTES,
  saltSeed,
} from "../../src/log/wal-format.ts";
import { recoverEpoch } from "../../src/log/wal-recovery.ts";
import type { Variant } from "./wal-world.ts";

export interface BrokenVariant extends Variant {
  readonly caughtBy: "crash" | "damage" | "faults";
  /** Needs this workload, and all of it. */
  readonly workload?: string;
}

type FileChanges = Partial<Pick<DiskFile, "sync" | "writeSynced">>;

/** The same disk, with some methods replaced. */
function changedDisk(
  disk: Disk,
  changes: Partial<Disk>,
  ofFile: (file: DiskFile) => FileChanges = () => ({}),
): Disk {
  return {
    open: async (path, options) => changedFile(await disk.open(path, options), ofFile),
    list: (directory) => disk.list(directory),
    makeDirectory: (path) => disk.makeDirectory(path),
    removeDirectory: (path) => disk.removeDirectory(path),
    rename: (from, to) => disk.rename(from, to),
    link: (from, to) => disk.link(from, to),
    remove: (path) => disk.remove(path),
    syncDirectory: (path) => disk.syncDirectory(path),
    freeBytes: () => disk.freeBytes(),
    ...changes,
  };
}

function changedFile(file: DiskFile, ofFile: (file: DiskFile) => FileChanges): DiskFile {
  return {
    path: file.path,
    size: () => file.size(),
    read: (position, length) => file.read(position, length),
    write: (position, chunks) => file.write(position, chunks),
    writeSynced: (position, chunks) => file.writeSynced(position, chunks),
    sync: () => file.sync(),
    truncate: (size) => file.truncate(size),
    close: () => file.close(),
    ...ofFile(file),
  };
}

/** Each frame's `synced` counted from its file's first frame, with checksums and chain made to fit. */
function relativeSynced(file: DiskFile): FileChanges {
  let base = 0;
  return {
    writeSynced: (position, chunks) => {
      const bytes = Buffer.concat(chunks);
      const fileHeader = position === 0 ? decodeFileHeader(bytes) : null;
      if (fileHeader !== null) {
        base = fileHeader.base;
        salts.set(file, fileHeader);
        return file.writeSynced(position, chunks);
      }
      const owner = salts.get(file);
      const header = owner === undefined ? null : decodeFrameHeader(bytes, owner);
      if (owner === undefined || header === null) return file.writeSynced(position, chunks);
      const previousChecksum = header.sequence === 0 ? 0 : newestChecksum;
      newestChecksum = encodeFrameHeader(
        bytes.subarray(0, FRAME_HEADER_BYTES),
        { ...header, previousChecksum, synced: header.synced - base },
        saltSeed(owner.salt),
      );
      return file.writeSynced(position, [bytes]);
    },
  };
}
const salts = new WeakMap<DiskFile, NonNullable<ReturnType<typeof decodeFileHeader>>>();
let newestChecksum = 0;

export const brokenVariants: readonly BrokenVariant[] = [
  {
    name: "acknowledged before the sync",
    caughtBy: "crash",
    writerDisk: (disk) =>
      changedDisk(disk, {}, (file) => ({ writeSynced: (position, chunks) => file.write(position, chunks) })),
  },
  {
    name: "recovery does not write again and sync what it keeps",
    caughtBy: "crash",
    recoveryDisk: (disk) =>
      changedDisk(disk, {}, () => ({
        writeSynced: () => Promise.resolve(),
        sync: () => Promise.resolve(),
      })),
  },
  {
    name: "no salt",
    caughtBy: "crash",
    workload: "a record value that looks like a frame",
    random: { u32: () => 0, bytes: (length) => new Uint8Array(length) },
  },
  {
    name: "`synced` relative to the file",
    caughtBy: "damage",
    writerDisk: (disk) => changedDisk(disk, {}, relativeSynced),
  },
  {
    name: "a roll-over taken for the end",
    caughtBy: "crash",
    recoveryDisk: (disk) =>
      changedDisk(disk, {
        list: async (directory) => {
          const names = (await disk.list(directory)).filter((name) => name.endsWith(".log"));
          return names.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10)).slice(0, 1);
        },
      }),
  },
  {
    name: "no directory sync",
    caughtBy: "crash",
    writerDisk: (disk) => changedDisk(disk, { syncDirectory: () => Promise.resolve() }),
  },
  {
    name: "the tail cut too far: an unwitnessed frame is dropped although it is whole",
    caughtBy: "crash",
    recover: async (options) => {
      const result = await recoverEpoch(options);
      const last = result.entries[result.entries.length - 1];
      if (last === undefined || options.recorded !== null) return result;
      return {
        ...result,
        end: walPosition(last.position),
        entries: result.entries.filter(({ position }) => position < last.position),
      };
    },
  },
  {
    name: "everything behind damage is cut off",
    caughtBy: "damage",
    recover: async (options) => {
      const result = await recoverEpoch(options);
      if (result.reports.every(({ kind }) => kind !== "damaged-frame")) return result;
      return { ...result, entries: result.entries.slice(0, 1), holes: [], jumped: false };
    },
  },
  {
    name: "a sync that failed is tried again",
    caughtBy: "faults",
    writerDisk: (disk) =>
      changedDisk(disk, {}, (file) => ({
        writeSynced: async (position, chunks) => {
          try {
            await file.writeSynced(position, chunks);
          } catch (cause) {
            if (!(cause instanceof DiskError)) throw cause;
            await file.sync();
          }
        },
      })),
  },
];
