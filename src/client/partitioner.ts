/**
 * Which partition a record goes to, as Apache Kafka's Java client has it, so that a key finds the same
 * partition whoever writes it: murmur2 of the key's bytes; without a key one partition until a batch's
 * worth of bytes went there, then another by chance (KIP-794).
 */
import type { Random } from "../base/ports.ts";

const seed = 0x9747b28c;
const mixer = 0x5bd1e995;

/** 32-bit murmur2 of the first `length` bytes, as a signed number. */
export function murmur2(bytes: Uint8Array, length = bytes.byteLength): number {
  let hash = seed ^ length;
  let at = 0;
  for (const end = length - 3; at < end; at += 4) {
    let word =
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24);
    word = Math.imul(word, mixer);
    word ^= word >>> 24;
    hash = Math.imul(hash, mixer) ^ Math.imul(word, mixer);
  }
  const left = length - at;
  if (left > 2) hash ^= (bytes[at + 2] as number) << 16;
  if (left > 1) hash ^= (bytes[at + 1] as number) << 8;
  if (left > 0) hash = Math.imul(hash ^ (bytes[at] as number), mixer);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, mixer);
  return hash ^ (hash >>> 15);
}

/** The partition of a key among `count`. */
export function partitionOfKey(key: Uint8Array, count: number, length = key.byteLength): number {
  return (murmur2(key, length) & 0x7fff_ffff) % count;
}

/** Where records without a key go, for one topic. */
export class StickyChoice {
  readonly #random: Random;
  readonly #stickyBytes: number;
  #current = -1;
  #bytes = 0;

  constructor(random: Random, stickyBytes: number) {
    this.#random = random;
    this.#stickyBytes = stickyBytes;
  }

  /** `usable`: whether a partition has a leader; when none has, any will do. */
  next(recordBytes: number, count: number, usable: (partition: number) => boolean): number {
    if (
      this.#current < 0 ||
      this.#current >= count ||
      this.#bytes >= this.#stickyBytes ||
      !usable(this.#current)
    ) {
      this.#current = this.#other(count, usable);
      this.#bytes = 0;
    }
    this.#bytes += recordBytes;
    return this.#current;
  }

  #other(count: number, usable: (partition: number) => boolean): number {
    const begin = this.#random.u32() % count;
    let fallback = begin;
    for (let step = 0; step < count; step++) {
      const candidate = (begin + step) % count;
      if (!usable(candidate)) continue;
      if (candidate !== this.#current) return candidate;
      fallback = candidate;
    }
    return fallback;
  }
}
