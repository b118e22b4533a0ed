/**
 * A directory that the brokers of one machine share as their store. Nobody locks it: that a name is created once is
 * the fence. It must be on a file system whose links and syncs can be relied on, and not be one that a single broker
 * has for itself.
 */
import fs from "node:fs";
import { dirname, join } from "node:path";
import { RefusedError } from "../base/errors.ts";
import { lockName, memoryFileSystems, refusedFileSystems } from "./directory-lock.ts";

export interface SharedDirectory {
  /** Nothing in it outlives a power cut (a memory file system). */
  readonly volatile: boolean;
}

const temporaryPattern = /^\.tmp-/;
/** No put takes so long; a process that was stopped for longer in the middle of one ends when it goes on. */
const abandonedMs = 24 * 3_600_000;

/** Makes it, durably, when it is absent. Throws `RefusedError` with one sentence. */
export function openSharedDirectory(directory: string): SharedDirectory {
  try {
    makeDurably(directory);
    fs.accessSync(directory, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code ?? "";
    throw new RefusedError(
      `The directory ${directory} of --store cannot be made or written by this user (${errno}): change its owner, or name another one.`,
      { cause },
    );
  }
  if (fs.existsSync(join(directory, lockName))) {
    throw new RefusedError(
      `The directory ${directory} was begun with --data, by one broker that has it alone: start that with --data ${directory}, or name another directory with --store.`,
    );
  }
  if (process.platform !== "linux") return { volatile: false };
  const { type } = fs.statfsSync(directory);
  const name = refusedFileSystems.get(type);
  if (name !== undefined) {
    throw new RefusedError(
      `The directory ${directory} of --store is on a network file system (${name}), which may show one machine what is no longer so on another: give a local directory, or for several machines a bucket (--store s3://BUCKET/PREFIX).`,
    );
  }
  return { volatile: memoryFileSystems.has(type) };
}

/** What processes left that were killed in the middle of a put: hidden files, which nobody reads. Best effort. */
export function removeAbandoned(directory: string, nowMs: number): number {
  let removed = 0;
  for (const entry of fs.readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !temporaryPattern.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    try {
      if (nowMs - fs.statSync(path).mtimeMs < abandonedMs) continue;
      fs.unlinkSync(path);
      removed++;
    } catch (error) {
      // Its owner, or another broker, was faster.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  return removed;
}

/** A power cut must not take a directory in which something was acknowledged. */
function makeDurably(directory: string): void {
  const first = fs.mkdirSync(directory, { recursive: true, mode: 0o750 });
  if (first === undefined || process.platform === "win32") return;
  for (let made = directory; ; made = dirname(made)) {
    const parent = fs.openSync(dirname(made), "r");
    try {
      fs.fsyncSync(parent);
    } finally {
      fs.closeSync(parent);
    }
    if (made === first) return;
  }
}
