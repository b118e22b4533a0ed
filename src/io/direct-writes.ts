/**
 * Writes past the page cache (O_DIRECT), for files that are written once and read much later, if at all.
 * A cached write costs the copy, the pages, and the kernel's work to find, clean and write them back; on a
 * machine whose memory is lent by a hypervisor each new page costs a trip there as well: 2.4 s of CPU per GB
 * were measured, against 0.1 s. The device takes whole blocks from aligned memory only, so bytes are copied
 * through a few slabs, and who finds no free slab waits. What a file system does not take this way is
 * written as usual, which costs speed and nothing else; durability comes from `sync` in either case.
 */
import fs from "node:fs";
import { DiskError } from "../base/errors.ts";

/** Positions, lengths and addresses are multiples of this: the largest block of usual devices. */
const blockBytes = 4096;
/** One write: what the device needs to be busy, and little enough for the WAL to wait behind. */
const slabBytes = 1024 * 1024;
const slabsMax = 8;
/** The longest synced write that goes this way; it has memory of its own, since it waits for nobody. */
const syncedBytesMax = 10 * 1024 * 1024;
const wasmPageBytes = 65_536;
/** Below this the ordinary way is as quick. */
export const directBytesMin = 256 * 1024;

/** Of the language, but only in the types of browsers. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
};

/** Runs an operation when the pool of threads has room for it. */
export type Run = <T>(operation: () => Promise<T>) => Promise<T>;

/** At the beginning of a page, which JavaScript can have in no other way. Only what was used once is memory of the process. */
function alignedBytes(length: number): Uint8Array {
  return new Uint8Array(new WebAssembly.Memory({ initial: length / wasmPageBytes }).buffer);
}

/** Aligned memory for all files of a disk. */
class Slabs {
  readonly #free: Uint8Array[];
  readonly #waiting: ((slab: Uint8Array) => void)[] = [];
  #forSynced: Uint8Array | null = alignedBytes(syncedBytesMax);

  constructor() {
    const all = alignedBytes(slabsMax * slabBytes);
    this.#free = Array.from({ length: slabsMax }, (_, index) =>
      all.subarray(index * slabBytes, (index + 1) * slabBytes),
    );
  }

  take(): Promise<Uint8Array> {
    const slab = this.#free.pop();
    return slab === undefined ? new Promise((enter) => this.#waiting.push(enter)) : Promise.resolve(slab);
  }

  give(slab: Uint8Array): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(slab);
    else next(slab);
  }

  /** For one synced write at a time; null while there is another. */
  takeForSynced(): Uint8Array | null {
    const taken = this.#forSynced;
    this.#forSynced = null;
    return taken;
  }

  giveForSynced(slab: Uint8Array): void {
    this.#forSynced = slab;
  }
}

/** What the files of one disk share: the slabs, and whether its file system takes such writes. */
export class DirectWrites {
  #slabs: Slabs | null = null;
  #refused = fs.constants.O_DIRECT === undefined;

  /** A second way into the file that was just opened at `path`; null when there is none. `synced`: for `writeSynced`. */
  async open(path: string, synced: boolean): Promise<DirectFile | null> {
    if (this.#refused) return null;
    try {
      this.#slabs ??= new Slabs();
      const { O_WRONLY, O_DIRECT, O_DSYNC } = fs.constants;
      const flags = O_WRONLY | O_DIRECT | (synced ? O_DSYNC : 0);
      const descriptor = await new Promise<number>((resolve, reject) => {
        fs.open(path, flags, (cause, opened) => (cause === null ? resolve(opened) : reject(cause)));
      });
      return new DirectFile(path, descriptor, this.#slabs, () => {
        this.#refused = true;
      });
    } catch {
      // No such memory, or no such files here: the ordinary way is there, and says what is wrong if it fails too.
      this.#refused = true;
      return null;
    }
  }
}

export class DirectFile {
  readonly #path: string;
  readonly #descriptor: number;
  readonly #slabs: Slabs;
  readonly #onRefused: () => void;
  #refused = false;

  constructor(path: string, descriptor: number, slabs: Slabs, onRefused: () => void) {
    this.#path = path;
    this.#descriptor = descriptor;
    this.#slabs = slabs;
    this.#onRefused = onRefused;
  }

  /**
   * Writes the whole blocks at the beginning of `chunks` and returns how many bytes those were: 0 when it
   * is not worth it or not possible. While one slab is written the next is filled. Rejects with `DiskError`
   * when nothing is in flight any more.
   */
  async write(position: number, chunks: readonly Uint8Array[], run: Run): Promise<number> {
    let length = 0;
    for (const chunk of chunks) length += chunk.byteLength;
    length -= length % blockBytes;
    if (this.#refused || position % blockBytes !== 0 || length < directBytesMin) return 0;
    const source = new Source(chunks);
    let inFlight: Promise<void> = Promise.resolve();
    let at = 0;
    try {
      while (at < length) {
        const slab = await this.#slabs.take();
        const bytes = Math.min(slabBytes, length - at);
        source.fill(slab, bytes);
        const from = position + at;
        const first = at === 0;
        const write = inFlight.then(() => run(() => this.#writeSlab(slab, bytes, from)));
        inFlight = write.finally(() => this.#slabs.give(slab));
        // Observed below, or one round later.
        inFlight.catch(() => undefined);
        // A file system that refuses does so at once, before anything depends on it.
        if (first) await inFlight;
        at += bytes;
      }
      await inFlight;
    } catch (error) {
      await inFlight.catch(() => undefined);
      if (at === 0 && error instanceof DiskError && error.errno === "EINVAL") {
        this.#refused = true;
        this.#onRefused();
        return 0;
      }
      throw error;
    }
    return length;
  }

  /**
   * One synced write of whole blocks, in one system call: the number of bytes written. Null, at once or in
   * the end, when it has to go the ordinary way; nothing is written then. Rejects with `DiskError`.
   */
  writeSynced(
    position: number,
    chunks: readonly Uint8Array[],
    length: number,
  ): Promise<number | null> | null {
    const aligned = position % blockBytes === 0 && length % blockBytes === 0;
    if (this.#refused || !aligned || length > syncedBytesMax) return null;
    const slab = this.#slabs.takeForSynced();
    if (slab === null) return null;
    let at = 0;
    for (const chunk of chunks) {
      slab.set(chunk, at);
      at += chunk.byteLength;
    }
    return this.#call(slab, 0, length, position)
      .catch((error: unknown) => {
        if (!(error instanceof DiskError) || error.errno !== "EINVAL") throw error;
        this.#refused = true;
        this.#onRefused();
        return null;
      })
      .finally(() => this.#slabs.giveForSynced(slab));
  }

  /** Goes on after a short write, so that the error which cut it becomes visible (ENOSPC most of the time). */
  async #writeSlab(slab: Uint8Array, bytes: number, position: number): Promise<void> {
    for (let done = 0; done < bytes; ) {
      const count = await this.#call(slab, done, bytes - done, position + done);
      if (count === 0 || count % blockBytes !== 0) {
        throw this.#error("EIO", new Error(`${count} of ${bytes - done} bytes were written`));
      }
      done += count;
    }
  }

  #call(slab: Uint8Array, from: number, bytes: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.write(this.#descriptor, slab, from, bytes, position, (cause, count) => {
        if (cause === null) resolve(count);
        else reject(this.#error(cause.code ?? "EIO", cause));
      });
    });
  }

  #error(errno: string, cause: Error): DiskError {
    return new DiskError({ errno, operation: "write", path: this.#path, cause });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      fs.close(this.#descriptor, () => resolve());
    });
  }
}

/** Chunks as one stream of bytes. */
class Source {
  readonly #chunks: readonly Uint8Array[];
  #index = 0;
  #used = 0;

  constructor(chunks: readonly Uint8Array[]) {
    this.#chunks = chunks;
  }

  fill(slab: Uint8Array, bytes: number): void {
    for (let filled = 0; filled < bytes; ) {
      const chunk = this.#chunks[this.#index] as Uint8Array;
      const take = Math.min(chunk.byteLength - this.#used, bytes - filled);
      const whole = this.#used === 0 && take === chunk.byteLength;
      slab.set(whole ? chunk : chunk.subarray(this.#used, this.#used + take), filled);
      filled += take;
      this.#used += take;
      if (this.#used === chunk.byteLength) {
        this.#index++;
        this.#used = 0;
      }
    }
  }
}
