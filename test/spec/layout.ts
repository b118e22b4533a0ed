/**
 * What one version of a message looks like, said in one form from two sides: from our schema and from
 * Kafka's definition. If both say the same, they read and write the same bytes and mean the same by
 * what is absent.
 */
import { ownTagsFrom } from "../../src/protocol/fields.ts";
import { place } from "../../src/schema/defaults.ts";
import type { Node } from "../../src/schema/types.ts";
import type { FieldJson, MessageJson } from "./kafka-jar.ts";

export interface FieldLayout {
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
  readonly tag: number | null;
  /** Of a number as text, so that large ones are exact. */
  readonly default: string | boolean | null;
  readonly ignorable: boolean;
  /** Of the struct that the field is or that its array holds. */
  readonly fields: readonly FieldLayout[] | null;
}

/** A field that this version lacks, but some served one has: what it reads as, and whether it may be dropped. */
export interface AbsentField {
  readonly name: string;
  readonly absent: true;
  readonly default: string | boolean | null;
  readonly ignorable: boolean;
}

export type Layout = readonly (FieldLayout | AbsentField)[];

/** The versions for which messages are compared. */
export interface Served {
  readonly first: number;
  readonly last: number;
}

export function layoutOfSchema(root: Node, version: number): Layout {
  if (root.kind !== "struct") throw new Error("a message is a struct");
  // Tags of ours are no part of Kafka's message: without them it is the same bytes.
  const theirs = Object.entries(root.fields).filter(
    ([, node]) => (place(node, version).tag ?? 0) < ownTagsFrom,
  );
  return theirs.map(([name, node]) => {
    const { present, tag, fallback, ignorable, nullableFrom, inner } = place(node, version);
    if (!present) return { name, absent: true, default: sayDefault(inner, fallback), ignorable };
    const element = inner.kind === "array" ? inner.of : inner;
    return {
      name,
      type: (inner.kind === "array" ? "[]" : "") + typeName(element),
      nullable: version >= nullableFrom,
      tag,
      default: sayDefault(inner, fallback),
      ignorable,
      fields: element.kind === "struct" ? (layoutOfSchema(element, version) as FieldLayout[]) : null,
    };
  });
}

function typeName(node: Node): string {
  if (node.kind !== "scalar") return node.kind;
  return node.name === "clamped64" || node.name === "bigint64" ? "int64" : node.name;
}

function sayDefault(node: Node, fallback: unknown): string | boolean | null {
  if (fallback === null || typeof fallback === "boolean") return fallback;
  if (node.kind === "scalar" || node.kind === "string") return String(fallback as string | number | bigint);
  return node.kind;
}

export function layoutOfDefinition(message: MessageJson, version: number, served: Served): Layout {
  const common = new Map(message.commonStructs?.map((struct) => [struct.name, struct.fields]));
  const scalars = new Set(["bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "uuid"]);
  const plain = new Set([...scalars, "string", "bytes", "records"]);

  function layout(fields: readonly FieldJson[]): Layout {
    return fields
      .filter((field) => overlaps(field.versions, served))
      .map((field) => {
        const name = field.name.charAt(0).toLowerCase() + field.name.slice(1);
        const isArray = field.type.startsWith("[]");
        const element = isArray ? field.type.slice(2) : field.type;
        const ignorable = field.ignorable ?? false;
        const kind = isArray ? "array" : plain.has(element) ? element : "struct";
        const fallback = defaultOf(kind, field.default);
        if (!contains(field.versions, version)) return { name, absent: true, default: fallback, ignorable };
        const inside = plain.has(element) ? null : (field.fields ?? common.get(element));
        if (inside === undefined) throw new Error(`${message.name}: nothing says what ${element} is`);
        return {
          name,
          type: (isArray ? "[]" : "") + (inside === null ? element : "struct"),
          nullable: contains(field.nullableVersions ?? "none", version),
          tag: contains(field.taggedVersions ?? "none", version) ? (field.tag as number) : null,
          default: fallback,
          ignorable,
          fields: inside === null ? null : (layout(inside) as FieldLayout[]),
        };
      });
  }

  function defaultOf(kind: string, said: FieldJson["default"]): string | boolean | null {
    if (said === "null") return null;
    if (kind === "bool") return said === true || said === "true";
    if (kind === "uuid") return said === undefined ? "AAAAAAAAAAAAAAAAAAAAAA" : String(said);
    if (kind === "float64") return String(Number(said ?? 0));
    if (scalars.has(kind)) return String(BigInt(said === undefined || said === "" ? 0 : String(said)));
    return kind === "string" ? String(said ?? "") : kind;
  }

  return layout(message.fields);
}

/** "none", "3", "0-4", "3+". */
export function versionRange(text: string): Served | null {
  if (text === "none") return null;
  const [, first, rest] = /^(\d+)(-\d+|\+)?$/.exec(text) ?? [];
  if (first === undefined) throw new Error(`"${text}" is no range of versions`);
  if (rest === undefined) return { first: Number(first), last: Number(first) };
  return { first: Number(first), last: rest === "+" ? Infinity : Number(rest.slice(1)) };
}

function contains(text: string, version: number): boolean {
  const range = versionRange(text);
  return range !== null && version >= range.first && version <= range.last;
}

function overlaps(text: string, served: Served): boolean {
  const range = versionRange(text);
  return range !== null && range.first <= served.last && range.last >= served.first;
}

/** Of a request, and so of its response: Kafka does not offer a last version that the request calls unstable. */
export function servedVersions(message: MessageJson): Served {
  const range = versionRange(message.validVersions);
  if (range === null) throw new Error(`${message.name} has no valid version`);
  return message.latestVersionUnstable === true ? { first: range.first, last: range.last - 1 } : range;
}
