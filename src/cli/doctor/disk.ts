/**
 * The disk under a data directory: which file system, how much is free, who has it open, and how long a write
 * takes until it is synced, by the very calls the broker makes. Writes one file, which it removes. Whether a
 * device keeps over a power cut what it said it has synced cannot be seen from a program: only that it claims to.
 */
import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { DiskError } from "../../base/errors.ts";
import type { Disk } from "../../base/ports.ts";
import { BrokerConfig } from "../../broker/config.ts";
import { memoryFileSystems, refusedFileSystems } from "../../io/directory-lock.ts";
import { openDisk } from "../../io/disk.ts";
import { formatBytes, formatCount, formatMs } from "../table.ts";
import type { Verdict } from "./verdict.ts";

/** As many as take about a second, but no more. */
const syncsMax = 500;
const syncsMsMax = 1000;
const blockBytes = 4096;
/** Below this no device has written anything when a sync returns. */
const implausibleSyncMs = 0.03;
/** From here on each acknowledgement is slow enough to be felt. */
const slowSyncMs = 20;

const knownFileSystems: ReadonlyMap<number, string> = new Map([
  [0xef53, "ext4"],
  [0x58465342, "xfs"],
  [0x9123683e, "btrfs"],
  [0x2fc12fc1, "zfs"],
  [0x01021994, "tmpfs"],
  [0x858458f6, "ramfs"],
  [0x794c7630, "overlay"],
]);
const overlay = 0x794c7630;

export async function* diskVerdicts(data: string): AsyncGenerator<Verdict, void, void> {
  const directory = existing(data);
  yield occupant(data);
  yield fileSystem(data, directory);
  yield freeSpace(directory);
  if (!mayWrite(directory)) {
    yield {
      status: "wrong",
      about: "write access",
      text: `${directory} cannot be written by this user: change its owner, or give another directory with --data.`,
    };
    return;
  }
  const disk = openDisk(directory);
  yield await links(disk, directory);
  yield* syncs(disk, directory);
}

/** The directory itself, or the nearest one above it that is there. */
function existing(path: string): string {
  return fs.existsSync(path) || dirname(path) === path ? path : existing(dirname(path));
}

function mayWrite(directory: string): boolean {
  try {
    fs.accessSync(directory, fs.constants.W_OK | fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function occupant(data: string): Verdict {
  const about = "data directory";
  if (!fs.existsSync(data))
    return { status: "ok", about, text: `${data} does not exist yet: a start makes it.` };
  if (!fs.statSync(data).isDirectory())
    return { status: "wrong", about, text: `${data} is a file: give another directory with --data.` };
  const pid = holder(data);
  if (pid !== null)
    return {
      status: "note",
      about,
      text: `${data} is open in process ${pid}: a second broker on it would be refused.`,
      facts: { pid },
    };
  if (fs.existsSync(join(data, "lock.db")))
    return { status: "ok", about, text: `${data} is a data directory, and no broker has it open.` };
  const other = fs.readdirSync(data).find((name) => name !== "lost+found" && !name.startsWith("."));
  return other === undefined
    ? { status: "ok", about, text: `${data} is empty: a start makes it a data directory.` }
    : {
        status: "wrong",
        about,
        text: `${data} holds other things (${other}) and is no data directory of Holdfast: give an empty one with --data.`,
      };
}

/** The process that has the directory open, as it wrote it down itself, if it still runs. */
export function holder(data: string): number | null {
  try {
    const { pid } = JSON.parse(fs.readFileSync(join(data, "lock.holder"), "utf8")) as {
      readonly pid: number;
    };
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return null;
    return Number(/"pid":(\d+)/.exec(fs.readFileSync(join(data, "lock.holder"), "utf8"))?.[1]);
  }
}

function fileSystem(data: string, directory: string): Verdict {
  const about = "file system";
  if (process.platform !== "linux") {
    return {
      status: "unknown",
      about,
      text: `on ${process.platform} the kind of file system is not recognised: do not use a network file system.`,
    };
  }
  const { type } = fs.statfsSync(directory);
  const refused = refusedFileSystems.get(type);
  const name = refused ?? knownFileSystems.get(type) ?? `type 0x${type.toString(16)}`;
  const facts = { type: name };
  if (refused !== undefined) {
    return {
      status: "wrong",
      about,
      facts,
      text: `${data} is on ${name}, where neither a lock nor a sync can be relied on, so a start is refused: give a local disk with --data.`,
    };
  }
  if (memoryFileSystems.has(type)) {
    return {
      status: "risk",
      about,
      facts,
      text: `${data} is on ${name}, in memory: a power cut or a restart of the machine takes every acknowledged record. Fit for tests only.`,
    };
  }
  if (type === overlay) {
    return {
      status: "risk",
      about,
      facts,
      text: `${data} is on an overlay, usually the writable layer of a container: what is there goes with the container. Mount a volume and give it with --data.`,
    };
  }
  return knownFileSystems.has(type)
    ? { status: "ok", about, facts, text: `${name}, a local file system${deviceText(directory)}.` }
    : {
        status: "unknown",
        about,
        facts,
        text: `${name} is not known here. A local one with hard links is needed, such as ext4, xfs or btrfs.`,
      };
}

/** What the kernel knows of the device's own cache; nothing where there is no single device. */
function deviceText(directory: string): string {
  const { dev } = fs.statSync(directory);
  const major = ((dev >> 8) & 0xfff) | 0;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  for (const queue of ["queue", "../queue"]) {
    try {
      const path = fs.realpathSync(`/sys/dev/block/${major}:${minor}`);
      const cache = fs.readFileSync(join(path, queue, "write_cache"), "utf8").trim();
      return `, device ${basename(path)}, whose cache is ${cache === "write back" ? "flushed by each sync (write back)" : "said to need no flush (write through)"}`;
    } catch {
      // Not there: a partition has it one level up, other devices nowhere.
    }
  }
  return "";
}

function freeSpace(directory: string): Verdict {
  const { bavail, bsize, ffree, files } = fs.statfsSync(directory);
  const free = bavail * bsize;
  const floor = new BrokerConfig().get("holdfast.disk.floor.bytes");
  const facts = { freeBytes: free, floorBytes: floor };
  const about = "free space";
  if (files > 0 && ffree === 0)
    return {
      status: "wrong",
      about,
      facts,
      text: "no file can be made any more (no inodes are free): delete files, or give another disk.",
    };
  if (free < floor) {
    return {
      status: "wrong",
      about,
      facts,
      text: `${formatBytes(free)} are free, less than holdfast.disk.floor.bytes (${formatBytes(floor)}): producing is refused until there is more.`,
    };
  }
  return free < 4 * floor
    ? {
        status: "note",
        about,
        facts,
        text: `${formatBytes(free)} are free; below ${formatBytes(floor)} producing is refused.`,
      }
    : { status: "ok", about, facts, text: `${formatBytes(free)} are free.` };
}

const probeName = (of: string): string => `.holdfast-doctor-${process.pid}-${of}`;

/** The journal rests on a link that refuses a name which is taken. */
async function links(disk: Disk, directory: string): Promise<Verdict> {
  const about = "hard links";
  const [one, two] = [probeName("one"), probeName("two")];
  try {
    await (await disk.open(one, { mode: "create", lane: "bulk" })).close();
    await disk.link(one, two);
    const again = await disk.link(one, two).then(
      () => "a second link took the place of the first",
      (error: unknown) => (error instanceof DiskError ? error.errno : String(error)),
    );
    if (again !== "EEXIST")
      return {
        status: "wrong",
        about,
        text: `${directory} does not refuse a link to a name that is taken (${again}): use a local file system such as ext4, xfs or APFS.`,
      };
    return { status: "ok", about, text: "links are made, and refuse a name that is taken." };
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    return {
      status: "wrong",
      about,
      text: `${directory} has no hard links (${error.errno}): use a local file system such as ext4, xfs or APFS.`,
    };
  } finally {
    fs.rmSync(join(directory, one), { force: true });
    fs.rmSync(join(directory, two), { force: true });
  }
}

async function* syncs(disk: Disk, directory: string): AsyncGenerator<Verdict, void, void> {
  const name = probeName("sync");
  try {
    const times = await syncTimes(disk, name);
    const sorted = times.toSorted((a, b) => a - b);
    const at = (share: number): number =>
      sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
    const perSecond = Math.round((1000 * times.length) / times.reduce((sum, ms) => sum + ms, 0));
    const facts = { syncs: times.length, medianMs: at(0.5), p99Ms: at(0.99), maxMs: at(1), perSecond };
    const measured = `${formatCount(times.length)} writes of ${formatBytes(blockBytes)}, each synced: median ${formatMs(at(0.5))}, p99 ${formatMs(at(0.99))}, longest ${formatMs(at(1))}, ${formatCount(perSecond)} a second`;
    const about = "sync";
    if (at(0.5) < implausibleSyncMs)
      yield {
        status: "risk",
        about,
        facts,
        text: `${measured}. No device writes so fast: a sync here waits for none, and a power cut can take what was acknowledged.`,
      };
    else if (at(0.5) > slowSyncMs)
      yield {
        status: "note",
        about,
        facts,
        text: `${measured}. Each acknowledgement waits for one; producers with many records in flight share it.`,
      };
    else yield { status: "ok", about, facts, text: `${measured}.` };
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    yield {
      status: "wrong",
      about: "sync",
      text: `a synced write in ${directory} fails (${error.errno}): the broker could acknowledge nothing there.`,
    };
    return;
  } finally {
    fs.rmSync(join(directory, name), { force: true });
  }
  yield {
    status: "unknown",
    about: "power loss",
    text: "whether the device keeps over a power cut what it said it has synced cannot be seen from here. Devices with power-loss protection do; virtual disks as their host was told to.",
  };
}

/** Ms for each write, over blocks that are there, as in a log that is laid out ahead. */
async function syncTimes(disk: Disk, name: string): Promise<number[]> {
  const file = await disk.open(name, {
    mode: "create",
    lane: "wal",
    synced: true,
    bytes: syncsMax * blockBytes,
  });
  try {
    await file.write(0, [new Uint8Array(syncsMax * blockBytes)]);
    await file.sync();
    const block = new Uint8Array(blockBytes).fill(1);
    const times: number[] = [];
    const until = performance.now() + syncsMsMax;
    while (times.length < syncsMax && (times.length < 5 || performance.now() < until)) {
      const begun = performance.now();
      await file.writeSynced(times.length * blockBytes, [block]);
      times.push(performance.now() - begun);
    }
    return times;
  } finally {
    await file.close();
  }
}
