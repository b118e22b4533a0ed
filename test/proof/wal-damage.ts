/**
 * Damage at rest: every bit of a log flipped, every truncation of every file, every two blocks exchanged.
 * The log has four files, headers included, one of them recycled with the remains of an older one in it.
 * Whatever is damaged: what comes back is byte for byte what was appended; entries that were not hit and
 * have a witness are there; what is missing below the last witness is named, or a gap is declared.
 */
import { isDeepStrictEqual } from "node:util";
import type { WalEntry } from "../../src/log/wal.ts";
import {
  BLOCK_BYTES,
  decodeFileHeader,
  decodeFrameHeader,
  decodeRow,
  FileOrigin,
  FRAME_HEADER_BYTES,
  FRAMES_BEGIN,
  ROW_BYTES,
} from "../../src/log/wal-format.ts";
import { type RecoveredWal, recoverEpoch } from "../../src/log/wal-recovery.ts";
import type { SimDisk } from "../../src/sim/disk.ts";
import { SimRandom } from "../../src/sim/random.ts";
import {
  clusterId,
  type EpochFacts,
  sameEntry,
  type SweepOptions,
  type SweepResult,
  unbroken,
  Violation,
  WalWorld,
} from "./wal-world.ts";

/** One frame of the log as it was written. */
interface Frame {
  readonly path: string;
  /** Bytes of the file. */
  readonly begin: number;
  readonly end: number;
  readonly position: number;
  /** Index of its first entry among those that must come back. */
  readonly firstEntry: number;
  /** Byte ranges of its payloads, in the file. */
  readonly payloads: readonly { readonly begin: number; readonly end: number }[];
}

interface Log {
  readonly disk: SimDisk;
  readonly facts: EpochFacts;
  readonly expected: readonly WalEntry[];
  readonly frames: readonly Frame[];
  readonly paths: readonly string[];
  readonly bytes: number;
  readonly end: number;
}

const fileBytes = 24 * 1024;
let judged = 0;

/** Writes the log; `marked`: a mark witnesses the newest frame. */
async function writeLog(options: SweepOptions, marked: boolean): Promise<Log> {
  const world = new WalWorld({
    seed: options.seed ?? 1,
    fileBytes,
    ...(options.variant ? { variant: options.variant } : {}),
  });
  await world.open();
  const random = world.random.fork("sizes");
  let recycled = false;
  for (let round = 0; !recycled; round++) {
    for (let index = 0; index < 12; index++) {
      world.append(...Array.from({ length: random.between(1, 4) }, () => random.between(20, 1500)));
      await world.settle();
      await world.advance(10);
      if (index < 5) world.release(0);
    }
    const origins = logPaths(world.disk).map((path) => originOf(world.disk, path));
    recycled = origins.length >= 4 && origins.includes(FileOrigin.recycled);
    if (round > 50) throw new Error("the workload never leads to a recycled file among four");
    if (!recycled) world.release(1);
  }
  // The newest file gets several frames, or their witnesses would all lie in the names of files.
  while (newestFrames(world) < 3) {
    world.append(random.between(20, 1500), random.between(20, 1500));
    await world.settle();
  }
  if (marked) await world.advance(200);
  world.kill();
  const [facts] = world.facts() as [EpochFacts];
  const disk = world.disk.clone({});
  return describeLog(disk, facts);
}

function newestFrames(world: WalWorld): number {
  const { frames, paths } = describeLog(world.disk, (world.facts() as [EpochFacts])[0]);
  return frames.filter(({ path }) => path === paths[paths.length - 1]).length;
}

function logPaths(disk: SimDisk): string[] {
  const number = (path: string) => Number.parseInt(path.split("/")[2] as string, 10);
  return disk
    .paths()
    .filter((path) => path.endsWith(".log"))
    .sort((a, b) => number(a) - number(b));
}

function originOf(disk: SimDisk, path: string): FileOrigin | undefined {
  return decodeFileHeader(disk.contents(path).subarray(0, BLOCK_BYTES))?.origin;
}

function describeLog(disk: SimDisk, facts: EpochFacts): Log {
  const expected = facts.entries.slice(facts.releasedCount, facts.appended);
  const frames: Frame[] = [];
  const paths = logPaths(disk);
  let bytes = 0;
  let position = -1;
  let firstEntry = 0;
  for (const path of paths) {
    const content = disk.contents(path);
    bytes += content.byteLength;
    const header = decodeFileHeader(content.subarray(0, BLOCK_BYTES));
    if (header === null) throw new Error(`${path} has no header`);
    for (let at = FRAMES_BEGIN; at < content.byteLength; ) {
      const frame = decodeFrameHeader(content.subarray(at, at + BLOCK_BYTES), header);
      if (frame === null || (position >= 0 && frame.position < position)) break;
      position = frame.position + frame.length;
      if (frame.position >= facts.released) {
        const index = content.subarray(
          at + FRAME_HEADER_BYTES,
          at + FRAME_HEADER_BYTES + frame.entryCount * ROW_BYTES,
        );
        const payloads = Array.from({ length: frame.entryCount }, (_, row) => {
          const { payloadStart, payloadLength } = decodeRow(index, row);
          return { begin: at + payloadStart, end: at + payloadStart + payloadLength };
        });
        frames.push({
          path,
          begin: at,
          end: at + frame.length,
          position: frame.position,
          firstEntry,
          payloads,
        });
        firstEntry += frame.entryCount;
      }
      at += frame.length;
    }
  }
  if (firstEntry !== expected.length)
    throw new Error(`${firstEntry} of ${expected.length} entries lie in the log`);
  return { disk, facts, expected, frames, paths, bytes, end: position };
}

export async function run(options: SweepOptions): Promise<SweepResult> {
  const { sample, seed = 1 } = options;
  const random = new SimRandom(seed).fork("damage sweep");
  const counts = { "log bytes": 0, files: 0, flips: 0, truncations: 0, "exchanged blocks": 0 };
  for (const marked of [true, false]) {
    const log = await writeLog(options, marked);
    const ending = marked ? "a marked log" : "a log without a last mark";
    counts["log bytes"] += log.bytes;
    counts.files += log.paths.length;
    // Without a mark only the newest file is another case.
    for (const path of marked ? log.paths : log.paths.slice(-1)) {
      const length = log.disk.contents(path).byteLength;
      for (let bit = 0; bit < length * 8; bit++) {
        // Of a sample, one bit near the begin of each block in any case: headers lie there.
        if (sample && bit % (BLOCK_BYTES * 8) !== 77 && !random.chance(150 / (length * 8))) continue;
        counts.flips++;
        const byte = bit >> 3;
        await judge(
          log,
          options,
          `${ending}, bit ${bit} of ${path}`,
          (disk) => disk.flipBit(path, bit),
          (result, missing) => judgeFlip(log, path, byte, result, missing),
        );
      }
      for (let cut = 0; cut < length; cut++) {
        if (sample && !random.chance(25 / length)) continue;
        counts.truncations++;
        await judge(
          log,
          options,
          `${ending}, ${path} cut at ${cut}`,
          (disk) => disk.damage(path, (bytes) => bytes.subarray(0, cut)),
          (result, missing) => judgeCut(log, path, cut, result, missing),
        );
      }
    }
    const blocks = log.paths.flatMap((path) =>
      Array.from({ length: log.disk.contents(path).byteLength / BLOCK_BYTES }, (_, block) => ({
        path,
        block,
      })),
    );
    for (const [index, first] of blocks.entries()) {
      for (const second of blocks.slice(index + 1)) {
        if (sample && !random.chance(0.15)) continue;
        counts["exchanged blocks"]++;
        const name = `${ending}, block ${first.block} of ${first.path} exchanged with ${second.block} of ${second.path}`;
        await judge(
          log,
          options,
          name,
          (disk) => disk.swapBlocks(first, second),
          (result, missing) => judgeMissing(log, result, missing),
        );
      }
    }
  }
  return { name: "every bit flipped, every truncation, blocks exchanged", counts };
}

/** Recovers a damaged copy and finds what is missing; entries must be true and in order. */
async function judge(
  log: Log,
  options: SweepOptions,
  name: string,
  damage: (disk: SimDisk) => void,
  verdict: (result: RecoveredWal, missing: ReadonlySet<number>) => string | null,
): Promise<void> {
  const { variant = unbroken } = options;
  const disk = log.disk.clone({});
  damage(disk);
  const { epoch, released } = log.facts;
  const result = await (variant.recover ?? recoverEpoch)({
    disk,
    clusterId,
    epoch,
    released,
    recorded: null,
  });
  const missing = new Set(log.expected.keys());
  let next = 0;
  let complaint: string | null = null;
  for (const { entry } of result.entries) {
    while (next < log.expected.length && !sameEntry(entry, log.expected[next] as WalEntry)) next++;
    if (next === log.expected.length) complaint = "an entry came back that was not appended there";
    missing.delete(next++);
  }
  complaint ??= verdict(result, missing);
  // As dear as the first reading: of the whole sweep every eighth.
  if (options.sample || judged++ % 8 === 0) complaint ??= await judgeSecondReading(disk, log, result);
  if (complaint !== null) throw new Violation(`${complaint} (${name}, seed ${options.seed ?? 1})`);
}

/** What RECOVER recorded stands: a second reading gives the same end, entries and holes, and no news but the damage. */
async function judgeSecondReading(disk: SimDisk, log: Log, first: RecoveredWal): Promise<string | null> {
  const { epoch, released } = log.facts;
  const again = await recoverEpoch({ disk, clusterId, epoch, released, recorded: first });
  if (again.end !== first.end) return "a second reading ends elsewhere";
  if (again.entries.length !== first.entries.length) return "a second reading finds other entries";
  if (!isDeepStrictEqual(again.holes, first.holes)) return "a second reading names other holes";
  if (again.reports.some(({ kind }) => kind === "changed-since-recovery" || kind === "hole")) {
    return "a second reading reports a change";
  }
  return null;
}

/** Entries of the newest frame have no witness; everything else that is missing is named or covered by a gap. */
function judgeMissing(log: Log, result: RecoveredWal, missing: ReadonlySet<number>): string | null {
  const newest = log.frames[log.frames.length - 1] as Frame;
  for (const index of missing) {
    const entry = log.expected[index] as WalEntry;
    const named = result.holes.some(
      (hole) =>
        hole.partition === entry.partition && hole.from <= entry.baseOffset && entry.baseOffset < hole.to,
    );
    if (!named && !result.jumped && index < newest.firstEntry) return `entry ${index} vanished in silence`;
  }
  for (const hole of result.holes) {
    for (const [index, entry] of log.expected.entries()) {
      const inside =
        hole.partition === entry.partition && hole.from <= entry.baseOffset && entry.baseOffset < hole.to;
      if (inside && !missing.has(index)) return `entry ${index} is there and is called a hole`;
    }
  }
  return null;
}

function judgeFlip(
  log: Log,
  path: string,
  byte: number,
  result: RecoveredWal,
  missing: ReadonlySet<number>,
): string | null {
  const frame = log.frames.find((one) => one.path === path && one.begin <= byte && byte < one.end);
  const newest = log.frames[log.frames.length - 1] as Frame;
  if (result.jumped) return "one flipped bit led to a gap";
  if (frame !== newest && result.end !== log.end) return `the end moved to ${result.end}`;
  for (const index of missing) {
    if (frame === undefined) return `entry ${index} is gone and its frame was not hit`;
    if (frame === newest && index >= newest.firstEntry) continue;
    const payload = frame.payloads[index - frame.firstEntry];
    if (payload === undefined || byte < payload.begin || byte >= payload.end)
      return `entry ${index} is gone and was not hit`;
  }
  if (missing.size > 0 && frame !== newest && result.holes.length === 0) return "a hit entry is not named";
  if (missing.size === 0 && result.holes.length > 0) return "a hole is named where there is none";
  return judgeMissing(log, result, missing);
}

function judgeCut(
  log: Log,
  path: string,
  cut: number,
  result: RecoveredWal,
  missing: ReadonlySet<number>,
): string | null {
  const isLast = path === log.paths[log.paths.length - 1];
  for (const index of missing) {
    const frame = log.frames.findLast((one) => one.firstEntry <= index) as Frame;
    if (frame.path !== path) return `entry ${index} is gone and its file was not cut`;
    if (frame.end <= cut) return `entry ${index} lies before the cut and is gone`;
  }
  if (isLast) return null;
  if (result.end !== log.end) return `the end moved to ${result.end}`;
  return judgeMissing(log, result, missing);
}
