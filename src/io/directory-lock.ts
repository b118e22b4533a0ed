/**
 * One process per data directory, held by the kernel: a SQLite file in an exclusive transaction, whose
 * lock ends with the process however that ends. A plain file cannot refuse the write of a process that
 * was thought dead, so this lock is the fence of a broker on one machine: never a pid file, never a time.
 * Whoever holds it is written beside it, only for people to read.
 */
import fs from "node:fs";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { RefusedError } from "../base/errors.ts";

export interface DirectoryLock {
  /** The directory was empty or absent. */
  readonly isNew: boolean;
  /** What the directory stands on keeps nothing over a power cut (a memory file system). */
  readonly volatile: boolean;
  release(): void;
}

/** A directory with this file is one broker's. */
export const lockName = "lock.db";
const holderName = "lock.holder";

/** File systems by the type that statfs tells on Linux, on which a lock is not ours alone or a sync may lie. */
export const refusedFileSystems: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xfe534d42, "SMB"],
  [0xff534d42, "CIFS"],
  [0x65735546, "FUSE"],
  [0x01021997, "9P"],
  [0x5346414f, "AFS"],
  [0x00c36400, "Ceph"],
  [0x0bd00bd0, "Lustre"],
]);
/** On which nothing outlives a power cut. */
export const memoryFileSystems: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);

/**
 * Makes the directory if it is absent, and locks it. Throws `RefusedError` with one sentence: held by
 * another process, not writable, on a network file system, or somebody else's.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const isNew = makeDirectory(directory);
  const volatile = checkFileSystem(directory);
  if (isNew) checkEmpty(directory);
  const database = await openExclusive(directory);
  try {
    writeHolder(directory);
  } catch (error) {
    database.close();
    throw error;
  }
  return {
    isNew,
    volatile,
    release() {
      fs.rmSync(join(directory, holderName), { force: true });
      database.close();
    },
  };
}

const errnoOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? "";

/** Whether this is the first use of the directory. */
function makeDirectory(directory: string): boolean {
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 0o750 });
    fs.accessSync(directory, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    return !fs.existsSync(join(directory, lockName));
  } catch (cause) {
    switch (errnoOf(cause)) {
      case "EEXIST":
      case "ENOTDIR":
        throw new RefusedError(
          `The data directory ${directory} is a file, or a part of its path is; give another one with --data.`,
          { cause },
        );
      case "ENOSPC":
        throw new RefusedError(
          `The disk of the data directory ${directory} is full, and the directory does not exist yet; free some space.`,
          { cause },
        );
      default:
        throw new RefusedError(
          `The data directory ${directory} cannot be written by this user (${errnoOf(cause)}); change its owner, or give another one with --data.`,
          { cause },
        );
    }
  }
}

/** Returns whether the file system lives in memory. */
function checkFileSystem(directory: string): boolean {
  if (process.platform !== "linux") return false;
  const { type } = fs.statfsSync(directory);
  const name = refusedFileSystems.get(type);
  if (name !== undefined) {
    throw new RefusedError(
      `The data directory ${directory} is on a network file system (${name}), where neither the lock nor a sync can be relied on; give a local disk with --data.`,
    );
  }
  return memoryFileSystems.has(type);
}

/** So that a mistyped --data does not spread files over somebody's home. */
function checkEmpty(directory: string): void {
  const others = fs.readdirSync(directory).filter((name) => name !== "lost+found" && !name.startsWith("."));
  if (others.includes("store")) {
    throw new RefusedError(
      `The directory ${directory} was begun with --store, by brokers that share it: start this one with --store file:${directory}, or give another directory with --data.`,
    );
  }
  if (others.length > 0) {
    throw new RefusedError(
      `The directory ${directory} holds other things (${others[0]}) and is not a data directory of Holdfast; give an empty one with --data.`,
    );
  }
}

async function openExclusive(directory: string): Promise<DatabaseSync> {
  const sqlite = await import("node:sqlite");
  let database: DatabaseSync | null = null;
  try {
    database = new sqlite.DatabaseSync(join(directory, lockName));
    // In memory, so that nothing is written and a full disk does not hinder a start.
    database.exec("PRAGMA journal_mode = MEMORY");
    database.exec("BEGIN EXCLUSIVE");
    return database;
  } catch (cause) {
    database?.close();
    const message = cause instanceof Error ? cause.message : String(cause);
    if (/locked|busy/i.test(message)) {
      throw new RefusedError(
        `The data directory ${directory} is in use by ${readHolder(directory)}; stop it, or give another directory with --data.`,
        { cause },
      );
    }
    throw new RefusedError(`The lock of the data directory ${directory} cannot be taken: ${message}.`, {
      cause,
    });
  }
}

function writeHolder(directory: string): void {
  try {
    fs.writeFileSync(
      join(directory, holderName),
      JSON.stringify({ pid: process.pid, startedAt: new Date().toISOString() }),
    );
  } catch (error) {
    // Only for people; a full disk must not hinder the start.
    if (!["ENOSPC", "EDQUOT"].includes(errnoOf(error))) throw error;
  }
}

function readHolder(directory: string): string {
  try {
    const { pid, startedAt } = JSON.parse(fs.readFileSync(join(directory, holderName), "utf8")) as {
      readonly pid: unknown;
      readonly startedAt: unknown;
    };
    return `process ${String(pid)}, started at ${String(startedAt)}`;
  } catch {
    return "another process";
  }
}
