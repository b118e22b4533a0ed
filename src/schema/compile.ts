/**
 * (schema, version) → a reader and a writer made of closures, once; after that no schema is looked at.
 * Flexible versions (KIP-482) have compact lengths and a list of tagged fields at the end of each
 * struct; unknown tags are skipped. Every claimed length is checked against the bytes that are there
 * before anything is allocated for it.
 */
import { assert, unreachable } from "../base/assert.ts";
import { type Reader, Writer } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import {
  type AnyCodec,
  bytesCodec,
  type Codec,
  notNull,
  nullLength,
  readLength,
  recordsCodec,
  scalarCodec,
  stringCodec,
  writeLength,
} from "./codec.ts";
import { isDefault, place } from "./defaults.ts";
import { VersionError } from "./errors.ts";
import type { Node, Type } from "./types.ts";

export type { Codec } from "./codec.ts";
export { defaultOf } from "./defaults.ts";

export interface CompileOptions {
  /** Compact lengths and tagged fields (KIP-482). */
  readonly flexible: boolean;
  /**
   * Writing throws `VersionError` for a value that the version cannot carry, unless it is the default or
   * the field is `ignorable`. Otherwise such values are dropped.
   */
  readonly lossless?: boolean;
}

interface Target {
  readonly version: number;
  readonly flexible: boolean;
  readonly lossless: boolean;
}

export function compile<T>(type: Type<T>, version: number, options: CompileOptions): Codec<T> {
  const { flexible, lossless = false } = options;
  return compileNode(type, { version, flexible, lossless }) as Codec<T>;
}

function compileNode(node: Node, target: Target): AnyCodec {
  const { version, flexible } = target;
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
      return arrayCodec(compileNode(node.of, target), flexible, false) as AnyCodec;
    case "struct":
      return structCodec(node.fields, target);
    case "nullable":
      return version >= node.first ? nullableCodec(node.of, target) : compileNode(node.of, target);
    case "versions":
    case "tagged":
    case "default":
    case "ignorable":
      return compileNode(node.of, target);
    default:
      return unreachable(node);
  }
}

function arrayCodec(of: AnyCodec, flexible: boolean, orNull: boolean): Codec<readonly unknown[] | null> {
  return {
    read(r) {
      // Every element takes at least one byte, so a count above what is left is a lie.
      const length = readLength(r, flexible, false);
      if (length < 0 && orNull) return null;
      const count = notNull(length, r);
      r.countElements(count);
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

function nullableCodec(of: Node, target: Target): AnyCodec {
  switch (of.kind) {
    case "string":
      return stringCodec(target.flexible, true) as AnyCodec;
    case "bytes":
      return bytesCodec(target.flexible, true) as AnyCodec;
    case "records":
      return recordsCodec(target.flexible, true) as AnyCodec;
    case "array":
      return arrayCodec(compileNode(of.of, target), target.flexible, true) as AnyCodec;
    case "struct": {
      const inner = compileNode(of, target);
      return {
        read: (r) => (r.int8() < 0 ? null : inner.read(r)),
        write(w, value) {
          w.int8(value === null ? -1 : 1);
          if (value !== null) inner.write(w, value);
        },
      };
    }
    default:
      throw new TypeError(`a schema cannot make ${of.kind} nullable`);
  }
}

interface TaggedField {
  readonly name: string;
  readonly tag: number;
  readonly codec: AnyCodec;
  readonly fallback: unknown;
}

/** A field that the version lacks and whose value must then be its default. */
interface LackingField {
  readonly name: string;
  readonly fallback: unknown;
}

function structCodec(fields: { readonly [name: string]: Node }, target: Target): AnyCodec {
  /** Every field with its default, in order: copying it gives each result the same shape at once. */
  const blank: { [name: string]: unknown } = {};
  const names: string[] = [];
  const codecs: AnyCodec[] = [];
  const taggedFields: TaggedField[] = [];
  const lacking: LackingField[] = [];
  for (const name of Object.keys(fields)) {
    const node = fields[name] as Node;
    const { present, tag, fallback, ignorable } = place(node, target.version);
    blank[name] = fallback;
    if (!present) {
      if (target.lossless && !ignorable) lacking.push({ name, fallback });
      continue;
    }
    const codec = compileNode(node, target);
    if (tag !== null) taggedFields.push({ name, tag, codec, fallback });
    else {
      names.push(name);
      codecs.push(codec);
    }
  }
  taggedFields.sort((a, b) => a.tag - b.tag);
  const { flexible, version } = target;
  assert(flexible || taggedFields.length === 0, "tagged fields exist in flexible versions only");
  const count = names.length;

  return {
    read(r) {
      const value = { ...blank };
      for (let i = 0; i < count; i++) value[names[i] as string] = (codecs[i] as AnyCodec).read(r);
      if (flexible) readTags(r, taggedFields, value);
      return value;
    },
    write(w, value) {
      const from = value as { readonly [name: string]: unknown };
      for (const { name, fallback } of lacking) {
        if (!isDefault(from[name], fallback)) throw new VersionError(name, version);
      }
      for (let i = 0; i < count; i++) (codecs[i] as AnyCodec).write(w, from[names[i] as string]);
      if (flexible) writeTags(w, taggedFields, from);
    },
  };
}

/** Reads past a list of tagged fields, all of them unknown. */
export function skipTags(r: Reader): void {
  readTags(r, [], {});
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
    if (field === undefined) {
      r.countElements(1);
      continue;
    }
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
