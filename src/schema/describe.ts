/**
 * A schema as text, one field a line, for documents of formats and for people who look at bytes:
 *
 *   topics: array of struct, null from 1
 *     name: string, until 12
 *     topicId: uuid, from 13
 */
import { place } from "./defaults.ts";
import type { Node } from "./types.ts";

/** Lines without a final newline; nested structs are indented by two spaces. */
export function describe(schema: Node): string {
  return linesOf(schema, "").join("\n");
}

function linesOf(schema: Node, indent: string): string[] {
  if (schema.kind !== "struct") {
    const inside = structWithin(schema);
    return [indent + typeOf(schema), ...(inside === null ? [] : linesOf(inside, `${indent}  `))];
  }
  return Object.entries(schema.fields).flatMap(([name, node]) => {
    const inside = structWithin(node);
    return [
      `${indent}${name}: ${typeOf(node)}${notesOf(node)}`,
      ...(inside === null ? [] : linesOf(inside, `${indent}  `)),
    ];
  });
}

function typeOf(node: Node): string {
  switch (node.kind) {
    case "scalar":
      return node.name;
    case "array":
      return `array of ${typeOf(node.of)}`;
    case "string":
    case "bytes":
    case "records":
    case "struct":
      return node.kind;
    default:
      return typeOf(node.of);
  }
}

function notesOf(field: Node): string {
  let notes = "";
  for (let node = field; "of" in node && node.kind !== "array"; node = node.of) {
    if (node.kind === "versions") {
      if (node.first === node.last) notes += `, only ${node.first}`;
      else if (node.last === Infinity) notes += `, from ${node.first}`;
      else notes += node.first === 0 ? `, until ${node.last}` : `, ${node.first} to ${node.last}`;
    } else if (node.kind === "tagged") notes += `, tag ${node.tag} from ${node.first}`;
    else if (node.kind === "nullable")
      notes += node.first === 0 ? ", or null" : `, or null from ${node.first}`;
    else if (node.kind === "default") notes += `, else ${sayValue(node.value)}`;
    else notes += ", ignorable";
  }
  return notes;
}

function sayValue(value: unknown): string {
  return typeof value === "bigint" ? String(value) : JSON.stringify(value);
}

function structWithin(node: Node): Extract<Node, { kind: "struct" }> | null {
  const { inner } = place(node, 0);
  if (inner.kind === "array") return structWithin(inner.of);
  return inner.kind === "struct" ? inner : null;
}
