/** Random values for a schema in one of its versions, as fast-check draws and shrinks them. */
import fc from "fast-check";
import { topicIdFromBytes } from "../src/base/ids.ts";
import { place } from "../src/schema/defaults.ts";
import type { Node, ScalarName, Type } from "../src/schema/types.ts";

/** What single strings and scalars are drawn from. */
export interface Draws {
  readonly string: fc.Arbitrary<string>;
  scalar(name: ScalarName): fc.Arbitrary<unknown>;
  readonly records: fc.Arbitrary<readonly Uint8Array[]>;
}

/** Everything that the types allow. */
export const anything: Draws = {
  string: fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: "grapheme", maxLength: 40 })),
  scalar: scalarOf,
  records: bytes().map((chunk) => [chunk]),
};

/** Values that a lossless codec of this version can write: fields that it lacks hold their default. */
export function arbitraryOf<T>(type: Type<T>, version: number, draws: Draws = anything): fc.Arbitrary<T> {
  return valueOf(type, version, draws) as fc.Arbitrary<T>;
}

function valueOf(node: Node, version: number, draws: Draws): fc.Arbitrary<unknown> {
  switch (node.kind) {
    case "scalar":
      return draws.scalar(node.name);
    case "string":
      return draws.string;
    case "bytes":
      return bytes();
    case "records":
      return draws.records;
    case "array":
      return fc.array(valueOf(node.of, version, draws), { maxLength: 3 });
    case "struct": {
      const fields: { [name: string]: fc.Arbitrary<unknown> } = {};
      for (const name of Object.keys(node.fields))
        fields[name] = fieldOf(node.fields[name] as Node, version, draws);
      return fc.record(fields, { noNullPrototype: true });
    }
    case "nullable":
      return version >= node.first
        ? fc.option(valueOf(node.of, version, draws))
        : valueOf(node.of, version, draws);
    case "versions":
    case "tagged":
    case "default":
    case "ignorable":
      return valueOf(node.of, version, draws);
  }
}

function fieldOf(node: Node, version: number, draws: Draws): fc.Arbitrary<unknown> {
  const { present, tag, fallback } = place(node, version);
  if (!present) return fc.constant(fallback);
  if (tag === null) return valueOf(node, version, draws);
  return fc.oneof(fc.constant(fallback), valueOf(node, version, draws));
}

/** Long ones travel by reference, short ones are copied: both are drawn. */
function bytes(): fc.Arbitrary<Uint8Array> {
  return fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.integer({ min: 0, max: 3000 }).map((length) => new Uint8Array(length).fill(0xa5)),
  );
}

const integer = (bits: number) => fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 });

function scalarOf(name: ScalarName): fc.Arbitrary<unknown> {
  switch (name) {
    case "bool":
      return fc.boolean();
    case "int8":
      return integer(8);
    case "int16":
      return integer(16);
    case "uint16":
      return fc.nat(0xffff);
    case "int32":
    case "varint":
      return integer(32);
    case "uint32":
      return fc.nat(0x7fffffff).map((half) => half * 2 + 1);
    case "int64":
    case "clamped64":
    case "varlong":
      return fc.oneof(
        fc.maxSafeInteger(),
        fc.constantFrom(-1, 0, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER),
      );
    case "bigint64":
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case "float64":
      return fc.double({ noNaN: true });
    case "uuid":
      return fc.uint8Array({ minLength: 16, maxLength: 16 }).map((id) => topicIdFromBytes(id));
  }
}
