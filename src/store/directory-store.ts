/**
 * An object store that is a directory (P6). An object is written under a temporary name, synced, and only
 * then linked to its final name, so that a name stands for a whole durable object or does not exist; an
 * exclusive create of the final name would let a crash leave half an object there and block the journal
 * for ever. The name itself is durable before anybody is told of it. After a failed sync the store is
 * closed for good: what reached the disk is for the next start to find out (I9).
 *
 * The key `a/b` is the file `a/b.object`. Names that begin with a dot are temporary: hidden, and removed
 * at the next open.
 */
import { assert } from "../base/assert.ts";
import { makeDirectoryAnew } from "../base/durable-directory.ts";
import { DiskError, RefusedError } from "../base/errors.ts";
import type { Disk, DiskFile, ObjectStore, Random } from "../base/ports.ts";
import { StoreFailedError } from "./errors.ts";
import { OpenFiles } from "./open-files.ts";

export interface DirectoryStoreOptions {
  /** Path of the store's root on the disk; made when absent. */
  readonly directory: string;
  readonly random: Random;
  /**
   * Other processes write to the same directory: their names are made durable before they are acted on,
   * and temporary files, which may be theirs, stay. Without it one process holds the directory alone.
   */
  readonly shared?: boolean;
  /**
   * Directories in which each object is built upon the one before, as slots of a journal are. A sync of theirs that
   * failed may have left a name that is seen and will never be durable (I9); only the newest can be such a one.
   */
  readonly chains?: readonly string[];
}

const suffix = ".object";
const temporaryPrefix = ".tmp-";
const keyPattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
const partPattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;
const keyLengthMax = 200;
/** Names remembered as durable; forgetting one costs a sync. */
const durableNamesMax = 4_096;
/** Files of objects that stay open for readers of parts: as many as partitions that are commonly read in turns. */
const openFilesMax = 256;

export class DirectoryStore implements ObjectStore {
  readonly #disk: Disk;
  readonly #root: string;
  readonly #shared: boolean;
  readonly #nonce: string;
  #temporaries = 0;
  /** Directories that exist durably, or are being made so. */
  readonly #directories = new Map<string, Promise<void>>();
  /** Creations in flight by key: nobody may see a name before it is durable. Bounded by the callers. */
  readonly #creating = new Map<string, Promise<unknown>>();
  readonly #files: OpenFiles;
  /** In a shared directory: objects that are read in parts and whose names are known to be durable. Bounded. */
  readonly #durableNames = new Set<string>();
  /** Syncs by directory: that which runs (it never rejects), and that which begins when it has ended. */
  readonly #syncs = new Map<string, Promise<void>>();
  readonly #nextSyncs = new Map<string, Promise<void>>();
  #failure: StoreFailedError | null = null;

  private constructor(disk: Disk, options: DirectoryStoreOptions) {
    this.#disk = disk;
    this.#files = new OpenFiles((path) => this.#openToRead(path), openFilesMax);
    this.#root = options.directory;
    this.#shared = options.shared === true;
    this.#nonce = Buffer.from(options.random.bytes(6)).toString("hex");
  }

  /**
   * Removes what an earlier process left unfinished and makes every name it left durable. Rejects with
   * `RefusedError` when the file system has no hard links, with a retriable `DiskError` when it is full.
   */
  static async open(disk: Disk, options: DirectoryStoreOptions): Promise<DirectoryStore> {
    const store = new DirectoryStore(disk, options);
    await store.#directory(options.directory);
    await store.#tidy(options.directory);
    await store.#probeLinks();
    for (const chain of options.chains ?? []) await store.#renewNewest(`${options.directory}/${chain}`);
    return store;
  }

  async get(
    key: string,
    range?: { readonly start: number; readonly length: number },
    into?: Uint8Array,
  ): Promise<Uint8Array | null> {
    const path = this.#path(key);
    this.#mustWork();
    const creating = this.#creating.get(key);
    if (creating !== undefined) {
      await creating;
      this.#mustWork();
    }
    try {
      if (range === undefined || this.#shared) return await this.#readOnce(path, range);
      // An object never changes, so a file that stays open has the bytes of its name for as long as that exists.
      return await this.#files.use(path, (file) => file.read(range.start, range.length, into));
    } catch (error) {
      if (isErrno(error, "ENOENT") || isErrno(error, "ENOTDIR")) return null;
      throw error;
    }
  }

  async #readOnce(
    path: string,
    range: { readonly start: number; readonly length: number } | undefined,
  ): Promise<Uint8Array> {
    const file = await this.#openToRead(path);
    try {
      if (this.#shared) await this.#makeNameDurable(path, range !== undefined);
      if (range !== undefined) return await file.read(range.start, range.length);
      const size = await file.size();
      const bytes = await file.read(0, size);
      if (bytes.byteLength !== size) {
        throw new DiskError({ errno: "EIO", operation: "read", path, cause: new Error("short read") });
      }
      return bytes;
    } finally {
      await file.close();
    }
  }

  /** Whoever linked it may not have come to its sync, or not live to; what we do next may rest on this name. */
  async #makeNameDurable(path: string, isReadInParts: boolean): Promise<void> {
    if (this.#durableNames.has(path)) return;
    await this.#syncDirectory(parentOf(path));
    if (!isReadInParts) return;
    // A name that is deleted has no other content when it comes again, so that it is not less durable.
    if (this.#durableNames.size >= durableNamesMax) this.#durableNames.clear();
    this.#durableNames.add(path);
  }

  /** A sync that begins after a name was seen or made covers it: in a shared store, where every read needs one, many share it. */
  #syncDirectory(directory: string): Promise<void> {
    if (!this.#shared) return this.#durably(() => this.#disk.syncDirectory(directory));
    const next = this.#nextSyncs.get(directory);
    if (next !== undefined) return next;
    const running = this.#syncs.get(directory) ?? Promise.resolve();
    const sync = running.then(() => {
      this.#nextSyncs.delete(directory);
      const begun = this.#durably(() => this.#disk.syncDirectory(directory));
      const settled = begun
        .catch(() => undefined)
        .then(() => {
          if (this.#syncs.get(directory) === settled) this.#syncs.delete(directory);
        });
      this.#syncs.set(directory, settled);
      return begun;
    });
    this.#nextSyncs.set(directory, sync);
    return sync;
  }

  #openToRead(path: string): Promise<DiskFile> {
    return this.#disk.open(path, { mode: "read", lane: "bulk" });
  }

  /** Closes what stays open for readers. Nothing else is held, and the store can still be used. */
  close(): void {
    this.#files.close();
  }

  async putIfAbsent(
    key: string,
    chunks: readonly Uint8Array[],
    length: number,
  ): Promise<"created" | "exists"> {
    const path = this.#path(key);
    assert(length === lengthOf(chunks), "the chunks of an object have the length that was told");
    for (;;) {
      const other = this.#creating.get(key);
      if (other === undefined) break;
      await other;
    }
    this.#mustWork();
    const work = this.#put(path, chunks, length);
    const settled = work.then(
      () => this.#creating.delete(key),
      () => this.#creating.delete(key),
    );
    this.#creating.set(key, settled);
    return work;
  }

  async list(prefix: string): Promise<readonly { readonly key: string; readonly bytes: number }[]> {
    this.#mustWork();
    const found: { key: string; bytes: number }[] = [];
    const directory = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    assert(directory === "" || keyPattern.test(directory.slice(0, -1)), "a prefix is the begin of keys");
    await this.#walk(directory, prefix, found);
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** The removal is not synced: a name that comes back after a power cut has the same content, and is garbage as before. */
  async delete(key: string): Promise<void> {
    const path = this.#path(key);
    this.#mustWork();
    await this.#creating.get(key);
    try {
      await this.#disk.remove(path);
    } catch (error) {
      if (!isErrno(error, "ENOENT") && !isErrno(error, "ENOTDIR")) throw error;
    } finally {
      // Behind the removal: who opens it from now on finds nothing.
      this.#files.forget(path);
      this.#durableNames.delete(path);
    }
  }

  #path(key: string): string {
    assert(
      key.length <= keyLengthMax && keyPattern.test(key),
      "a key is made of plain names between slashes",
    );
    return `${this.#root}/${key}${suffix}`;
  }

  #mustWork(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Runs what must succeed for the rest to be true. A failure ends the store. */
  async #durably<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      this.#failure ??= new StoreFailedError(
        `The object store stopped, because its directory ${this.#root} could not be made durable: ${String(cause)}. Restart Holdfast when the disk is sound; what was acknowledged is read back from it.`,
        { cause },
      );
      throw this.#failure;
    }
  }

  async #put(path: string, chunks: readonly Uint8Array[], length: number): Promise<"created" | "exists"> {
    const directory = parentOf(path);
    await this.#directory(directory);
    const temporary = `${directory}/${temporaryPrefix}${this.#nonce}-${this.#temporaries++}`;
    let outcome: "created" | "exists" = "created";
    try {
      await this.#writeWhole(temporary, chunks, length);
      try {
        await this.#disk.link(temporary, path);
      } catch (error) {
        if (!isErrno(error, "EEXIST")) throw error;
        outcome = "exists";
      }
    } catch (error) {
      await this.#removeQuietly(temporary);
      // Without space nothing was linked, and nobody relies on the temporary file: the caller may try again.
      if (error instanceof DiskError && error.retriable) throw error;
      return this.#durably(() => Promise.reject(error as Error));
    }
    await this.#syncDirectory(directory);
    await this.#removeQuietly(temporary);
    return outcome;
  }

  async #writeWhole(path: string, chunks: readonly Uint8Array[], bytes: number): Promise<void> {
    const file = await this.#disk.open(path, { mode: "create", lane: "bulk", bytes });
    try {
      // The bulk lane writes and syncs in pieces, so that the WAL's sync never waits for much.
      await file.write(0, chunks);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** A temporary name that stays is hidden, and goes at the next open. */
  async #removeQuietly(temporary: string): Promise<void> {
    try {
      await this.#disk.remove(temporary);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
    }
  }

  /** Makes a directory whose name, and the names of its parents, survive a power cut. */
  #directory(path: string): Promise<void> {
    let made = this.#directories.get(path);
    if (made === undefined) {
      made = this.#makeDirectory(path);
      this.#directories.set(path, made);
      made.catch(() => this.#directories.delete(path));
    }
    return made;
  }

  async #makeDirectory(path: string): Promise<void> {
    const parent = parentOf(path);
    if (parent !== "") await this.#directory(parent);
    await (this.#shared ? this.#disk.makeDirectory(path) : makeDirectoryAnew(this.#disk, path));
    await this.#durably(() => this.#disk.syncDirectory(parent));
  }

  /** A name that a crashed process linked may not be durable yet, and we are about to rely on it. */
  async #tidy(directory: string): Promise<void> {
    const names = await this.#disk.list(directory);
    if (names.length === 0) return;
    for (const name of names) {
      const path = `${directory}/${name}`;
      if (name.startsWith(temporaryPrefix)) {
        if (!this.#shared) await this.#disk.remove(path);
      } else if (!name.endsWith(suffix) && partPattern.test(name))
        await this.#whenDirectory(() => this.#tidy(path));
    }
    await this.#durably(() => this.#disk.syncDirectory(directory));
  }

  /**
   * Puts a copy in the place of the newest object, so that its name is written and synced once more: a later sync
   * makes nothing durable of what an earlier one dropped, and what is built upon this name would be lost with it.
   */
  async #renewNewest(directory: string): Promise<void> {
    const newest = (await this.#disk.list(directory)).filter((name) => name.endsWith(suffix)).at(-1);
    if (newest === undefined) return;
    const path = `${directory}/${newest}`;
    const temporary = `${directory}/${temporaryPrefix}${this.#nonce}-${this.#temporaries++}`;
    const file = await this.#disk.open(path, { mode: "read", lane: "bulk" });
    let bytes: Uint8Array;
    try {
      bytes = await file.read(0, await file.size());
    } finally {
      await file.close();
    }
    try {
      await this.#writeWhole(temporary, [bytes], bytes.byteLength);
    } catch (error) {
      await this.#removeQuietly(temporary);
      // A full disk takes no copy, and must not keep a broker from starting.
      if (error instanceof DiskError && error.retriable) return;
      throw error;
    }
    await this.#durably(async () => {
      await this.#disk.rename(temporary, path);
      await this.#disk.syncDirectory(directory);
    });
  }

  /** A stray plain file is not ours: it is neither touched nor an error. */
  async #whenDirectory(visit: () => Promise<void>): Promise<void> {
    try {
      await visit();
    } catch (error) {
      if (!isErrno(error, "ENOTDIR")) throw error;
    }
  }

  async #walk(directory: string, prefix: string, found: { key: string; bytes: number }[]): Promise<void> {
    const path = directory === "" ? this.#root : `${this.#root}/${directory.slice(0, -1)}`;
    for (const name of await this.#disk.list(path)) {
      if (!partPattern.test(name)) continue;
      if (!name.endsWith(suffix)) {
        const inner = `${directory}${name}/`;
        if (inner.startsWith(prefix) || prefix.startsWith(inner)) {
          await this.#whenDirectory(() => this.#walk(inner, prefix, found));
        }
        continue;
      }
      const key = directory + name.slice(0, -suffix.length);
      if (!key.startsWith(prefix)) continue;
      const bytes = await this.#sizeOf(`${path}/${name}`);
      if (bytes !== null) found.push({ key, bytes });
    }
  }

  async #sizeOf(path: string): Promise<number | null> {
    try {
      const file = await this.#disk.open(path, { mode: "read", lane: "bulk" });
      try {
        return await file.size();
      } finally {
        await file.close();
      }
    } catch (error) {
      if (isErrno(error, "ENOENT")) return null;
      throw error;
    }
  }

  /** The whole protocol rests on `link` refusing an existing name: tried, not assumed. */
  async #probeLinks(): Promise<void> {
    const one = `${this.#root}/${temporaryPrefix}${this.#nonce}-probe-1`;
    const two = `${this.#root}/${temporaryPrefix}${this.#nonce}-probe-2`;
    const file = await this.#disk.open(one, { mode: "create", lane: "bulk" });
    await file.close();
    try {
      await this.#disk.link(one, two);
      const again = await this.#disk.link(one, two).then(
        () => null,
        (error: unknown) => error,
      );
      if (!isErrno(again, "EEXIST")) throw again ?? new Error("a second link replaced the first");
    } catch (cause) {
      if (cause instanceof DiskError && cause.retriable) throw cause;
      throw new RefusedError(
        `The file system of ${this.#root} does not have hard links that refuse an existing name, which Holdfast needs to write its metadata safely. Put the data directory on a local file system such as ext4, xfs or APFS.`,
        { cause },
      );
    } finally {
      await this.#removeQuietly(one);
      await this.#removeQuietly(two);
    }
  }
}

function isErrno(error: unknown, errno: string): boolean {
  return error instanceof DiskError && error.errno === errno;
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

function lengthOf(chunks: readonly Uint8Array[]): number {
  let length = 0;
  for (const chunk of chunks) length += chunk.byteLength;
  return length;
}
