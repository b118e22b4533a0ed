/**
 * (schema, version) → a reader and a writer made of closures, once; after that no schema is looked at.
 * Flexible versions (KIP-482) have compact lengths and a list of tagged fields at the end of each
 * struct; unknown tags are skipped. Every claimed length is checked against the bytes that are there
 * before anything is allocated for it.
 */
import { assert, unreachable } from "../base/assert.ts";
import { type Reader, Writer, utf8Length } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import { NO_TOPIC_ID, type TopicId } from "../base/ids.ts";
import type { Node, ScalarName, Type } from "./types.ts";

export interface Codec<T> {
  /** Throws `MalformedError`. Byte strings in the result are views of what is read. */
  read(from: Reader): T;
  write(to: Writer, value: T): void;
}

type AnyCodec = Codec<unknown>;

export function compile<T>(
  type: Type<T>,
  version: number,
  options: { readonly flexible: boolean },
): Codec<T> {
  return compileNode(type, version, options.flexible) as Codec<T>;
}

function compileNode(node: Node, version: number, flexible: boolean): AnyCodec {
  switch (node.kind) {
    case "scalar":
      return scalarCodec(node.name);
    case "string":
      return stringCodec(flexible, false) as AnyCodec;
    case "bytes":
      return bytesCodec(flexible, false) as AnyCodec;
    case "records":
      return recordsCodec(flexible, false) as AnyCodec;
    case "array":
      return arrayCodec(compileNode(node.of, version, flexible), flexible, false) as AnyCodec;
    case "struct":
      return structCodec(node.fields, version, flexible) as AnyCodec;
    case "nullable":
      return version >= node.first
        ? nullableCodec(node.of, version, flexible)
        : compileNode(node.of, version, flexible);
    case "versions":
    case "tagged":
    case "default":
      return compileNode(node.of, version, flexible);
    default:
      return unreachable(node);
  }
}

const boolean: Codec<boolean> = { read: (r) => r.int8() !== 0, write: (w, v) => w.int8(v ? 1 : 0) };
const numbers: { readonly [name in Exclude<ScalarName, "bool" | "uuid">]: Codec<number> } = {
  int8: { read: (r) => r.int8(), write: (w, v) => w.int8(v) },
  int16: { read: (r) => r.int16(), write: (w, v) => w.int16(v) },
  uint16: { read: (r) => r.uint16(), write: (w, v) => w.int16(v) },
  int32: { read: (r) => r.int32(), write: (w, v) => w.int32(v) },
  uint32: { read: (r) => r.uint32(), write: (w, v) => w.uint32(v) },
  int64: { read: (r) => r.int64(), write: (w, v) => w.int64(v) },
  float64: { read: (r) => r.float64(), write: (w, v) => w.float64(v) },
  varint: { read: (r) => r.varint(), write: (w, v) => w.varint(v) },
  varlong: { read: (r) => r.varlong(), write: (w, v) => w.varlong(v) },
};
const uuidCodec: Codec<TopicId> = { read: (r) => r.uuid(), write: (w, v) => w.uuid(v) };

function scalarCodec(name: ScalarName): AnyCodec {
  return (name === "bool" ? boolean : name === "uuid" ? uuidCodec : numbers[name]) as AnyCodec;
}

/** −1 is null. `size` of the plain form: 2 bytes for strings, 4 for everything else. */
function readLength(r: Reader, flexible: boolean, short: boolean): number {
  const length = flexible ? r.uvarint() - 1 : short ? r.int16() : r.int32();
  if (length < -1 || length > r.remaining) {
    throw new MalformedError(`length ${length} at ${r.position}, but ${r.remaining} bytes are left`);
  }
  return length;
}

function writeLength(w: Writer, length: number, flexible: boolean, short: boolean): void {
  if (flexible) w.uvarint(length + 1);
  else if (short) {
    assert(length <= 0x7fff, "a string has at most 32,767 bytes in versions that are not flexible");
    w.int16(length);
  } else w.int32(length);
}

function notNull(length: number, r: Reader): number {
  if (length < 0) throw new MalformedError(`null before ${r.position}, where none is allowed`);
  return length;
}

function stringCodec(flexible: boolean, orNull: boolean): Codec<string | null> {
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

function nullLength(orNull: boolean): number {
  assert(orNull, "null is only written where the version allows it");
  return -1;
}

function bytesCodec(flexible: boolean, orNull: boolean): Codec<Uint8Array | null> {
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

function recordsCodec(flexible: boolean, orNull: boolean): Codec<readonly Uint8Array[] | null> {
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

function arrayCodec(of: AnyCodec, flexible: boolean, orNull: boolean): Codec<readonly unknown[] | null> {
  return {
    read(r) {
      // Every element takes at least one byte, so a count above what is left is a lie.
      const length = readLength(r, flexible, false);
      if (length < 0 && orNull) return null;
      const count = notNull(length, r);
      const values: unknown[] = [];
      for (let i = 0; i < count; i++) values.push(of.read(r));
      return values;
    },
    write(w, value) {
      if (value === null) return writeLength(w, nullLength(orNull), flexible, false);
      writeLength(w, value.length, flexible, false);
      for (let i = 0; i < value.length; i++) of.write(w, value[i]);
    },
  };
}

function nullableCodec(of: Node, version: number, flexible: boolean): AnyCodec {
  switch (of.kind) {
    case "string":
      return stringCodec(flexible, true) as AnyCodec;
    case "bytes":
      return bytesCodec(flexible, true) as AnyCodec;
    case "records":
      return recordsCodec(flexible, true) as AnyCodec;
    case "array":
      return arrayCodec(compileNode(of.of, version, flexible), flexible, true) as AnyCodec;
    case "struct": {
      const inner = compileNode(of, version, flexible);
      return {
        read: (r) => (r.int8() < 0 ? null : inner.read(r)),
        write(w, value) {
          w.int8(value === null ? -1 : 1);
          if (value !== null) inner.write(w, value);
        },
      };
    }
    default:
      throw new MalformedError(`${of.kind} cannot be nullable`);
  }
}

/** What lies around a field's type: in which versions it is there, under which tag, and what it is otherwise. */
interface Placement {
  readonly present: boolean;
  readonly tag: number | null;
  readonly fallback: unknown;
}

function place(node: Node, version: number): Placement {
  let present = true;
  let tag: number | null = null;
  let explicit: { readonly value: unknown } | null = null;
  let inner = node;
  for (;;) {
    if (inner.kind === "versions") present &&= version >= inner.first && version <= inner.last;
    else if (inner.kind === "tagged") {
      present &&= version >= inner.first;
      tag = inner.tag;
    } else if (inner.kind === "default") explicit ??= inner;
    else break;
    inner = inner.of;
  }
  return { present, tag, fallback: explicit === null ? defaultOf(inner) : explicit.value };
}

/** Kafka's default of a type; that of a nullable field is its type's, not null. */
export function defaultOf(node: Node): unknown {
  switch (node.kind) {
    case "scalar":
      return node.name === "bool" ? false : node.name === "uuid" ? NO_TOPIC_ID : 0;
    case "string":
      return "";
    case "bytes":
      return new Uint8Array(0);
    case "records":
    case "array":
      return [];
    case "struct": {
      const value: { [name: string]: unknown } = {};
      for (const name of Object.keys(node.fields))
        value[name] = place(node.fields[name] as Node, -1).fallback;
      return value;
    }
    case "nullable":
    case "versions":
    case "tagged":
      return defaultOf(node.of);
    case "default":
      return node.value;
    default:
      return unreachable(node);
  }
}

interface TaggedField {
  readonly name: string;
  readonly tag: number;
  readonly codec: AnyCodec;
  readonly fallback: unknown;
}

function structCodec(
  fields: { readonly [name: string]: Node },
  version: number,
  flexible: boolean,
): AnyCodec {
  const names = Object.keys(fields);
  /** Null: not in this version's plain part; the fallback stands until a tag says otherwise. */
  const plain: (AnyCodec | null)[] = [];
  const fallbacks: unknown[] = [];
  const taggedFields: TaggedField[] = [];
  for (const name of names) {
    const node = fields[name] as Node;
    const { present, tag, fallback } = place(node, version);
    fallbacks.push(fallback);
    plain.push(present && tag === null ? compileNode(node, version, flexible) : null);
    if (present && tag !== null)
      taggedFields.push({ name, tag, codec: compileNode(node, version, flexible), fallback });
  }
  taggedFields.sort((a, b) => a.tag - b.tag);
  assert(flexible || taggedFields.length === 0, "tagged fields exist in flexible versions only");
  const count = names.length;

  return {
    read(r) {
      const value: { [name: string]: unknown } = {};
      for (let i = 0; i < count; i++) {
        const codec = plain[i] as AnyCodec | null;
        value[names[i] as string] = codec === null ? fallbacks[i] : codec.read(r);
      }
      if (flexible) readTags(r, taggedFields, value);
      return value;
    },
    write(w, value) {
      const from = value as { readonly [name: string]: unknown };
      for (let i = 0; i < count; i++) {
        const codec = plain[i] as AnyCodec | null;
        if (codec !== null) codec.write(w, from[names[i] as string]);
      }
      if (flexible) writeTags(w, taggedFields, from);
    },
  };
}

function readTags(r: Reader, known: readonly TaggedField[], value: { [name: string]: unknown }): void {
  let previous = -1;
  for (let left = r.uvarint(); left > 0; left--) {
    const tag = r.uvarint();
    if (tag <= previous) throw new MalformedError(`tag ${tag} after tag ${previous}: tags must rise`);
    previous = tag;
    const length = r.uvarint();
    const begin = r.position;
    r.skip(length);
    const field = known.find((candidate) => candidate.tag === tag);
    if (field === undefined) continue;
    r.position = begin;
    value[field.name] = field.codec.read(r);
    if (r.position !== begin + length) {
      throw new MalformedError(`tagged field ${field.name} took ${r.position - begin} bytes of ${length}`);
    }
  }
}

function writeTags(
  w: Writer,
  known: readonly TaggedField[],
  value: { readonly [name: string]: unknown },
): void {
  if (known.length === 0) return w.uvarint(0);
  const written: { tag: number; bytes: Uint8Array }[] = [];
  for (const field of known) {
    const inside = value[field.name];
    if (isDefault(inside, field.fallback)) continue;
    const own = new Writer(64);
    field.codec.write(own, inside);
    written.push({ tag: field.tag, bytes: own.finishFlat() });
  }
  w.uvarint(written.length);
  for (const { tag, bytes } of written) {
    w.uvarint(tag);
    w.uvarint(bytes.byteLength);
    w.raw(bytes);
  }
}

/** Whether a tagged field may be left out, as Kafka does when it holds its default. */
function isDefault(value: unknown, fallback: unknown): boolean {
  if (value === fallback) return true;
  if (Array.isArray(value)) return Array.isArray(fallback) && value.length === 0 && fallback.length === 0;
  if (typeof value !== "object" || typeof fallback !== "object" || value === null || fallback === null)
    return false;
  if (value instanceof Uint8Array)
    return fallback instanceof Uint8Array && value.byteLength === 0 && fallback.byteLength === 0;
  const a = value as { readonly [name: string]: unknown };
  const b = fallback as { readonly [name: string]: unknown };
  return Object.keys(a).every((name) => isDefault(a[name], b[name]));
}
