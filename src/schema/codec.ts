/**
 * Reader and writer of everything that holds no other type: numbers, strings, byte strings, and the
 * lengths before them. A length is checked against the bytes that are there before anything is made
 * of it.
 */
import { assert } from "../base/assert.ts";
import { type Reader, utf8Length, type Writer } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import type { TopicId } from "../base/ids.ts";
import { TooLongError } from "./errors.ts";
import type { ScalarName } from "./types.ts";

export interface Codec<T> {
  /** Throws `MalformedError`. Byte strings in the result are views of what is read. */
  read(from: Reader): T;
  write(to: Writer, value: T): void;
}

export type AnyCodec = Codec<unknown>;

const boolean: Codec<boolean> = { read: (r) => r.int8() !== 0, write: (w, v) => w.int8(v ? 1 : 0) };
const uuidCodec: Codec<TopicId> = { read: (r) => r.uuid(), write: (w, v) => w.uuid(v) };
const bigint64Codec: Codec<bigint> = { read: (r) => r.bigint64(), write: (w, v) => w.bigint64(v) };
const numbers: { readonly [name in Exclude<ScalarName, "bool" | "uuid" | "bigint64">]: Codec<number> } = {
  int8: { read: (r) => r.int8(), write: (w, v) => w.int8(v) },
  int16: { read: (r) => r.int16(), write: (w, v) => w.int16(v) },
  uint16: { read: (r) => r.uint16(), write: (w, v) => w.int16(v) },
  int32: { read: (r) => r.int32(), write: (w, v) => w.int32(v) },
  uint32: { read: (r) => r.uint32(), write: (w, v) => w.uint32(v) },
  int64: { read: (r) => r.int64(), write: (w, v) => w.int64(v) },
  clamped64: { read: readClamped, write: (w, v) => w.int64(v) },
  float64: { read: (r) => r.float64(), write: (w, v) => w.float64(v) },
  varint: { read: (r) => r.varint(), write: (w, v) => w.varint(v) },
  varlong: { read: (r) => r.varlong(), write: (w, v) => w.varlong(v) },
};

export function scalarCodec(name: ScalarName): AnyCodec {
  if (name === "bool") return boolean as AnyCodec;
  if (name === "uuid") return uuidCodec as AnyCodec;
  if (name === "bigint64") return bigint64Codec as AnyCodec;
  return numbers[name] as AnyCodec;
}

function readClamped(r: Reader): number {
  const high = r.int32();
  const value = high * 0x1_0000_0000 + r.uint32();
  if (Number.isSafeInteger(value)) return value;
  return high < 0 ? -Number.MAX_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
}

/** −1 is null. `short`: 2 bytes where the version is not flexible, as strings have; else 4. */
export function readLength(r: Reader, flexible: boolean, short: boolean): number {
  const length = flexible ? r.uvarint() - 1 : short ? r.int16() : r.int32();
  if (length < -1 || length > r.remaining) {
    throw new MalformedError(`length ${length} at ${r.position}, but ${r.remaining} bytes are left`);
  }
  return length;
}

export function writeLength(w: Writer, length: number, flexible: boolean, short: boolean): void {
  if (flexible) w.uvarint(length + 1);
  else if (short) {
    if (length > 0x7fff) {
      throw new TooLongError(
        `a string of ${length} bytes: versions that are not flexible have at most 32,767`,
      );
    }
    w.int16(length);
  } else w.int32(length);
}

export function notNull(length: number, r: Reader): number {
  if (length < 0) throw new MalformedError(`null before ${r.position}, where none is allowed`);
  return length;
}

export function nullLength(orNull: boolean): number {
  assert(orNull, "null is only written where the version allows it");
  return -1;
}

export function stringCodec(flexible: boolean, orNull: boolean): Codec<string | null> {
  return {
    read(r) {
      const length = readLength(r, flexible, true);
      if (length < 0 && orNull) return null;
      return r.utf8(notNull(length, r));
    },
    write(w, value) {
      if (value === null) return writeLength(w, nullLength(orNull), flexible, true);
      const length = utf8Length(value);
      writeLength(w, length, flexible, true);
      w.utf8(value, length);
    },
  };
}

export function bytesCodec(flexible: boolean, orNull: boolean): Codec<Uint8Array | null> {
  return {
    read(r) {
      const length = readLength(r, flexible, false);
      if (length < 0 && orNull) return null;
      return r.take(notNull(length, r));
    },
    write(w, value) {
      if (value === null) return writeLength(w, nullLength(orNull), flexible, false);
      writeLength(w, value.byteLength, flexible, false);
      w.raw(value);
    },
  };
}

export function recordsCodec(flexible: boolean, orNull: boolean): Codec<readonly Uint8Array[] | null> {
  return {
    read(r) {
      const length = readLength(r, flexible, false);
      if (length < 0 && orNull) return null;
      return [r.take(notNull(length, r))];
    },
    write(w, value) {
      if (value === null) return writeLength(w, nullLength(orNull), flexible, false);
      let length = 0;
      for (const chunk of value) length += chunk.byteLength;
      writeLength(w, length, flexible, false);
      for (const chunk of value) w.raw(chunk);
    },
  };
}
