/**
 * A power cut for a real process: after it was killed, everything that it had written, cut or named and not
 * synced is taken back, wholly or in part, file by file and directory by directory, as a seed decides. What
 * was synced (fsync, fdatasync, or a finished write through O_DSYNC) stays to the byte. The notes come from
 * the library power-cut.c, which is preloaded into the process.
 *
 * Not as hard as the simulated disk: a directory's own creation counts as synced, names of one directory are
 * lost from the end only, and a rename is kept or lost whole.
 */
import {
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { sharedObject } from "../../tools/toolbox.ts";

export interface PowerCut {
  /** The environment in which the process is started. */
  readonly env: Readonly<Record<string, string>>;
  /** Takes back what the dead process had not synced; answers how many units. The next start begins afresh. */
  apply(random: () => number): number;
}

const headBytes = 56;
const unitBytes = 4096;

interface Entry {
  readonly kind: "write" | "through" | "cut" | "name" | "done" | "synced";
  readonly id: number;
  readonly inode: number;
  readonly a: number;
  readonly b: number;
  readonly length: number;
  readonly bytes: Buffer;
}

const kinds = [undefined, "write", "cut", "name", "done", "synced", "through"] as const;

/** Prepares a cut for a process that keeps its data in `directory`/data. Of files with `lying` in their path nothing is synced, whatever the process is told. */
export async function powerCut(
  directory: string,
  options: { readonly lying?: string } = {},
): Promise<PowerCut> {
  const library = await sharedObject(join(import.meta.dirname, "power-cut.c"));
  const [data, state] = [join(directory, "data"), join(directory, "power-cut")];
  const inodes = join(state, "inodes");
  for (const path of [data, inodes]) mkdirSync(path, { recursive: true });
  return {
    env: {
      LD_PRELOAD: library,
      HOLDFAST_CUT_DIRECTORY: data,
      HOLDFAST_CUT_STATE: state,
      UV_USE_IO_URING: "0",
      ...(options.lying === undefined ? {} : { HOLDFAST_CUT_LIES: options.lying }),
    },
    apply: (random) => {
      const entries = readEntries(join(state, "log"));
      const undone = undoFiles(entries, inodes, random) + undoNames(entries, inodes, random);
      truncateSync(join(state, "log"), 0);
      for (const name of readdirSync(inodes)) rmSync(join(inodes, name));
      return undone;
    },
  };
}

function readEntries(path: string): Entry[] {
  const log = readFileSync(path);
  const entries: Entry[] = [];
  const number = (at: number): number => Number(log.readBigUInt64LE(at));
  for (let at = 0; at + headBytes <= log.length; ) {
    const end = at + headBytes + number(at + 48);
    // The process died while it noted this: it has not done it.
    if (end > log.length) break;
    const kind = kinds[number(at)];
    if (kind === undefined) throw new Error(`${path} has an unknown entry at byte ${at}`);
    const [id, inode, a, b, length] = [
      number(at + 8),
      number(at + 16),
      number(at + 24),
      number(at + 32),
      number(at + 40),
    ];
    entries.push({ kind, id, inode, a, b, length, bytes: log.subarray(at + headBytes, end) });
    at = end;
  }
  return entries;
}

/** Entries of each inode with, for each, whether it is surely on disk. */
function byInode(
  entries: readonly Entry[],
  wanted: readonly Entry["kind"][],
): Map<number, { entry: Entry; durable: boolean }[]> {
  const done = new Set(entries.filter(({ kind }) => kind === "done").map(({ a }) => a));
  const syncedUpto = new Map<number, number>();
  for (const { kind, inode, a } of entries) {
    if (kind === "synced") syncedUpto.set(inode, Math.max(a, syncedUpto.get(inode) ?? 0));
  }
  const found = new Map<number, { entry: Entry; durable: boolean }[]>();
  for (const entry of entries) {
    if (!wanted.includes(entry.kind)) continue;
    const durable =
      entry.kind === "through" ? done.has(entry.id) : entry.id <= (syncedUpto.get(entry.inode) ?? 0);
    const list = found.get(entry.inode) ?? [];
    list.push({ entry, durable });
    found.set(entry.inode, list);
  }
  return found;
}

interface Range {
  readonly from: number;
  readonly to: number;
}

function undoFiles(entries: readonly Entry[], inodes: string, random: () => number): number {
  let undone = 0;
  for (const [inode, list] of byInode(entries, ["write", "through", "cut"])) {
    const unsynced = list.filter(({ durable }) => !durable);
    const first = list[0];
    if (unsynced.length === 0 || first === undefined) continue;
    const mode = random();
    const scattered = mode > 0.6 && unsynced.every(({ entry }) => entry.kind !== "cut");
    // Of the unsynced entries, so many from the start are kept when the loss is not scattered.
    const keptCount = mode < 0.3 ? 0 : Math.floor(random() * (unsynced.length + 1));
    const firstLost = unsynced[keptCount];
    const isLost = (entry: Entry): boolean => firstLost !== undefined && entry.id >= firstLost.entry.id;
    const file = openSync(join(inodes, String(inode)), "r+");
    const kept: Range[] = [];
    const sizes: ((size: number) => number)[] = [];
    for (const { entry, durable } of list.toReversed()) {
      if (entry.kind === "cut") {
        const lost = !durable && isLost(entry);
        if (lost) {
          undone += 1;
          // A cut may also lengthen a file; then there is nothing to put back.
          if (entry.a < entry.b) restore(file, entry, { from: entry.a, to: entry.b }, kept);
        }
        sizes.push((size) => (lost ? size : entry.a));
        continue;
      }
      for (const unit of unitsOf(entry, scattered && !durable).toReversed()) {
        if (!durable && (scattered ? random() < 0.5 : isLost(entry))) {
          undone += 1;
          restore(file, entry, unit, kept);
        } else {
          kept.push(unit);
          sizes.push((size) => Math.max(size, unit.to));
        }
      }
    }
    ftruncateSync(
      file,
      sizes.reduceRight((size, apply) => apply(size), first.entry.b),
    );
    closeSync(file);
  }
  return undone;
}

/** A write as one range, or torn at block bounds. */
function unitsOf({ a, length }: Entry, torn: boolean): Range[] {
  if (!torn) return [{ from: a, to: a + length }];
  const units: Range[] = [];
  for (let from = a; from < a + length; ) {
    const to = Math.min(a + length, (Math.floor(from / unitBytes) + 1) * unitBytes);
    units.push({ from, to });
    from = to;
  }
  return units;
}

/** Puts back what was there before an entry, except where a later one that is kept has written. */
function restore(file: number, entry: Entry, range: Range, kept: readonly Range[]): void {
  let rest: Range[] = [range];
  for (const { from, to } of kept) {
    rest = rest.flatMap((part) =>
      [
        { from: part.from, to: Math.min(part.to, from) },
        { from: Math.max(part.from, to), to: part.to },
      ].filter((piece) => piece.from < piece.to),
    );
  }
  for (const { from, to } of rest) {
    const bytes = Buffer.alloc(to - from);
    entry.bytes.copy(
      bytes,
      0,
      Math.min(from - entry.a, entry.bytes.length),
      Math.min(to - entry.a, entry.bytes.length),
    );
    writeSync(file, bytes, 0, bytes.length, from);
  }
}

function undoNames(entries: readonly Entry[], inodes: string, random: () => number): number {
  let undone = 0;
  for (const list of byInode(entries, ["name"]).values()) {
    const unsynced = list.filter(({ durable }) => !durable).map(({ entry }) => entry);
    let keptCount = random() < 0.5 ? 0 : Math.floor(random() * (unsynced.length + 1));
    // The second half of a rename goes with the first.
    const [before, at] = [unsynced[keptCount - 1], unsynced[keptCount]];
    if (
      before !== undefined &&
      at !== undefined &&
      at.b === 0 &&
      at.a === before.b &&
      at.id === before.id + 1
    )
      keptCount -= 1;
    for (const { a, bytes } of unsynced.slice(keptCount).toReversed()) {
      const path = bytes.toString();
      rmSync(path, { force: true });
      if (a !== 0) linkSync(join(inodes, String(a)), path);
      undone += 1;
    }
  }
  return undone;
}
