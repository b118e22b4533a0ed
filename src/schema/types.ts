/**
 * The one language in which every byte layout is written: wire messages, WAL rows, segment footers,
 * journal commands. A schema is an immutable value; the static type of what it describes rides along
 * and is named with `interface ProduceRequest extends Decoded<typeof Produce.request> {}`. One static
 * type serves all versions: a field that a version lacks is decoded as its default and not encoded.
 * `compile.ts` turns (schema, version) into closures; nothing is generated and no type recurses.
 */
import type { TopicId } from "../base/ids.ts";

declare const phantom: unique symbol;

export type ScalarName =
  | "bool"
  | "int8"
  | "int16"
  | "uint16"
  | "int32"
  | "uint32"
  | "int64"
  | "clamped64"
  | "bigint64"
  | "float64"
  | "uuid"
  | "varint"
  | "varlong";

export type Node =
  | { readonly kind: "scalar"; readonly name: ScalarName }
  | { readonly kind: "string" }
  | { readonly kind: "bytes" }
  /** As bytes; in chunks so that a fetch answer can carry batches that do not lie side by side. */
  | { readonly kind: "records" }
  | { readonly kind: "array"; readonly of: Node }
  | { readonly kind: "struct"; readonly fields: { readonly [name: string]: Node } }
  /** Null may stand for the value from version `first` on. */
  | { readonly kind: "nullable"; readonly of: Node; readonly first: number }
  /** The field exists in versions first … last. */
  | { readonly kind: "versions"; readonly of: Node; readonly first: number; readonly last: number }
  /** The field is optional on the wire from version `first` on, named by a number (KIP-482). */
  | { readonly kind: "tagged"; readonly of: Node; readonly tag: number; readonly first: number }
  /** What the field is where a version lacks it or the sender left it out. */
  | { readonly kind: "default"; readonly of: Node; readonly value: unknown }
  /** May be dropped silently where a version lacks it, also by a codec that is lossless. */
  | { readonly kind: "ignorable"; readonly of: Node };

/** A node and the static type of the values that it describes. */
export type Type<T> = Node & { readonly [phantom]?: T };

/** The static type of a schema's values. */
export type Decoded<S> = S extends { readonly [phantom]?: infer T } ? Exclude<T, undefined> : never;

const scalar = <T>(name: ScalarName): Type<T> => ({ kind: "scalar", name });

export const bool = scalar<boolean>("bool");
export const int8 = scalar<number>("int8");
export const int16 = scalar<number>("int16");
export const uint16 = scalar<number>("uint16");
export const int32 = scalar<number>("int32");
export const uint32 = scalar<number>("uint32");
/** A number; one beyond 2^53 is refused as malformed. */
export const int64 = scalar<number>("int64");
/** As `int64`, but what lies beyond ±(2^53 − 1) is read as that bound: for times and offsets that a peer may set to its largest number. */
export const clamped64 = scalar<number>("clamped64");
export const bigint64 = scalar<bigint>("bigint64");
export const float64 = scalar<number>("float64");
export const uuid = scalar<TopicId>("uuid");
export const varint = scalar<number>("varint");
export const varlong = scalar<number>("varlong");
/** UTF-8. */
export const string: Type<string> = { kind: "string" };
/** A view of what was received, not a copy. */
export const bytes: Type<Uint8Array> = { kind: "bytes" };
export const records: Type<readonly Uint8Array[]> = { kind: "records" };

export type Fields = { readonly [name: string]: Type<unknown> };
export type Shape<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Type<infer T> ? Exclude<T, undefined> : never;
};

export const struct = <F extends Fields>(fields: F): Type<Shape<F>> => ({ kind: "struct", fields });
export const array = <T>(of: Type<T>): Type<readonly T[]> => ({ kind: "array", of });
/** Null is allowed from version `first` on. Where the field is absent it is Kafka's default, not null: say `orElse(null, …)`. */
export const nullable = <T>(of: Type<T>, first = 0): Type<T | null> => ({ kind: "nullable", of, first });
export const from = <T>(first: number, of: Type<T>): Type<T> => ({
  kind: "versions",
  of,
  first,
  last: Infinity,
});
/** The last version that has the field. */
export const until = <T>(last: number, of: Type<T>): Type<T> => ({ kind: "versions", of, first: 0, last });
export const between = <T>(first: number, last: number, of: Type<T>): Type<T> => ({
  kind: "versions",
  of,
  first,
  last,
});
export const tagged = <T>(tag: number, first: number, of: Type<T>): Type<T> => ({
  kind: "tagged",
  of,
  tag,
  first,
});
export const orElse = <T>(value: T, of: Type<T>): Type<T> => ({ kind: "default", of, value });
export const ignorable = <T>(of: Type<T>): Type<T> => ({ kind: "ignorable", of });
/** The same bytes under a branded static type: `branded<Offset>(int64)`. */
export const branded = <B>(of: Type<unknown>): Type<B> => of as Type<B>;
