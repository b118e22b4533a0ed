/**
 * Key → greatest offset, for one pass of compaction, in a bounded number of bytes. Keys are compared
 * whole: with hashes alone two keys that collide would be one, and the value of one of them lost. The
 * order of its slots depends on a random seed, so that nobody can choose keys that all fall on one.
 */
import { assert } from "../base/assert.ts";
import type { Offset } from "../base/ids.ts";

/** Per key, beside its bytes: hash, start, length and offset, and two slots on average. */
const entryBytes = 4 + 8 + 4 + 8;
const slotBytes = 4;
const entriesMin = 1024;
const chunkBytes = 64 * 1024;

export class KeyOffsets {
  readonly #bytesMax: number;
  readonly #seed: readonly [number, number];
  /** Entry + 1, or 0; open addressing over a power of two, at most half full. */
  #slots = new Int32Array(entriesMin * 2);
  #hashes = new Int32Array(entriesMin);
  /** Chunk · chunkBytes + place in it. */
  #starts = new Float64Array(entriesMin);
  #lengths = new Int32Array(entriesMin);
  #offsets = new Float64Array(entriesMin);
  #size = 0;
  #chunks: Uint8Array[] = [];
  /** In the newest chunk. */
  #used = 0;
  #keyBytes = 0;

  /** `seed`: 64 random bits. */
  constructor(bytesMax: number, seed: readonly [number, number]) {
    this.#bytesMax = bytesMax;
    this.#seed = seed;
  }

  get size(): number {
    return this.#size;
  }
  get bytes(): number {
    return this.#hashes.length * entryBytes + this.#slots.length * slotBytes + this.#keyBytes;
  }

  /** −1: the key is not there. */
  get(key: Uint8Array): number {
    const entry = (this.#slots[this.#slotOf(key, this.#hash(key))] as number) - 1;
    return entry < 0 ? -1 : (this.#offsets[entry] as number);
  }

  /** False: there is no room for one more key, and nothing has changed. Offsets of a key only rise. */
  put(key: Uint8Array, offset: Offset): boolean {
    const hash = this.#hash(key);
    let slot = this.#slotOf(key, hash);
    const known = (this.#slots[slot] as number) - 1;
    if (known >= 0) {
      assert(offset >= (this.#offsets[known] as number), "a partition is read in the order of its offsets");
      this.#offsets[known] = offset;
      return true;
    }
    if (!this.#hasRoomFor(key.byteLength)) return false;
    if (this.#size === this.#hashes.length) {
      this.#grow();
      slot = this.#slotOf(key, hash);
    }
    const entry = this.#size++;
    this.#hashes[entry] = hash;
    this.#starts[entry] = this.#store(key);
    this.#lengths[entry] = key.byteLength;
    this.#offsets[entry] = offset;
    this.#slots[slot] = entry + 1;
    return true;
  }

  /** The first key always has room, so that every pass gets on. */
  #hasRoomFor(length: number): boolean {
    if (this.#size === 0) return true;
    const doubled = this.#size === this.#hashes.length ? this.bytes - this.#keyBytes : 0;
    const chunk = this.#needsChunk(length) ? Math.max(chunkBytes, length) : 0;
    return this.bytes + doubled + chunk <= this.#bytesMax;
  }

  #needsChunk(length: number): boolean {
    return this.#chunks.length === 0 || this.#used + length > chunkBytes;
  }

  #store(key: Uint8Array): number {
    if (this.#needsChunk(key.byteLength)) {
      // A longer key has a chunk to itself, which counts as full.
      const size = Math.max(chunkBytes, key.byteLength);
      this.#chunks.push(new Uint8Array(size));
      this.#keyBytes += size;
      this.#used = 0;
    }
    const start = (this.#chunks.length - 1) * chunkBytes + this.#used;
    (this.#chunks.at(-1) as Uint8Array).set(key, this.#used);
    this.#used += key.byteLength;
    return start;
  }

  /** The slot that has the key, or where it belongs. */
  #slotOf(key: Uint8Array, hash: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = (this.#slots[slot] as number) - 1;
      if (entry < 0 || ((this.#hashes[entry] as number) === hash && this.#isKey(entry, key))) return slot;
    }
  }

  #isKey(entry: number, key: Uint8Array): boolean {
    const length = this.#lengths[entry] as number;
    if (length !== key.byteLength) return false;
    const start = this.#starts[entry] as number;
    const chunk = this.#chunks[Math.floor(start / chunkBytes)] as Uint8Array;
    const from = start % chunkBytes;
    for (let i = 0; i < length; i++) if (chunk[from + i] !== key[i]) return false;
    return true;
  }

  #grow(): void {
    const entries = this.#hashes.length * 2;
    const longer = <T extends Int32Array | Float64Array>(into: T, from: T): T => {
      into.set(from);
      return into;
    };
    this.#hashes = longer(new Int32Array(entries), this.#hashes);
    this.#starts = longer(new Float64Array(entries), this.#starts);
    this.#lengths = longer(new Int32Array(entries), this.#lengths);
    this.#offsets = longer(new Float64Array(entries), this.#offsets);
    this.#slots = new Int32Array(entries * 2);
    const mask = this.#slots.length - 1;
    for (let entry = 0; entry < this.#size; entry++) {
      let slot = (this.#hashes[entry] as number) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = entry + 1;
    }
  }

  #hash(key: Uint8Array): number {
    return halfSipHash(key, this.#seed[0], this.#seed[1]);
  }
}

/** HalfSipHash-1-3 (Aumasson and Bernstein): 32 bits that nobody predicts without the seed. */
export function halfSipHash(bytes: Uint8Array, k0: number, k1: number): number {
  let v0 = k0 | 0;
  let v1 = k1 | 0;
  let v2 = 0x6c796765 ^ k0;
  let v3 = 0x74656462 ^ k1;
  const length = bytes.byteLength;
  const whole = length & ~3;
  // One round per word, one with the rest and the length, three at the end.
  for (let at = 0; at <= whole + 12; at += 4) {
    let word = 0;
    if (at < whole) {
      word =
        (bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24);
    } else if (at === whole) {
      word = length << 24;
      for (let i = whole; i < length; i++) word |= (bytes[i] as number) << (8 * (i - whole));
    } else if (at === whole + 4) {
      v2 ^= 0xff;
    }
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = (v1 << 5) | (v1 >>> 27);
    v1 ^= v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = (v3 << 8) | (v3 >>> 24);
    v3 ^= v2;
    v0 = (v0 + v3) | 0;
    v3 = (v3 << 7) | (v3 >>> 25);
    v3 ^= v0;
    v2 = (v2 + v1) | 0;
    v1 = (v1 << 13) | (v1 >>> 19);
    v1 ^= v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  return v1 ^ v3;
}
