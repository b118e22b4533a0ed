/**
 * What the simulated disk is made of: file contents with copy on write, files with a durable and a
 * visible state, and the pending units between the two. A unit is the smallest thing that a power cut
 * keeps or loses on its own: a block of a write, a change of a file's size, a change of a directory.
 * Nothing here knows of time, faults or handles; that is `disk.ts`.
 */

/** Bytes of a file. `share` gives a second owner in no time; whoever writes first pays for the copy. */
export class Content {
  #array: Uint8Array;
  #length: number;
  #shared: boolean;

  constructor(array: Uint8Array = new Uint8Array(0), length = array.byteLength, shared = false) {
    this.#array = array;
    this.#length = length;
    this.#shared = shared;
  }

  get length(): number {
    return this.#length;
  }

  share(): Content {
    this.#shared = true;
    return new Content(this.#array, this.#length, true);
  }

  /** A copy, shorter at the end of the file. */
  read(position: number, length: number): Uint8Array {
    return this.#array.slice(
      Math.min(position, this.#length),
      Math.max(0, Math.min(position + length, this.#length)),
    );
  }

  /** What lies beyond the end is cut off: a block without its size change is not seen. */
  write(position: number, bytes: Uint8Array): void {
    const length = Math.min(bytes.byteLength, this.#length - position);
    if (length <= 0) return;
    this.#own(this.#length);
    this.#array.set(length === bytes.byteLength ? bytes : bytes.subarray(0, length), position);
  }

  resize(length: number): void {
    this.#own(length);
    this.#array.fill(0, Math.min(length, this.#length), Math.max(length, this.#length));
    this.#length = length;
  }

  #own(lengthNeeded: number): void {
    if (!this.#shared && lengthNeeded <= this.#array.byteLength) return;
    const capacity =
      lengthNeeded <= this.#array.byteLength
        ? this.#array.byteLength
        : Math.max(lengthNeeded, this.#length * 2);
    const array = new Uint8Array(capacity);
    array.set(this.#array.subarray(0, this.#length));
    this.#array = array;
    this.#shared = false;
  }
}

/** One block's part of a write. */
export interface DataUnit {
  readonly kind: "data";
  /** Order of making over the whole disk. */
  readonly sequence: number;
  readonly file: number;
  readonly position: number;
  readonly bytes: Uint8Array;
}
export interface SizeUnit {
  readonly kind: "size";
  readonly sequence: number;
  readonly file: number;
  readonly size: number;
}
/** Names that change together (a rename within one directory is atomic). `file` null: the name goes. */
export interface NameUnit {
  readonly kind: "names";
  readonly sequence: number;
  /** Whose sync makes it durable. */
  readonly directory: string;
  readonly names: readonly { readonly path: string; readonly file: number | null }[];
}
/** A directory that comes, or goes. */
export interface DirectoryUnit {
  readonly kind: "directory";
  readonly gone: boolean;
  readonly sequence: number;
  readonly directory: string;
  readonly path: string;
}
export type FileUnit = DataUnit | SizeUnit;
export type TreeUnit = NameUnit | DirectoryUnit;
export type PendingUnit = FileUnit | TreeUnit;

/** The file behind one or more names. */
export class SimFile {
  readonly id: number;
  /** What a running system reads. */
  visible: Content;
  /** What survives a power cut for certain. */
  durable: Content;
  /** The difference, in order. */
  pending: FileUnit[];

  constructor(id: number, visible = new Content(), durable = new Content(), pending: FileUnit[] = []) {
    this.id = id;
    this.visible = visible;
    this.durable = durable;
    this.pending = pending;
  }

  clone(): SimFile {
    return new SimFile(this.id, this.visible.share(), this.durable.share(), [...this.pending]);
  }

  /**
   * Makes these units durable, and what a disk writes along with them: older pending bytes of the same
   * blocks (a page is written whole), and the size changes without which the bytes could not be found.
   */
  settle(units: readonly FileUnit[], blockBytes: number): void {
    const chosen = new Set(units);
    const blocks = new Set<number>();
    let last = -1;
    let needsSize = false;
    for (const unit of units) {
      last = Math.max(last, unit.sequence);
      if (unit.kind === "size") needsSize = true;
      else {
        blocks.add(Math.floor(unit.position / blockBytes));
        if (unit.position + unit.bytes.byteLength > this.durable.length) needsSize = true;
      }
    }
    const rest: FileUnit[] = [];
    for (const unit of this.pending) {
      const along =
        chosen.has(unit) ||
        (unit.sequence < last &&
          (unit.kind === "size" ? needsSize : blocks.has(Math.floor(unit.position / blockBytes))));
      if (!along) {
        rest.push(unit);
        continue;
      }
      // A size whose own sync failed is written with the next bytes that need it.
      const end =
        unit.kind === "size" ? 0 : Math.min(unit.position + unit.bytes.byteLength, this.visible.length);
      if (end > this.durable.length) this.durable.resize(end);
      applyFileUnit(this.durable, unit);
    }
    this.pending = rest;
  }

  /** Forgets these units: they stay visible and will never be written (a kernel after a failed sync). */
  forget(units: readonly FileUnit[]): void {
    const gone = new Set(units);
    this.pending = this.pending.filter((unit) => !gone.has(unit));
  }
}

export function applyFileUnit(to: Content, unit: FileUnit): void {
  if (unit.kind === "size") to.resize(unit.size);
  else to.write(unit.position, unit.bytes);
}

export function applyDirectory(to: Set<string>, { path, gone }: DirectoryUnit): void {
  if (gone) to.delete(path);
  else to.add(path);
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}
