/**
 * A disk that keeps only what was synced. Between a write and its sync each block, each size change and
 * each name is a pending unit: visible to every process, kept when a process is killed, and at a power
 * cut kept or lost on its own, whichever is worst. Calls can fail by number, in part or after the fact,
 * and syncs can lie. Without a scheduler calls complete at once (in a promise job); with one they take
 * virtual time. An unfinished call of a process that died never settles.
 */
import { DiskError } from "../base/errors.ts";
import type { Disk, DiskFile, DiskLane } from "../base/ports.ts";
import type { DiskCall, DiskFault, DiskOperation } from "./disk-fault.ts";
import { SimDiskFile } from "./disk-file.ts";
import {
  applyDirectory,
  applyFileUnit,
  Content,
  type FileUnit,
  type NameUnit,
  parentOf,
  type PendingUnit,
  SimFile,
  type TreeUnit,
} from "./disk-model.ts";
import type { SimRandom } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

export type { DiskCall, DiskFault, DiskOperation } from "./disk-fault.ts";
export type { PendingUnit } from "./disk-model.ts";

export interface SimDiskOptions {
  /** Lets time pass; `holdfast/testing` gives one over real time. */
  readonly scheduler?: Pick<Scheduler, "schedule">;
  /** With a scheduler and no `latencyMs`, latencies are drawn from it. */
  readonly random?: SimRandom;
  /** What is torn apart at a power cut: 4,096 or 512. */
  readonly blockBytes?: number;
  /** How long a call takes, in virtual ms; the default draws 0.01 to 1. 0: it ends at once, without an event. */
  readonly latencyMs?: (operation: DiskOperation, bytes: number) => number;
  readonly capacityBytes?: number;
}

export class SimDisk implements Disk {
  readonly #options: SimDiskOptions;
  readonly #blockBytes: number;
  #files = new Map<number, SimFile>();
  #names = new Map<string, number>();
  #durableNames = new Map<string, number>();
  #directories = new Set<string>([""]);
  #durableDirectories = new Set<string>([""]);
  #pendingTree: TreeUnit[] = [];
  #nextFile = 1;
  #nextSequence = 1;
  /** Rises when the process that uses the disk dies: its handles and calls are dead from then on. */
  #life = 0;
  #calls = 0;
  /** Calls that failed because they were asked to. */
  faults = 0;
  /** Asked at each call whether it shall fail. */
  fault: ((call: DiskCall) => DiskFault | undefined) | null = null;
  /** Asked at each read: true lets it fail with EIO (a bad sector, for as long as it says so). */
  refuseRead: ((path: string, position: number, length: number) => boolean) | null = null;
  /** Told whenever a pending unit was made or settled: each is a moment at which the power may fail. */
  onStep: (() => void) | null = null;
  capacityBytes: number;

  constructor(options: SimDiskOptions = {}) {
    this.#options = options;
    this.#blockBytes = options.blockBytes ?? 4096;
    this.capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY;
  }

  // What a test does with the disk.

  /** How many calls were made so far. */
  get calls(): number {
    return this.#calls;
  }

  /** What is visible and not durable, oldest first. */
  pending(): readonly PendingUnit[] {
    const units: PendingUnit[] = [...this.#pendingTree];
    for (const file of this.#files.values()) units.push(...file.pending);
    return units.sort((a, b) => a.sequence - b.sequence);
  }

  /** The process dies, the machine does not: all that was written stays visible, and pending. */
  kill(): void {
    this.#life++;
  }

  /** The power fails: of the pending units, those that `keep` says true to became durable; the rest never was. */
  crash(keep: (unit: PendingUnit, index: number) => boolean): void {
    this.#life++;
    for (const [index, unit] of this.pending().entries()) {
      if (!keep(unit, index)) continue;
      if (unit.kind === "names") this.#applyNames(this.#durableNames, unit);
      else if (unit.kind === "directory") applyDirectory(this.#durableDirectories, unit);
      else applyFileUnit((this.#files.get(unit.file) as SimFile).durable, unit);
    }
    this.#pendingTree = [];
    for (const directory of this.#durableDirectories) {
      if (!this.#reachable(directory)) this.#durableDirectories.delete(directory);
    }
    for (const path of this.#durableNames.keys()) {
      if (!this.#durableDirectories.has(parentOf(path))) this.#durableNames.delete(path);
    }
    this.#directories = new Set(this.#durableDirectories);
    this.#names = new Map(this.#durableNames);
    const named = new Set(this.#names.values());
    for (const [id, file] of this.#files) {
      if (!named.has(id)) this.#files.delete(id);
      file.pending = [];
      file.visible = file.durable.share();
    }
  }

  /** An equal disk that goes its own way, with no open files, no faults and no listeners. */
  clone(options: SimDiskOptions = this.#options): SimDisk {
    const twin = new SimDisk({ ...options, blockBytes: this.#blockBytes });
    for (const [id, file] of this.#files) twin.#files.set(id, file.clone());
    twin.#names = new Map(this.#names);
    twin.#durableNames = new Map(this.#durableNames);
    twin.#directories = new Set(this.#directories);
    twin.#durableDirectories = new Set(this.#durableDirectories);
    twin.#pendingTree = [...this.#pendingTree];
    twin.#nextFile = this.#nextFile;
    twin.#nextSequence = this.#nextSequence;
    twin.capacityBytes = this.capacityBytes;
    return twin;
  }

  /** Every file's path, sorted. */
  paths(): readonly string[] {
    return [...this.#names.keys()].sort();
  }

  /** The visible bytes of a file. */
  contents(path: string): Uint8Array {
    const file = this.#fileAt(path, "read");
    return file.visible.read(0, file.visible.length);
  }

  /** Changes bytes at rest, past every cache: bit rot, misdirected writes, a file cut by other hands. */
  damage(path: string, change: (bytes: Uint8Array) => Uint8Array): void {
    const file = this.#fileAt(path, "write");
    const changed = change(file.visible.read(0, file.visible.length));
    file.visible = new Content(changed.slice());
    file.durable = new Content(changed.slice());
    file.pending = [];
  }

  flipBit(path: string, bit: number): void {
    this.damage(path, (bytes) => {
      bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
      return bytes;
    });
  }

  /** Exchanges block `first` of one file with block `second` of another, as a misdirected write would. */
  swapBlocks(first: { path: string; block: number }, second: { path: string; block: number }): void {
    const size = this.#blockBytes;
    const a = this.contents(first.path).slice(first.block * size, (first.block + 1) * size);
    const b = this.contents(second.path).slice(second.block * size, (second.block + 1) * size);
    const put = (at: { path: string; block: number }, block: Uint8Array) =>
      this.damage(at.path, (bytes) => {
        bytes.set(block.subarray(0, bytes.byteLength - at.block * size), at.block * size);
        return bytes;
      });
    put(first, b);
    put(second, a);
  }

  // What a program does with the disk.

  async open(
    path: string,
    options: {
      readonly mode: "read" | "existing" | "create";
      readonly lane: DiskLane;
      readonly synced?: boolean;
    },
  ): Promise<DiskFile> {
    // The file that has the name now, whatever happens to the name until this resolves.
    let opened = null as SimFile | null;
    await this.#call("open", path, 0, () => {
      if (options.mode !== "create") {
        opened = this.#fileAt(path, "open");
        return;
      }
      this.#needDirectoryOf(path, "open");
      if (this.#names.has(path)) throw new DiskError({ errno: "EEXIST", operation: "open", path });
      const file = new SimFile(this.#nextFile++);
      this.#files.set(file.id, file);
      this.#changeNames(parentOf(path), [{ path, file: file.id }]);
      opened = file;
    });
    return new SimDiskFile(this, opened ?? this.#fileAt(path, "open"), path, {
      writable: options.mode !== "read",
      synced: options.synced === true,
    });
  }

  async list(directory: string): Promise<readonly string[]> {
    await this.#call("list", directory, 0);
    const inside = (path: string) =>
      path !== "" && path.startsWith(directory) && parentOf(path) === directory;
    const paths = [...this.#names.keys(), ...this.#directories].filter(inside);
    return paths.map((path) => path.slice(directory === "" ? 0 : directory.length + 1)).sort();
  }

  async makeDirectory(path: string): Promise<void> {
    await this.#call("makeDirectory", path, 0, () => {
      const parts = path.split("/");
      for (let count = 1; count <= parts.length; count++) {
        const directory = parts.slice(0, count).join("/");
        if (this.#directories.has(directory)) continue;
        this.#changeDirectory(directory, false);
      }
    });
  }

  async removeDirectory(path: string): Promise<void> {
    await this.#call("removeDirectory", path, 0, () => {
      const refuse = (errno: string) => new DiskError({ errno, operation: "removeDirectory", path });
      if (!this.#directories.has(path)) throw refuse("ENOENT");
      const all = [...this.#names.keys(), ...this.#directories];
      if (all.some((each) => parentOf(each) === path)) throw refuse("ENOTEMPTY");
      this.#changeDirectory(path, true);
    });
  }

  #changeDirectory(path: string, gone: boolean): void {
    const unit = {
      kind: "directory",
      gone,
      sequence: this.#nextSequence++,
      directory: parentOf(path),
      path,
    } as const;
    applyDirectory(this.#directories, unit);
    this.#pendingTree.push(unit);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#call("rename", from, 0, () => {
      const file = this.#fileAt(from, "rename").id;
      this.#needDirectoryOf(to, "rename");
      if (parentOf(from) === parentOf(to)) {
        this.#changeNames(parentOf(to), [
          { path: to, file },
          { path: from, file: null },
        ]);
        return;
      }
      this.#changeNames(parentOf(to), [{ path: to, file }]);
      this.#changeNames(parentOf(from), [{ path: from, file: null }]);
    });
  }

  async link(from: string, to: string): Promise<void> {
    await this.#call("link", from, 0, () => {
      const file = this.#fileAt(from, "link").id;
      this.#needDirectoryOf(to, "link");
      if (this.#names.has(to)) throw new DiskError({ errno: "EEXIST", operation: "link", path: to });
      this.#changeNames(parentOf(to), [{ path: to, file }]);
    });
  }

  async remove(path: string): Promise<void> {
    await this.#call("remove", path, 0, () => {
      this.#fileAt(path, "remove");
      this.#changeNames(parentOf(path), [{ path, file: null }]);
    });
  }

  async syncDirectory(path: string): Promise<void> {
    if (!this.#directories.has(path))
      throw new DiskError({ errno: "ENOENT", operation: "syncDirectory", path });
    const units = new Set(this.#pendingTree.filter((unit) => unit.directory === path));
    const fault = await this.#call("syncDirectory", path, 0);
    const taken = this.#pendingTree.filter((unit) => units.has(unit));
    if (fault?.kind === "lie") return;
    this.#pendingTree = this.#pendingTree.filter((unit) => !units.has(unit));
    if (fault?.kind === "error")
      throw new DiskError({ errno: fault.errno, operation: "syncDirectory", path });
    for (const unit of taken) {
      if (unit.kind === "names") this.#applyNames(this.#durableNames, unit);
      else applyDirectory(this.#durableDirectories, unit);
    }
    this.onStep?.();
    if (fault !== undefined) throw new DiskError({ errno: fault.errno, operation: "syncDirectory", path });
  }

  async freeBytes(): Promise<number> {
    return Math.max(0, this.capacityBytes - this.#usedBytes());
  }

  // For the files.

  #fault(operation: DiskOperation, path: string): DiskFault | undefined {
    const fault = this.fault?.({ number: this.#calls, operation, path });
    this.#calls++;
    if (fault !== undefined) this.faults++;
    return fault;
  }

  /**
   * One call: asks for its fault, does `change` at once (what is pending is visible from the start), lets
   * time pass. A fault of kind "error" before a change prevents it. Syncs get their fault back instead.
   */
  async #call(
    operation: DiskOperation,
    path: string,
    bytes: number,
    change?: () => void,
  ): Promise<DiskFault | undefined> {
    const fault = this.#fault(operation, path);
    const life = this.#life;
    const isSync = operation === "syncDirectory" || operation === "sync";
    let refusal: unknown;
    if (fault?.kind === "error" && !isSync) refusal = new DiskError({ errno: fault.errno, operation, path });
    else {
      try {
        change?.();
        if (change !== undefined) this.onStep?.();
      } catch (cause) {
        refusal = cause;
      }
    }
    await this.#time(operation, bytes, life);
    if (refusal !== undefined) throw refusal;
    if (fault?.kind === "error-after" && !isSync)
      throw new DiskError({ errno: fault.errno, operation, path });
    return fault;
  }

  /** Lets the call's time pass; never returns to a process that died meanwhile. */
  #time(operation: DiskOperation, bytes: number, life: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        if (life === this.#life) resolve();
      };
      const { scheduler, random, latencyMs } = this.#options;
      if (scheduler === undefined) {
        queueMicrotask(done);
        return;
      }
      const delay = latencyMs?.(operation, bytes) ?? 0.01 + (random?.fraction() ?? 0) * 0.99;
      if (delay === 0) queueMicrotask(done);
      else scheduler.schedule(delay, done);
    });
  }

  async readFile(file: SimFile, path: string, position: number, length: number): Promise<Uint8Array> {
    await this.#call("read", path, length);
    if (this.refuseRead?.(path, position, length) === true) {
      throw new DiskError({ errno: "EIO", operation: "read", path });
    }
    return file.visible.read(position, length);
  }

  async sizeOf(file: SimFile, path: string): Promise<number> {
    await this.#call("size", path, 0);
    return file.visible.length;
  }

  async writeFile(
    file: SimFile,
    path: string,
    position: number,
    chunks: readonly Uint8Array[],
    synced: boolean,
  ): Promise<void> {
    const operation = synced ? "writeSynced" : "write";
    const fault = this.#fault(operation, path);
    const life = this.#life;
    const whole = Buffer.concat(chunks);
    const written = fault?.kind === "error" ? whole.subarray(0, fault.written ?? 0) : whole;
    const growth = position + written.byteLength - file.visible.length;
    const full = growth > 0 && this.#usedBytes() + growth > this.capacityBytes;
    const units = full ? [] : this.#addWrite(file, position, written);
    this.onStep?.();
    await this.#time(operation, whole.byteLength, life);
    if (full) throw new DiskError({ errno: "ENOSPC", operation, path });
    if (fault?.kind === "error") throw new DiskError({ errno: fault.errno, operation, path });
    if (synced && fault?.kind !== "lie") {
      if (fault?.kind === "error-after") file.forget(units);
      else file.settle(units, this.#blockBytes);
      this.onStep?.();
    }
    if (fault?.kind === "error-after") throw new DiskError({ errno: fault.errno, operation, path });
  }

  async syncFile(file: SimFile, path: string): Promise<void> {
    const units = [...file.pending];
    const fault = await this.#call("sync", path, 0);
    if (fault?.kind === "lie") return;
    if (fault?.kind === "error") file.forget(units);
    else file.settle(units, this.#blockBytes);
    this.onStep?.();
    if (fault !== undefined) throw new DiskError({ errno: fault.errno, operation: "sync", path });
  }

  async truncateFile(file: SimFile, path: string, size: number): Promise<void> {
    await this.#call("truncate", path, 0, () => this.#resize(file, size));
  }

  get life(): number {
    return this.#life;
  }

  /** `bytes` are nobody else's. */
  #addWrite(file: SimFile, position: number, bytes: Uint8Array): FileUnit[] {
    const units: FileUnit[] = [];
    const end = position + bytes.byteLength;
    if (end > file.visible.length && bytes.byteLength > 0) units.push(this.#resize(file, end));
    for (let at = position; at < end; ) {
      const next = Math.min(end, (Math.floor(at / this.#blockBytes) + 1) * this.#blockBytes);
      const unit: FileUnit = {
        kind: "data",
        sequence: this.#nextSequence++,
        file: file.id,
        position: at,
        bytes: new Uint8Array(bytes.buffer, bytes.byteOffset + at - position, next - at),
      };
      file.pending.push(unit);
      file.visible.write(unit.position, unit.bytes);
      units.push(unit);
      at = next;
    }
    return units;
  }

  #resize(file: SimFile, size: number): FileUnit {
    const unit: FileUnit = { kind: "size", sequence: this.#nextSequence++, file: file.id, size };
    file.pending.push(unit);
    file.visible.resize(size);
    return unit;
  }

  #changeNames(directory: string, names: NameUnit["names"]): void {
    const unit: NameUnit = { kind: "names", sequence: this.#nextSequence++, directory, names };
    this.#pendingTree.push(unit);
    this.#applyNames(this.#names, unit);
  }

  #applyNames(to: Map<string, number>, unit: NameUnit): void {
    for (const { path, file } of unit.names) {
      if (file === null) to.delete(path);
      else to.set(path, file);
    }
  }

  #fileAt(path: string, operation: string): SimFile {
    const id = this.#names.get(path);
    if (id === undefined) throw new DiskError({ errno: "ENOENT", operation, path });
    return this.#files.get(id) as SimFile;
  }

  #needDirectoryOf(path: string, operation: string): void {
    if (!this.#directories.has(parentOf(path))) throw new DiskError({ errno: "ENOENT", operation, path });
  }

  #reachable(directory: string): boolean {
    for (let path = directory; path !== ""; path = parentOf(path)) {
      if (!this.#durableDirectories.has(path)) return false;
    }
    return true;
  }

  #usedBytes(): number {
    if (!Number.isFinite(this.capacityBytes)) return 0;
    let bytes = 0;
    for (const id of new Set(this.#names.values())) bytes += (this.#files.get(id) as SimFile).visible.length;
    return bytes;
  }
}
