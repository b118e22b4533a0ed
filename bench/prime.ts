/**
 * Makes the machine's free memory real before a run. In a virtual machine the host takes free pages back
 * (free page reporting), and the next writer of each page waits for the host: here 2 GB of new pages cost
 * 3 s more than 2 GB that were in use a moment ago. A broker's page cache, its heap and the client's heap are
 * such pages, so without priming a run measures what ran before it. A process of its own touches as much
 * memory as the run will want and ends; the kernel hands those pages out first. The host takes them again
 * within 5 to 10 s, so runs are short. bench/results/README.md has the measurements.
 */
import { readFileSync } from "node:fs";
import { finish } from "../tools/processes.ts";

/** `auto` follows what the last run of this side wrote; a number is the same for every run. */
export type PrimeRule = "auto" | "off" | number;

/** What a client's heap and a broker's buffers want besides the pages of the files. */
const heapsBytes = 600e6;
/** Holdfast writes a record to its WAL and to a segment; both sides are primed alike. */
const copies = 2;
const primeBytesMax = 4e9;
/** Never more than this share of what the machine can give. */
const availableShareMax = 0.5;
const primeTimeoutMs = 60_000;
const touch = `
const kept = [];
for (let left = Number(process.argv[1]); left > 0; left -= 2 ** 28) kept.push(Buffer.alloc(Math.min(left, 2 ** 28), 1));
`;

export function primeRuleOf(text: string): PrimeRule {
  if (text === "auto" || text === "off") return text;
  const bytes = Number(text);
  if (!Number.isSafeInteger(bytes) || bytes < 0)
    throw new Error(`--prime takes auto, off or a number of bytes, not ${text}`);
  return bytes;
}

/** Touches memory for a run that will write about `payloadBytes`; answers the bytes touched. */
export async function prime(rule: PrimeRule, payloadBytes: number): Promise<number> {
  if (rule === "off") return 0;
  const wanted = rule === "auto" ? payloadBytes * copies + heapsBytes : rule;
  const bytes = Math.round(Math.min(wanted, primeBytesMax, availableShareMax * availableBytes()));
  await finish(process.execPath, ["-e", touch, String(bytes)], { timeoutMs: primeTimeoutMs });
  return bytes;
}

function availableBytes(): number {
  const line = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"));
  if (line === null) throw new Error("/proc/meminfo does not say what memory is available");
  return Number(line[1]) * 1024;
}
