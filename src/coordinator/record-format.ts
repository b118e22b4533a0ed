/**
 * How coordinators' records lie in a batch, as in Kafka: a key is an int16 that names the kind of record,
 * then its fields; a value is an int16 with the version of its layout, then its fields. A null value is a
 * tombstone: what the key names is gone. Kinds that are not known are passed over, not refused: they
 * cannot have been written here; a value in an unknown version is refused.
 */
import { Reader, Writer } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import { type Codec, compile } from "../schema/compile.ts";
import type { Type } from "../schema/types.ts";
import type { RecordCodec } from "./shard.ts";

/** Key and value as they lie in a record batch. */
export interface RawRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

export interface RecordKind {
  /** All of these numbers stand on disk for the same layout of the key; we write the last. */
  readonly keyVersions: readonly number[];
  readonly key: Codec<unknown>;
  readonly value: Type<unknown>;
  /** Oldest and newest that Kafka 4.4 knows. */
  readonly valueVersions: readonly [first: number, last: number];
  /** The one that Kafka writes, so that what its tools print is the same; not always the newest. */
  readonly writtenVersion: number;
  /** Of the value. */
  readonly flexibleFrom: number;
}

/** Keys are never flexible. */
export const keyOf = (type: Type<unknown>): Codec<unknown> => compile(type, 0, { flexible: false });

interface AnyRecord {
  readonly kind: string;
  readonly key: unknown;
  readonly value: unknown;
}

/** For records that tell their kind, with decoded key and value. */
export function recordCodec<R extends AnyRecord>(
  kinds: {
    readonly [kind in R["kind"]]: RecordKind;
  },
): RecordCodec<R> {
  const values = new Map<string, Codec<unknown>>();
  const byNumber = new Map<number, R["kind"]>();
  for (const [kind, { keyVersions }] of Object.entries<RecordKind>(kinds)) {
    for (const number of keyVersions) byNumber.set(number, kind);
  }

  function valueCodec(kind: R["kind"], version: number): Codec<unknown> {
    const { value, valueVersions, flexibleFrom } = kinds[kind];
    if (version < valueVersions[0] || version > valueVersions[1]) {
      throw new MalformedError(`a value of kind ${kind} in version ${version}, which is not known here`);
    }
    const name = `${kind}/${version}`;
    let codec = values.get(name);
    if (codec === undefined) {
      codec = compile(value, version, { flexible: version >= flexibleFrom });
      values.set(name, codec);
    }
    return codec;
  }

  function decodeValue(kind: R["kind"], raw: Uint8Array | null): unknown {
    if (raw === null) return null;
    // A copy: the state may live for months, and a view would keep the whole block alive.
    const reader = new Reader(Uint8Array.from(raw));
    return valueCodec(kind, reader.int16()).read(reader);
  }

  return {
    encode({ kind, key, value }) {
      const facts = kinds[kind as R["kind"]];
      const version = facts.writtenVersion;
      return {
        key: prefixed(facts.keyVersions[facts.keyVersions.length - 1] as number, facts.key, key),
        value: value === null ? null : prefixed(version, valueCodec(kind, version), value),
      };
    },
    decode(raw) {
      const from = new Reader(raw.key);
      const kind = byNumber.get(from.int16());
      if (kind === undefined) return null;
      return { kind, key: kinds[kind].key.read(from), value: decodeValue(kind, raw.value) } as unknown as R;
    },
  };
}

function prefixed(version: number, codec: Codec<unknown>, fields: unknown): Uint8Array {
  const writer = new Writer(64);
  writer.int16(version);
  codec.write(writer, fields);
  return writer.finishFlat();
}
