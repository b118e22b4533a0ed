/**
 * The objects of a data directory, for looking only: no lock is taken, nothing is tidied, nothing can be
 * written, and a broker may be running on it. What vanishes between a listing and a reading was deleted by it.
 */
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { assert } from "../../base/assert.ts";
import type { ObjectStore } from "../../base/ports.ts";

const suffix = ".object";

export function readOnlyStore(root: string): ObjectStore {
  return {
    async get(key, range) {
      const file = await open(join(root, key + suffix), "r").catch(absent);
      if (file === null) return null;
      try {
        const { size } = await file.stat();
        const start = Math.min(range?.start ?? 0, size);
        const bytes = Buffer.alloc(Math.min(range?.length ?? size, size - start));
        const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, start);
        return bytes.subarray(0, bytesRead);
      } finally {
        await file.close();
      }
    },
    async list(prefix) {
      const names = await readdir(root, { recursive: true, withFileTypes: true }).catch(absent);
      const found: { key: string; bytes: number }[] = [];
      for (const entry of names ?? []) {
        if (!entry.isFile() || !entry.name.endsWith(suffix)) continue;
        const path = join(entry.parentPath, entry.name);
        const key = path.slice(root.length + 1, -suffix.length);
        const facts = key.startsWith(prefix) ? await stat(path).catch(absent) : null;
        if (facts !== null) found.push({ key, bytes: facts.size });
      }
      return found.sort((a, b) => (a.key < b.key ? -1 : 1));
    },
    putIfAbsent: () => assert(false, "inspecting writes nothing") as never,
    delete: () => assert(false, "inspecting deletes nothing") as never,
  };
}

/** For `catch`: null where the file is not there, any other error as it is. */
export function absent(error: unknown): null {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") return null;
  throw error;
}
