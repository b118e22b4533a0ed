/**
 * A real directory that can lose what was not synced, as a machine does whose power is cut. The kernel
 * forgets nothing as long as the machine runs, so each unsynced change is remembered here with what undoes
 * it, until a sync makes it last: bytes with what stood there before, sizes, and names. `loseUnsynced`
 * undoes the rest, newest first. Of all that a power cut may leave this is the poorest: everything that
 * may be lost is lost.
 */
import fs from "node:fs";
import { join } from "node:path";
import type { Disk, DiskFile, DiskLane } from "../base/ports.ts";

/** Where removed files wait until their removal is durable; hidden from the broker. */
const graveyard = ".unsynced";

/** A file by its bytes, whatever it is called. */
interface Inode {
  readonly names: Set<string>;
}

interface Undo {
  /** What makes the change durable: a sync of this file, or of the directory with this path. */
  readonly until: Inode | string;
  /** Puts back what was there. */
  readonly run: () => void;
  /** The change is durable: what was kept for `run` goes. */
  readonly drop?: () => void;
}

export class UndoDisk implements Disk {
  readonly #inner: Disk;
  readonly #root: string;
  /** By name, of every file that was met; names of one file share it. Bounded by the names on the disk. */
  readonly #inodes = new Map<string, Inode>();
  /** Oldest first. Bounded by what the broker writes between two syncs. */
  #undos: Undo[] = [];
  #graves = 0;

  /** `inner` is the disk over the directory `root`. */
  constructor(inner: Disk, root: string) {
    this.#inner = inner;
    this.#root = root;
    fs.rmSync(join(root, graveyard), { recursive: true, force: true });
  }

  /** The power is cut. Call when nobody uses the disk any more. */
  loseUnsynced(): void {
    for (const undo of this.#undos.toReversed()) undo.run();
    this.#undos = [];
    this.forget();
  }

  /** Everything written stays, as when only the process died. */
  forget(): void {
    for (const { drop } of this.#undos.splice(0)) drop?.();
    fs.rmSync(join(this.#root, graveyard), { recursive: true, force: true });
  }

  async open(
    path: string,
    options: {
      readonly mode: "read" | "existing" | "create";
      readonly lane: DiskLane;
      readonly synced?: boolean;
    },
  ): Promise<DiskFile> {
    const file = await this.#inner.open(path, options);
    if (options.mode === "create") {
      this.#named(path, { names: new Set() });
      this.#remember({ until: parentOf(path), run: () => this.#unlink(path) });
    }
    return options.mode === "read" ? file : this.#watched(file, this.#inodeOf(path));
  }

  async list(directory: string): Promise<readonly string[]> {
    const names = await this.#inner.list(directory);
    return directory === "" ? names.filter((name) => name !== graveyard) : names;
  }

  async makeDirectory(path: string): Promise<void> {
    const parts = path.split("/");
    const paths = parts.map((_part, index) => parts.slice(0, index + 1).join("/"));
    const absent = paths.filter((each) => !fs.existsSync(this.#at(each)));
    await this.#inner.makeDirectory(path);
    for (const each of absent) {
      const run = () => this.#removeTree(each);
      this.#remember({ until: parentOf(each), run });
    }
  }

  async removeDirectory(path: string): Promise<void> {
    await this.#inner.removeDirectory(path);
    this.#remember({ until: parentOf(path), run: () => fs.mkdirSync(this.#at(path)) });
  }

  async rename(from: string, to: string): Promise<void> {
    const replaced = this.#bury(to);
    await this.#inner.rename(from, to);
    const inode = this.#inodeOf(from);
    this.#unname(to);
    this.#unname(from);
    this.#named(to, inode);
    const run = () => {
      fs.renameSync(this.#at(to), this.#at(from));
      this.#unname(to);
      this.#named(from, inode);
      replaced?.run();
    };
    this.#remember({ until: parentOf(to), run, ...(replaced === null ? {} : { drop: replaced.drop }) });
  }

  async link(from: string, to: string): Promise<void> {
    await this.#inner.link(from, to);
    this.#named(to, this.#inodeOf(from));
    this.#remember({ until: parentOf(to), run: () => this.#unlink(to) });
  }

  async remove(path: string): Promise<void> {
    const grave = this.#bury(path);
    await this.#inner.remove(path);
    this.#unname(path);
    if (grave !== null) this.#remember({ until: parentOf(path), ...grave });
  }

  async syncDirectory(path: string): Promise<void> {
    const synced = this.#upTo(path);
    await this.#inner.syncDirectory(path);
    this.#lasts(synced);
  }

  freeBytes(): Promise<number> {
    return this.#inner.freeBytes();
  }

  #watched(file: DiskFile, inode: Inode): DiskFile {
    const lastingly = async (sync: () => Promise<void>): Promise<void> => {
      const synced = this.#upTo(inode);
      await sync();
      this.#lasts(synced);
    };
    return {
      path: file.path,
      size: () => file.size(),
      read: (position, length) => file.read(position, length),
      close: () => file.close(),
      sync: () => lastingly(() => file.sync()),
      // The kernel may write what else waits along with it, and that is what is assumed here.
      writeSynced: (position, chunks) => lastingly(() => file.writeSynced(position, chunks)),
      write: async (position, chunks) => {
        const length = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
        await this.#rememberBytes(file, inode, position, length);
        await file.write(position, chunks);
      },
      truncate: async (size) => {
        await this.#rememberBytes(file, inode, size, Number.POSITIVE_INFINITY);
        await file.truncate(size);
      },
    };
  }

  /** What stands in [position, position + length), and the size, before they change. */
  async #rememberBytes(file: DiskFile, inode: Inode, position: number, length: number): Promise<void> {
    const size = await file.size();
    const before = await file.read(position, Math.max(0, Math.min(length, size - position)));
    const run = () => {
      const [name] = inode.names;
      if (name === undefined) return;
      const descriptor = fs.openSync(this.#at(name), "r+");
      try {
        if (before.byteLength > 0) fs.writeSync(descriptor, before, 0, before.byteLength, position);
        fs.ftruncateSync(descriptor, size);
      } finally {
        fs.closeSync(descriptor);
      }
    };
    this.#remember({ until: inode, run });
  }

  /** Gives a file a second name, under which it outlives its first; null when there is none. */
  #bury(path: string): { readonly run: () => void; readonly drop: () => void } | null {
    if (!fs.existsSync(this.#at(path))) return null;
    const inode = this.#inodeOf(path);
    const grave = `${graveyard}/${this.#graves++}`;
    fs.mkdirSync(this.#at(graveyard), { recursive: true });
    fs.linkSync(this.#at(path), this.#at(grave));
    return {
      run: () => {
        fs.renameSync(this.#at(grave), this.#at(path));
        this.#named(path, inode);
      },
      drop: () => fs.rmSync(this.#at(grave), { force: true }),
    };
  }

  #remember(undo: Undo): void {
    this.#undos.push(undo);
  }
  #upTo(until: Inode | string): ReadonlySet<Undo> {
    return new Set(this.#undos.filter((undo) => undo.until === until));
  }
  #lasts(synced: ReadonlySet<Undo>): void {
    if (synced.size === 0) return;
    this.#undos = this.#undos.filter((undo) => !synced.has(undo));
    for (const { drop } of synced) drop?.();
  }

  #inodeOf(path: string): Inode {
    return this.#inodes.get(path) ?? this.#named(path, { names: new Set() });
  }
  #named(path: string, inode: Inode): Inode {
    this.#unname(path);
    inode.names.add(path);
    this.#inodes.set(path, inode);
    return inode;
  }
  #unname(path: string): void {
    this.#inodes.get(path)?.names.delete(path);
    this.#inodes.delete(path);
  }
  #removeTree(directory: string): void {
    fs.rmSync(this.#at(directory), { recursive: true, force: true });
    for (const path of this.#inodes.keys()) if (path.startsWith(`${directory}/`)) this.#unname(path);
  }
  #unlink(path: string): void {
    fs.rmSync(this.#at(path), { force: true });
    this.#unname(path);
  }
  #at(path: string): string {
    return join(this.#root, path);
  }
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}
