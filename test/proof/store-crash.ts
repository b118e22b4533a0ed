/**
 * The directory store and a kill or a power cut at every moment: of what is pending then every subset is
 * kept (of more than 8 units every prefix). Whatever was reported as created is there and whole, everything else
 * is whole or absent and can be created, no temporary file shows, and a second power cut right after the
 * start takes nothing away that was seen.
 */
import type { Disk, ObjectStore } from "../../src/base/ports.ts";
import { SimDisk } from "../../src/sim/disk.ts";
import { SimRandom } from "../../src/sim/random.ts";
import { DirectoryStore } from "../../src/store/directory-store.ts";
import { Violation } from "./journal-truth.ts";

export interface StoreCrashOptions {
  readonly sample: boolean;
  /** A deliberate mistake. */
  readonly variant?: StoreMaker;
}
export type StoreMaker = (disk: SimDisk) => Promise<ObjectStore>;

export const openStore: StoreMaker = (disk) =>
  DirectoryStore.open(disk, { directory: "objects", random: new SimRandom(1) });

/** The name is told before it is durable. */
export const noDirectorySync: StoreMaker = (disk) =>
  DirectoryStore.open(withChanges(disk, { syncDirectory: () => Promise.resolve() }), {
    directory: "objects",
    random: new SimRandom(1),
  });

/** A directory whose sync failed is taken for synced. */
export const ignoredSyncFailure: StoreMaker = (disk) =>
  DirectoryStore.open(
    withChanges(disk, { syncDirectory: (path) => disk.syncDirectory(path).catch(() => undefined) }),
    { directory: "objects", random: new SimRandom(1) },
  );

/** The object is written under its final name. */
export const exclusiveCreate: StoreMaker = async (disk) => ({
  ...bound(await openStore(disk)),
  putIfAbsent: async (key, chunks) => {
    const path = `objects/${key}.object`;
    const parent = path.slice(0, path.lastIndexOf("/"));
    await disk.makeDirectory(parent);
    for (let at = parent; at !== ""; at = at.slice(0, Math.max(0, at.lastIndexOf("/")))) {
      await disk.syncDirectory(at.slice(0, Math.max(0, at.lastIndexOf("/"))));
    }
    const file = await disk.open(path, { mode: "create", lane: "bulk" });
    await file.write(0, chunks);
    await file.sync();
    await file.close();
    await disk.syncDirectory(parent);
    return "created";
  },
});

/** The bytes are linked to their name before they are durable. */
export const noFileSync: StoreMaker = (disk) =>
  DirectoryStore.open(
    withChanges(disk, {
      open: async (path, options) => {
        const file = await disk.open(path, options);
        file.sync = () => Promise.resolve();
        return file;
      },
    }),
    { directory: "objects", random: new SimRandom(1) },
  );

function bound(store: ObjectStore): ObjectStore {
  return {
    get: store.get.bind(store),
    putIfAbsent: store.putIfAbsent.bind(store),
    list: store.list.bind(store),
    delete: store.delete.bind(store),
  };
}

function withChanges(disk: SimDisk, changes: Partial<Disk>): Disk {
  return {
    open: disk.open.bind(disk),
    list: disk.list.bind(disk),
    makeDirectory: disk.makeDirectory.bind(disk),
    removeDirectory: disk.removeDirectory.bind(disk),
    rename: disk.rename.bind(disk),
    link: disk.link.bind(disk),
    remove: disk.remove.bind(disk),
    syncDirectory: disk.syncDirectory.bind(disk),
    freeBytes: disk.freeBytes.bind(disk),
    ...changes,
  };
}

interface Moment {
  readonly disk: SimDisk;
  readonly created: ReadonlySet<string>;
}

const contents: { readonly [key: string]: Uint8Array } = {
  "meta/0": patterned(300, 1),
  "meta/1": patterned(9_000, 2),
  "seg/1/1": patterned(5_000, 3),
  "seg/2/1": patterned(100, 4),
  "cut/0": patterned(116, 5),
};

function patterned(length: number, seed: number): Uint8Array {
  return new Uint8Array(length).map((_, at) => (at * 7 + seed * 31) & 0xff || 1);
}

export async function run(
  options: StoreCrashOptions,
): Promise<{ readonly name: string; readonly counts: { readonly [name: string]: number } }> {
  const make = options.variant ?? openStore;
  const counts = { moments: 0, crashes: 0, kills: 0 };
  for (const parallel of [false, true]) {
    const moments = await momentsOf(make, parallel);
    for (const [index, moment] of moments.entries()) {
      if (options.sample && index % 3 !== 0 && index !== moments.length - 1) continue;
      counts.moments++;
      for (const keep of keptSubsets(moment.disk.pending().length, options.sample ? 5 : 8)) {
        counts.crashes++;
        const disk = moment.disk.clone();
        disk.crash((_, at) => keep(at));
        await judge(disk, moment, `moment ${index}${parallel ? " of puts at once" : ""}`);
      }
      counts.kills++;
      const killed = moment.disk.clone();
      killed.kill();
      await judge(killed, moment, `moment ${index}, kill`);
    }
  }
  return { name: "power loss at every moment of the directory store", counts };
}

async function momentsOf(make: StoreMaker, parallel: boolean): Promise<readonly Moment[]> {
  const disk = new SimDisk();
  const created = new Set<string>();
  const moments: Moment[] = [];
  const note = () => moments.push({ disk: disk.clone(), created: new Set(created) });
  disk.onStep = note;
  const store = await make(disk);
  const put = async (key: string): Promise<void> => {
    const bytes = contents[key] as Uint8Array;
    await store.putIfAbsent(key, [bytes.subarray(0, 50), bytes.subarray(50)], bytes.byteLength);
    created.add(key);
    note();
  };
  if (parallel) await Promise.all(Object.keys(contents).map(put));
  else for (const key of Object.keys(contents)) await put(key);
  return moments;
}

/** Every subset of up to `most` units, else every prefix and every single one left out. */
export function* keptSubsets(units: number, most: number): Generator<(at: number) => boolean> {
  if (units <= most) {
    for (let mask = 0; mask < 1 << units; mask++) yield (at) => (mask & (1 << at)) !== 0;
    return;
  }
  for (let end = 0; end <= units; end++) yield (at) => at < end;
  for (let out = 0; out < units; out++) yield (at) => at !== out;
}

async function judge(disk: SimDisk, moment: Moment, where: string): Promise<void> {
  const store = await openStore(disk);
  const seen = new Set<string>();
  for (const [key, expected] of Object.entries(contents)) {
    const found = await store.get(key);
    if (found === null) {
      if (moment.created.has(key))
        throw new Violation(`${where}: ${key} was reported as created and is gone`);
    } else if (!Buffer.from(found).equals(expected)) {
      throw new Violation(`${where}: ${key} is there in part`);
    } else seen.add(key);
  }
  const listed = (await store.list("")).map(({ key }) => key);
  if (listed.some((key) => !seen.has(key)) || listed.length !== seen.size) {
    throw new Violation(`${where}: the list shows ${listed.join(", ")}`);
  }
  if (disk.paths().some((path) => path.includes(".tmp-")))
    throw new Violation(`${where}: a temporary file stays`);
  disk.crash(() => false);
  const again = await openStore(disk);
  for (const key of seen) {
    if ((await again.get(key)) === null) throw new Violation(`${where}: ${key} was seen and is gone later`);
  }
  for (const [key, bytes] of Object.entries(contents))
    await again.putIfAbsent(key, [bytes], bytes.byteLength);
}
