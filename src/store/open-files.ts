/**
 * Files of immutable objects that are read in parts: they stay open between two parts, which saves three
 * calls of four and lets the kernel see that a file is read in order. Their number is bounded, the least
 * recently used is closed first, and none is closed under a read. A file whose name was removed is never
 * found here again, even when it was being opened meanwhile.
 */
import type { DiskFile } from "../base/ports.ts";

interface OpenFile {
  readonly file: Promise<DiskFile>;
  /** Reads under way. */
  users: number;
  /** Nobody finds it any more; its last user closes it. */
  left: boolean;
}

export class OpenFiles {
  readonly #open: (path: string) => Promise<DiskFile>;
  readonly #filesMax: number;
  /** By path, least recently used first. */
  readonly #files = new Map<string, OpenFile>();
  #closed = false;

  constructor(open: (path: string) => Promise<DiskFile>, filesMax: number) {
    this.#open = open;
    this.#filesMax = filesMax;
  }

  get count(): number {
    return this.#files.size;
  }

  /** Rejects with what `open` or `work` rejects with; the file is opened anew after that. */
  async use<T>(path: string, work: (file: DiskFile) => Promise<T>): Promise<T> {
    let opened = this.#files.get(path);
    if (opened === undefined) opened = { file: this.#open(path), users: 0, left: false };
    else this.#files.delete(path);
    this.#files.set(path, opened);
    opened.users++;
    this.#closeOldest();
    try {
      return await work(await opened.file);
    } catch (error) {
      this.#leave(path, opened);
      throw error;
    } finally {
      opened.users--;
      if (this.#closed) this.#leave(path, opened);
      if (opened.left) this.#closeUnused(opened);
    }
  }

  /** To be called when the name `path` is gone. */
  forget(path: string): void {
    const opened = this.#files.get(path);
    if (opened === undefined) return;
    this.#leave(path, opened);
    this.#closeUnused(opened);
  }

  /** Keeps nothing open from now on. */
  close(): void {
    this.#closed = true;
    for (const path of this.#files.keys()) this.forget(path);
  }

  #closeOldest(): void {
    for (const path of this.#files.keys()) {
      if (this.#files.size <= this.#filesMax) return;
      this.forget(path);
    }
  }

  #leave(path: string, opened: OpenFile): void {
    opened.left = true;
    if (this.#files.get(path) === opened) this.#files.delete(path);
  }

  /** Nobody waits for it: nothing was written, so that nothing can be lost. */
  #closeUnused(opened: OpenFile): void {
    if (opened.users > 0) return;
    opened.file.then((file) => file.close()).catch(() => undefined);
  }
}
