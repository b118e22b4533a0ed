/**
 * The store that the brokers of a test share: objects in memory, or a directory. It outlives every broker, and a put
 * that was on its way when its broker died may still land.
 */
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { concatBytes } from "../base/bytes.ts";
import { DiskError } from "../base/errors.ts";
import type { ObjectStore } from "../base/ports.ts";
import { openDisk } from "../io/disk.ts";
import { systemRandom } from "../io/random.ts";
import { openSharedDirectory } from "../io/shared-directory.ts";
import { DirectoryStore } from "../store/directory-store.ts";
import type { Gate } from "./gate.ts";
import { StoreFaults, type StoreRequest } from "./store-faults.ts";

/** What the objects of a store in memory may take. */
const memoryBytesMax = 1024 * 1024 * 1024;
const immediately = globalThis.setImmediate;

export interface SharedStore {
  readonly faults: StoreFaults;
  /** Keys of the objects that are there, by prefix. */
  list(prefix?: string): Promise<readonly string[]>;
}

/** With what only the cluster does. */
export class TestStore implements SharedStore {
  readonly faults = new StoreFaults();
  /** Nobody wants to keep it. */
  readonly passing: boolean;
  readonly #objects: ObjectStore;
  readonly #dispose: () => void;

  private constructor(objects: ObjectStore, passing: boolean, dispose: () => void) {
    this.#objects = objects;
    this.passing = passing;
    this.#dispose = dispose;
  }

  /** "memory", "temporary", or a directory that stays. Rejects with `RefusedError`. */
  static async open(where: string): Promise<TestStore> {
    if (where === "memory") return new TestStore(new MemoryObjects(), true, () => undefined);
    const isTemporary = where === "temporary";
    const directory = isTemporary ? fs.mkdtempSync(join(tmpdir(), "holdfast-test-")) : resolve(where);
    openSharedDirectory(directory);
    const disk = openDisk(directory, { direct: false });
    const store = await DirectoryStore.open(disk, {
      directory: "store",
      random: systemRandom(),
      shared: true,
    });
    return new TestStore(store, isTemporary, () => {
      store.close();
      if (isTemporary) fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
    });
  }

  async list(prefix = ""): Promise<readonly string[]> {
    return (await this.#objects.list(prefix)).map(({ key }) => key);
  }

  /** As one life of a broker has it. */
  connect(broker: number, gate: Gate): ObjectStore {
    const objects = this.#objects;
    const ask = <T>(request: StoreRequest, work: () => Promise<T>): Promise<T> =>
      new Promise((answered, refused) => {
        if (gate.hasEnded) return;
        this.faults.strike(request, broker, work).then(
          (value) => gate.pass(() => answered(value)),
          (cause: unknown) => gate.pass(() => refused(cause as Error)),
        );
      });
    return {
      get: (key, range) => ask("get", () => objects.get(key, range)),
      putIfAbsent: (key, chunks, length) => {
        // The broker may use its memory again as soon as it thinks that it knows the outcome.
        const bytes = concatBytes(chunks);
        return ask("put", () => objects.putIfAbsent(key, [bytes], length));
      },
      list: (prefix) => ask("list", () => objects.list(prefix)),
      delete: (key) => ask("delete", () => objects.delete(key)),
    };
  }

  dispose(): void {
    this.#dispose();
  }
}

class MemoryObjects implements ObjectStore {
  readonly #objects = new Map<string, Uint8Array>();
  #bytes = 0;

  async get(
    key: string,
    range?: { readonly start: number; readonly length: number },
  ): Promise<Uint8Array | null> {
    await turn();
    return this.#objects.get(key)?.slice(range?.start ?? 0, range && range.start + range.length) ?? null;
  }

  async putIfAbsent(key: string, chunks: readonly Uint8Array[]): Promise<"created" | "exists"> {
    await turn();
    if (this.#objects.has(key)) return "exists";
    const bytes = concatBytes(chunks);
    if (this.#bytes + bytes.byteLength > memoryBytesMax) {
      throw new DiskError({ errno: "ENOSPC", operation: "put", path: key });
    }
    this.#bytes += bytes.byteLength;
    this.#objects.set(key, bytes);
    return "created";
  }

  async list(prefix: string): Promise<readonly { readonly key: string; readonly bytes: number }[]> {
    await turn();
    return Array.from(this.#objects, ([key, { byteLength }]) => ({ key, bytes: byteLength }))
      .filter(({ key }) => key.startsWith(prefix))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  async delete(key: string): Promise<void> {
    await turn();
    this.#bytes -= this.#objects.get(key)?.byteLength ?? 0;
    this.#objects.delete(key);
  }
}

/** A call takes one turn of the event loop. */
const turn = (): Promise<void> => new Promise((resolve) => immediately(resolve));
