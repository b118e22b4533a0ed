/** Directories on whose names somebody will rely after a power cut. */
import { DiskError } from "./errors.ts";
import type { Disk } from "./ports.ts";

/**
 * Makes a directory whose parent is durable; it is so itself once the parent is synced. One that is there and
 * empty may be a name that a failed sync dropped in an earlier process: it is seen, no later sync ever writes
 * it, and a power cut would take with it everything that was put into it since (I9). So it is made anew. One
 * that has something in it was durable before that came. Only for whoever holds the disk alone. Rejects with
 * `DiskError`.
 */
export async function makeDirectoryAnew(disk: Disk, path: string): Promise<void> {
  if ((await disk.list(path)).length === 0) await removeIfThere(disk, path);
  await disk.makeDirectory(path);
}

async function removeIfThere(disk: Disk, path: string): Promise<void> {
  try {
    await disk.removeDirectory(path);
  } catch (error) {
    if (!(error instanceof DiskError && error.errno === "ENOENT")) throw error;
  }
}
