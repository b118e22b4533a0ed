/**
 * The disk as one life of a broker sees it. When the life ends, its calls go nowhere: what was asked and
 * not answered never settles, what is asked later never begins, so that a dead broker cannot write beside
 * the one that is started after it. Can let the next sync of the WAL fail.
 */
import { DiskError } from "../base/errors.ts";
import type { Disk, DiskFile, DiskLane } from "../base/ports.ts";

export class OneLifeDisk implements Disk {
  readonly #inner: Disk;
  readonly #running = new Set<Promise<unknown>>();
  readonly #open = new Set<DiskFile>();
  #ended = false;
  /** Asked at each sync of the WAL: "lost" fails it before anything is written, "kept" afterwards. */
  syncFault: (() => "lost" | "kept" | null) | null = null;

  constructor(inner: Disk) {
    this.#inner = inner;
  }

  /** From now on nothing settles and nothing begins. */
  end(): void {
    this.#ended = true;
  }

  /** After `end`: resolves when the machine has finished what was under way, and every file is closed. */
  async close(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    for (const file of this.#open) await file.close();
    this.#open.clear();
  }

  open(
    path: string,
    options: {
      readonly mode: "read" | "existing" | "create";
      readonly lane: DiskLane;
      readonly synced?: boolean;
    },
  ): Promise<DiskFile> {
    return this.#run(async () => {
      const file = await this.#inner.open(path, options);
      this.#open.add(file);
      return this.#fileOfOneLife(file, options.lane);
    });
  }
  list(directory: string): Promise<readonly string[]> {
    return this.#run(() => this.#inner.list(directory));
  }
  makeDirectory(path: string): Promise<void> {
    return this.#run(() => this.#inner.makeDirectory(path));
  }
  removeDirectory(path: string): Promise<void> {
    return this.#run(() => this.#inner.removeDirectory(path));
  }
  rename(from: string, to: string): Promise<void> {
    return this.#run(() => this.#inner.rename(from, to));
  }
  link(from: string, to: string): Promise<void> {
    return this.#run(() => this.#inner.link(from, to));
  }
  remove(path: string): Promise<void> {
    return this.#run(() => this.#inner.remove(path));
  }
  syncDirectory(path: string): Promise<void> {
    return this.#run(() => this.#inner.syncDirectory(path));
  }
  freeBytes(): Promise<number> {
    return this.#run(() => this.#inner.freeBytes());
  }

  #fileOfOneLife(file: DiskFile, lane: DiskLane): DiskFile {
    const { path } = file;
    const synced = (operation: string, work: () => Promise<void>): Promise<void> =>
      this.#run(async () => {
        const fault = lane === "wal" ? (this.syncFault?.() ?? null) : null;
        if (fault !== "lost") await work();
        if (fault !== null) throw new DiskError({ errno: "EIO", operation, path });
      });
    return {
      path,
      size: () => this.#run(() => file.size()),
      read: (position, length) => this.#run(() => file.read(position, length)),
      write: (position, chunks) => this.#run(() => file.write(position, chunks)),
      writeSynced: (position, chunks) => synced("write", () => file.writeSynced(position, chunks)),
      sync: () => synced("fdatasync", () => file.sync()),
      truncate: (size) => this.#run(() => file.truncate(size)),
      close: () =>
        this.#run(async () => {
          this.#open.delete(file);
          await file.close();
        }),
    };
  }

  #run<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#ended) return new Promise(() => undefined);
    const running = operation();
    this.#running.add(running);
    return new Promise((resolve, reject) => {
      running.then(
        (value) => {
          this.#running.delete(running);
          if (!this.#ended) resolve(value);
        },
        (cause: Error) => {
          this.#running.delete(running);
          if (!this.#ended) reject(cause);
        },
      );
    });
  }
}
