/** An open file of the simulated disk. When its process has died, its calls go nowhere: they never settle. */
import { assert } from "../base/assert.ts";
import { DiskError } from "../base/errors.ts";
import type { DiskFile } from "../base/ports.ts";
import type { SimDisk } from "./disk.ts";
import type { SimFile } from "./disk-model.ts";

export class SimDiskFile implements DiskFile {
  readonly path: string;
  readonly #disk: SimDisk;
  readonly #file: SimFile;
  readonly #life: number;
  readonly #writable: boolean;
  readonly #synced: boolean;
  #closed = false;

  constructor(
    disk: SimDisk,
    file: SimFile,
    path: string,
    access: { readonly writable: boolean; readonly synced: boolean },
  ) {
    this.#disk = disk;
    this.#file = file;
    this.path = path;
    this.#life = disk.life;
    this.#writable = access.writable;
    this.#synced = access.synced;
  }

  async size(): Promise<number> {
    if (!this.#alive()) return never();
    return this.#disk.sizeOf(this.#file, this.path);
  }
  async read(position: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
    if (!this.#alive()) return never();
    // Who still reads what he gave back shall read garbage.
    into?.fill(0xdd);
    const bytes = await this.#disk.readFile(this.#file, this.path, position, length);
    if (into === undefined) return bytes;
    into.set(bytes);
    return into.subarray(0, bytes.byteLength);
  }
  async write(position: number, chunks: readonly Uint8Array[]): Promise<void> {
    this.#checkWrite();
    if (!this.#alive()) return never();
    return this.#disk.writeFile(this.#file, this.path, position, chunks, false);
  }
  async writeSynced(position: number, chunks: readonly Uint8Array[]): Promise<void> {
    this.#checkWrite();
    assert(this.#synced, "a file for synced writes was opened as such");
    assert(chunks.length <= 1024, "a synced write has at most 1,024 chunks");
    if (!this.#alive()) return never();
    return this.#disk.writeFile(this.#file, this.path, position, chunks, true);
  }
  async sync(): Promise<void> {
    if (!this.#alive()) return never();
    return this.#disk.syncFile(this.#file, this.path);
  }
  async truncate(size: number): Promise<void> {
    this.#checkWrite();
    if (!this.#alive()) return never();
    return this.#disk.truncateFile(this.#file, this.path, size);
  }
  async close(): Promise<void> {
    this.#closed = true;
  }

  /** A call of a process that died goes nowhere. */
  #alive(): boolean {
    assert(!this.#closed, "a closed file is not used");
    return this.#life === this.#disk.life;
  }
  #checkWrite(): void {
    if (!this.#writable) throw new DiskError({ errno: "EBADF", operation: "write", path: this.path });
  }
}

function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}
