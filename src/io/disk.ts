/**
 * The `Disk` port over a real directory. Node runs file operations on a small pool of threads, so the one
 * thing that must never happen is a WAL write queued behind others: operations of the bulk lane and on
 * names take turns for all threads but two, and bulk writes are synced as they go, so that neither the
 * pool nor the device's queue holds much ahead of an acknowledgement. What was reported as durable is: a
 * file whose sync failed once never reports a success again (I9).
 */
import fs from "node:fs";
import { assert } from "../base/assert.ts";
import { DiskError } from "../base/errors.ts";
import type { Disk, DiskFile, DiskLane } from "../base/ports.ts";
import { directBytesMin, type DirectFile, DirectWrites } from "./direct-writes.ts";
import { join } from "node:path";

/** Limit of one writev system call on Linux (IOV_MAX); libuv splits a longer list into several calls. */
const chunksPerWriteMax = 1024;
/** A bulk write is cut at this size: so long at most a thread is held by one call. */
const bulkChunkBytes = 1024 * 1024;
/**
 * Bulk writes are synced each time so much was written: little enough for the WAL to wait behind, and not
 * less, because each sync of a file that grows costs the file system a commit of its own.
 */
const bulkSyncBytes = 8 * 1024 * 1024;
/** Threads of Node's pool that neither bulk nor name operations ever take: one for the WAL, one for the rest of the process. */
const reservedThreads = 2;

const linux = process.platform === "linux";
const windows = process.platform === "win32";

export interface DiskOptions {
  /** Threads of Node's pool; default UV_THREADPOOL_SIZE, else 4. */
  readonly poolThreads?: number;
  /** Whether large files that are written once go past the page cache. Default true. */
  readonly direct?: boolean;
}

/** Opens a directory that exists. */
export function openDisk(root: string, options: DiskOptions = {}): Disk {
  const threads = options.poolThreads ?? (Number(process.env["UV_THREADPOOL_SIZE"]) || 4);
  return new DirectoryDisk(
    root,
    new Turns(Math.max(1, threads - reservedThreads)),
    options.direct === false ? null : new DirectWrites(),
  );
}

/** Who may use the pool: `limit` at once, operations on names before those on bytes. Bounded by its callers, who each wait. */
class Turns {
  readonly #limit: number;
  #running = 0;
  readonly #names: (() => void)[] = [];
  readonly #bytes: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  async run<T>(kind: "names" | "bytes", operation: () => Promise<T>): Promise<T> {
    if (this.#running < this.#limit) this.#running++;
    else await new Promise<void>((enter) => (kind === "names" ? this.#names : this.#bytes).push(enter));
    try {
      return await operation();
    } finally {
      // A turn is handed on without being given back, so that nobody can slip in between.
      const next = this.#names.shift() ?? this.#bytes.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

type Done<T> = (error: NodeJS.ErrnoException | null, value: T) => void;

/** One callback operation of node:fs as a promise (fs.promises costs several more) whose rejection is a `DiskError`. */
function call<T = void>(operation: string, path: string, start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((cause, value) => {
      if (cause === null) resolve(value);
      else reject(new DiskError({ errno: cause.code ?? "EIO", operation, path, cause }));
    });
  });
}

class DirectoryDisk implements Disk {
  readonly #root: string;
  readonly #turns: Turns;
  readonly #direct: DirectWrites | null;

  constructor(root: string, turns: Turns, direct: DirectWrites | null) {
    this.#root = root;
    this.#turns = turns;
    this.#direct = direct;
  }

  #path(relative: string): string {
    assert(!/^\/|(^|\/)\.\.(\/|$)/.test(relative), "a path stays inside the data directory");
    return join(this.#root, relative);
  }

  #onName<T>(operation: string, path: string, start: (done: Done<T>) => void): Promise<T> {
    return this.#turns.run("names", () => call(operation, path, start));
  }

  async open(
    relative: string,
    options: {
      readonly mode: "read" | "existing" | "create";
      readonly lane: DiskLane;
      readonly synced?: boolean;
      readonly bytes?: number;
    },
  ): Promise<DiskFile> {
    const path = this.#path(relative);
    const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_DSYNC } = fs.constants;
    const synced = options.synced === true;
    let flags = options.mode === "read" ? O_RDONLY : O_RDWR;
    if (options.mode === "create") flags |= O_CREAT | O_EXCL;
    // Only Linux makes O_DSYNC a barrier that reaches the device's cache.
    if (synced && linux) flags |= O_DSYNC;
    const descriptor = await this.#onName<number>("open", path, (done) => fs.open(path, flags, 0o640, done));
    const turns = options.lane === "bulk" ? this.#turns : null;
    const large = options.mode === "create" && turns !== null && (options.bytes ?? 0) >= directBytesMin;
    const throughCache = !large && !(synced && linux && turns === null);
    return new DirectoryFile(relative, path, descriptor, {
      turns,
      synced,
      writable: options.mode !== "read",
      direct: throughCache ? null : ((await this.#direct?.open(path, synced)) ?? null),
    });
  }

  async list(directory: string): Promise<readonly string[]> {
    const path = this.#path(directory);
    try {
      const names = await this.#onName<string[]>("readdir", path, (done) => fs.readdir(path, done));
      return names.sort();
    } catch (error) {
      if (error instanceof DiskError && error.errno === "ENOENT") return [];
      throw error;
    }
  }

  async makeDirectory(relative: string): Promise<void> {
    const path = this.#path(relative);
    await this.#onName<unknown>("mkdir", path, (done) =>
      fs.mkdir(path, { recursive: true, mode: 0o750 }, done),
    );
  }

  async removeDirectory(relative: string): Promise<void> {
    const path = this.#path(relative);
    await this.#onName<void>("rmdir", path, (done) => fs.rmdir(path, done));
  }

  async rename(from: string, to: string): Promise<void> {
    const path = this.#path(from);
    await this.#onName<void>("rename", path, (done) => fs.rename(path, this.#path(to), done));
  }

  async link(from: string, to: string): Promise<void> {
    const path = this.#path(to);
    await this.#onName<void>("link", path, (done) => fs.link(this.#path(from), path, done));
  }

  async remove(relative: string): Promise<void> {
    const path = this.#path(relative);
    await this.#onName<void>("unlink", path, (done) => fs.unlink(path, done));
  }

  async syncDirectory(relative: string): Promise<void> {
    // Windows has no such call; what it cannot promise is said in the documentation.
    if (windows) return;
    const path = this.#path(relative);
    await this.#turns.run("names", async () => {
      const descriptor = await call<number>("open", path, (done) =>
        fs.open(path, fs.constants.O_RDONLY, done),
      );
      try {
        await call("fsync", path, (done) => fs.fsync(descriptor, (error) => done(error, undefined)));
      } finally {
        await call("close", path, (done) => fs.close(descriptor, (error) => done(error ?? null, undefined)));
      }
    });
  }

  async freeBytes(): Promise<number> {
    const found = await this.#onName<fs.StatsFs>("statfs", this.#root, (done) => fs.statfs(this.#root, done));
    return found.bavail * found.bsize;
  }
}

class DirectoryFile implements DiskFile {
  readonly path: string;
  readonly #fullPath: string;
  readonly #descriptor: number;
  /** Null: the WAL's lane, which waits for nobody. */
  readonly #turns: Turns | null;
  readonly #synced: boolean;
  readonly #writable: boolean;
  /** The way past the page cache, for the WAL and for a large file that is being made. */
  readonly #direct: DirectFile | null;
  /** Written through the page cache since the newest sync began. */
  #unsyncedBytes = 0;
  #pacing: Promise<void> = Promise.resolve();
  /** Linux reports a lost write to one sync only; the next would succeed. Whoever asks again gets the same error. */
  #syncFailure: DiskError | null = null;

  constructor(
    path: string,
    fullPath: string,
    descriptor: number,
    options: {
      readonly turns: Turns | null;
      readonly synced: boolean;
      readonly writable: boolean;
      readonly direct: DirectFile | null;
    },
  ) {
    this.path = path;
    this.#fullPath = fullPath;
    this.#descriptor = descriptor;
    this.#turns = options.turns;
    this.#synced = options.synced;
    this.#writable = options.writable;
    this.#direct = options.direct;
  }

  #run<T>(operation: () => Promise<T>): Promise<T> {
    return this.#turns === null ? operation() : this.#turns.run("bytes", operation);
  }

  async size(): Promise<number> {
    const found = await this.#run(() =>
      call<fs.Stats>("fstat", this.#fullPath, (done) => fs.fstat(this.#descriptor, done)),
    );
    return found.size;
  }

  async read(position: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
    const bytes =
      into?.subarray(0, length) ?? new Uint8Array(Buffer.allocUnsafeSlow(length).buffer, 0, length);
    let filled = 0;
    while (filled < length) {
      const count = await this.#run(() =>
        call<number>("read", this.#fullPath, (done) =>
          fs.read(this.#descriptor, bytes, filled, length - filled, position + filled, done),
        ),
      );
      if (count === 0) return bytes.subarray(0, filled);
      filled += count;
    }
    return bytes;
  }

  #writev(chunks: readonly Uint8Array[], position: number): Promise<number> {
    return call<number>("write", this.#fullPath, (done) =>
      fs.writev(this.#descriptor, chunks as Uint8Array[], position, done),
    );
  }

  async write(position: number, chunks: readonly Uint8Array[]): Promise<void> {
    assert(this.#writable, "a file opened for reading is not written");
    const past = this.#synced ? null : this.#direct;
    const direct = (await past?.write(position, chunks, (operation) => this.#run(operation))) ?? 0;
    let at = position + direct;
    for (const piece of piecesOf(direct === 0 ? chunks : dropBytes(chunks, direct))) {
      await this.#run(() => this.#writeAll(at, piece));
      at += piece.bytes;
      this.#unsyncedBytes += piece.bytes;
      // Without this the kernel collects dirty pages and writes them in one burst that the WAL's sync must sit out.
      if (this.#turns !== null && this.#unsyncedBytes >= bulkSyncBytes) await this.#paceSync();
    }
  }

  /**
   * Begins a sync and waits for the one before it, so that the next pieces are copied while the disk is
   * busy. Rejects with what failed earlier; a failure of the one that begins stays with the file.
   */
  async #paceSync(): Promise<void> {
    const before = this.#pacing;
    this.#unsyncedBytes = 0;
    this.#pacing = before.then(() => this.#syncOnce());
    this.#pacing.catch(() => undefined);
    await before;
  }

  /** Goes on after a short write, so that the error which cut it becomes visible (ENOSPC most of the time). */
  async #writeAll(position: number, piece: Piece): Promise<void> {
    let chunks: readonly Uint8Array[] = piece.chunks;
    let left = piece.bytes;
    while (left > 0) {
      const count = await this.#writev(chunks, position + piece.bytes - left);
      if (count === 0) throw this.#shortWrite(0, left);
      left -= count;
      if (left > 0) chunks = dropBytes(chunks, count);
    }
  }

  async writeSynced(position: number, chunks: readonly Uint8Array[]): Promise<void> {
    assert(this.#synced && this.#writable, "writeSynced is for a file opened as synced");
    assert(chunks.length <= chunksPerWriteMax, "a synced write is one system call");
    if (this.#syncFailure !== null) throw this.#syncFailure;
    let length = 0;
    for (const chunk of chunks) length += chunk.byteLength;
    if (length === 0) return;
    try {
      const past = this.#direct?.writeSynced(position, chunks, length) ?? null;
      const count =
        (past === null ? null : await past) ?? (await this.#run(() => this.#writev(chunks, position)));
      // The rest could be written, but then the frame would have been two writes: its fate is not ours to mend.
      if (count !== length) throw this.#shortWrite(count, length);
    } catch (error) {
      this.#syncFailure = error as DiskError;
      throw error;
    }
    if (!linux) await this.sync();
  }

  #shortWrite(count: number, length: number): DiskError {
    return new DiskError({
      errno: "EIO",
      operation: "write",
      path: this.#fullPath,
      cause: new Error(`${count} of ${length} bytes were written`),
    });
  }

  async sync(): Promise<void> {
    // The kernel tells a failure to one caller only: a sync that ran beside the failed one would succeed.
    await this.#pacing;
    await this.#syncOnce();
  }

  async #syncOnce(): Promise<void> {
    if (this.#syncFailure !== null) throw this.#syncFailure;
    try {
      // fdatasync also makes a new size durable; on macOS libuv asks for F_FULLFSYNC.
      await this.#run(() =>
        call("fdatasync", this.#fullPath, (done) =>
          fs.fdatasync(this.#descriptor, (error) => done(error ?? null, undefined)),
        ),
      );
    } catch (error) {
      this.#syncFailure = error as DiskError;
      throw error;
    }
  }

  async truncate(size: number): Promise<void> {
    assert(this.#writable, "a file opened for reading is not truncated");
    await this.#run(() =>
      call("ftruncate", this.#fullPath, (done) =>
        fs.ftruncate(this.#descriptor, size, (error) => done(error ?? null, undefined)),
      ),
    );
  }

  async close(): Promise<void> {
    // The number of a closed file may be another file's a moment later.
    await this.#pacing.catch(() => undefined);
    await this.#direct?.close();
    await this.#run(() =>
      call("close", this.#fullPath, (done) =>
        fs.close(this.#descriptor, (error) => done(error ?? null, undefined)),
      ),
    );
  }
}

interface Piece {
  readonly chunks: readonly Uint8Array[];
  readonly bytes: number;
}

/** The chunks in pieces of at most `bulkChunkBytes` and `chunksPerWriteMax`, by reference. */
function* piecesOf(chunks: readonly Uint8Array[]): Generator<Piece> {
  let piece: Uint8Array[] = [];
  let bytes = 0;
  for (const chunk of chunks) {
    for (let from = 0; from < chunk.byteLength; ) {
      const part = chunk.subarray(from, from + bulkChunkBytes - bytes);
      piece.push(part);
      bytes += part.byteLength;
      from += part.byteLength;
      if (bytes === bulkChunkBytes || piece.length === chunksPerWriteMax) {
        yield { chunks: piece, bytes };
        piece = [];
        bytes = 0;
      }
    }
  }
  if (bytes > 0) yield { chunks: piece, bytes };
}

function dropBytes(chunks: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let index = 0;
  let left = count;
  while (index < chunks.length && left >= (chunks[index] as Uint8Array).byteLength) {
    left -= (chunks[index] as Uint8Array).byteLength;
    index++;
  }
  if (index === chunks.length) return [];
  return [(chunks[index] as Uint8Array).subarray(left), ...chunks.slice(index + 1)];
}
