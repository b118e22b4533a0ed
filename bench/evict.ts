/**
 * Takes a directory's files out of the page cache, so that the next reader waits for the disk. Other files
 * stay: an emptied cache of the whole machine would make programs load again, and other tests.
 */
import { finish } from "../tools/processes.ts";

const evictMs = 120_000;
/** Files that are mapped (indexes) stay; more than this share of the bytes must not. */
const residentShareMax = 0.1;

/** Answers the bytes of files that are still in memory. Throws when the kernel kept too much. */
export async function evict(directory: string): Promise<number> {
  await finish("sync", [], { timeoutMs: evictMs });
  const each = ["-exec", "dd", "if={}", "iflag=nocache", "count=0", "status=none", ";"];
  await finish("find", [directory, "-type", "f", "-size", "+0", ...each], { timeoutMs: evictMs });
  const { stdout } = await finish(
    "find",
    [directory, "-type", "f", "-exec", "fincore", "--bytes", "--noheadings", "-o", "RES,SIZE", "{}", "+"],
    { timeoutMs: evictMs },
  );
  let resident = 0;
  let size = 0;
  for (const line of stdout.trim().split("\n")) {
    const [inMemory, inFile] = line.trim().split(/\s+/).map(Number);
    resident += inMemory ?? 0;
    size += inFile ?? 0;
  }
  if (resident > residentShareMax * size)
    throw new Error(`${resident} of ${size} bytes below ${directory} are still in memory`);
  return resident;
}
