/**
 * What a field is when nothing was sent for it: because its version lacks it, or because a tagged field
 * was left out. Kafka's rules: a default that was said, else zero, the empty string, the empty array; a
 * nullable field is null only when its default says so.
 */
import { unreachable } from "../base/assert.ts";
import { NO_TOPIC_ID } from "../base/ids.ts";
import type { Node } from "./types.ts";

/** What lies around a field's type. */
export interface Placement {
  /** In this version's struct, plain or under a tag. */
  readonly present: boolean;
  /** Null: not tagged. A field may be plain in its first versions and tagged later. */
  readonly tag: number | null;
  readonly fallback: unknown;
  /** May be dropped silently where the version lacks it. */
  readonly ignorable: boolean;
  /** First version in which null may stand for the value; Infinity: never. */
  readonly nullableFrom: number;
  /** The type itself, without what lies around it. */
  readonly inner: Exclude<Node, Wrapper>;
}

type Wrapper = Extract<Node, { kind: "versions" | "tagged" | "default" | "ignorable" | "nullable" }>;

export function place(node: Node, version: number): Placement {
  let present = true;
  let tag: number | null = null;
  let said: { readonly value: unknown } | null = null;
  let mayDrop = false;
  let nullableFrom = Infinity;
  let inner = node;
  for (;;) {
    if (inner.kind === "versions") present &&= version >= inner.first && version <= inner.last;
    else if (inner.kind === "tagged") {
      present &&= version >= inner.first;
      tag = inner.tag;
    } else if (inner.kind === "default") said ??= inner;
    else if (inner.kind === "ignorable") mayDrop = true;
    else if (inner.kind === "nullable") nullableFrom = inner.first;
    else break;
    inner = inner.of;
  }
  const fallback = said === null ? defaultOf(inner) : said.value;
  return { present, tag, fallback, ignorable: mayDrop, nullableFrom, inner };
}

/** The default of a type. Values may be shared: nobody writes into them. */
export function defaultOf(node: Node): unknown {
  switch (node.kind) {
    case "scalar":
      if (node.name === "bool") return false;
      if (node.name === "uuid") return NO_TOPIC_ID;
      return node.name === "bigint64" ? 0n : 0;
    case "string":
      return "";
    case "bytes":
      return new Uint8Array(0);
    case "records":
    case "array":
      return [];
    case "struct": {
      const value: { [name: string]: unknown } = {};
      for (const name of Object.keys(node.fields)) {
        value[name] = place(node.fields[name] as Node, 0).fallback;
      }
      return value;
    }
    case "nullable":
    case "versions":
    case "tagged":
    case "ignorable":
      return defaultOf(node.of);
    case "default":
      return node.value;
    default:
      return unreachable(node);
  }
}

/** Whether a value says no more than its absence would. */
export function isDefault(value: unknown, fallback: unknown): boolean {
  if (value === fallback) return true;
  if (Array.isArray(value)) return Array.isArray(fallback) && value.length === 0 && fallback.length === 0;
  if (typeof value !== "object" || typeof fallback !== "object" || value === null || fallback === null)
    return false;
  if (value instanceof Uint8Array)
    return fallback instanceof Uint8Array && value.byteLength === 0 && fallback.byteLength === 0;
  const a = value as { readonly [name: string]: unknown };
  const b = fallback as { readonly [name: string]: unknown };
  return Object.keys(b).every((name) => isDefault(a[name], b[name]));
}
