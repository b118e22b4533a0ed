/**
 * `docs/formats/*.md`: what lies on the disk, byte for byte. Fields come from the schemas that the code
 * reads and writes with, words from the comments beside them, so that neither can go out of date alone.
 */
import { readFileSync } from "node:fs";
import * as refs from "../src/log/segment-ref.ts";
import { EntryKind } from "../src/log/wal.ts";
import * as wal from "../src/log/wal-format.ts";
import * as lists from "../src/log/segment-list.ts";
import * as segments from "../src/log/segment-format.ts";
import * as commands from "../src/metadata/commands.ts";
import * as snapshots from "../src/metadata/snapshot.ts";
import { describe } from "../src/schema/describe.ts";
import type { Node } from "../src/schema/types.ts";
import { BodyKind } from "../src/store/body.ts";

type Struct = Extract<Node, { kind: "struct" }>;

/** A struct that has a name in the code: where it is written down, and under which name. */
interface Named {
  readonly file: string;
  readonly name: string;
  readonly struct: Struct;
}

const files: readonly (readonly [string, { readonly [name: string]: unknown }])[] = [
  ["src/log/wal-format.ts", wal],
  ["src/log/segment-ref.ts", refs],
  ["src/log/segment-format.ts", segments],
  ["src/log/segment-list.ts", lists],
  ["src/metadata/commands.ts", commands],
  ["src/metadata/snapshot.ts", snapshots],
];

const named: ReadonlyMap<unknown, Named> = new Map(
  files.flatMap(([file, module]) =>
    Object.entries(module)
      .filter((entry): entry is [string, Struct] => isStruct(entry[1]))
      .map(([name, struct]) => [struct, { file, name, struct }] as const),
  ),
);

const made =
  "Made by `npm run pages` from the schemas and the comments of the files that are linked; do not edit.";
const plain =
  "Numbers are big-endian. A string is its length (int16) and UTF-8; a byte string or an array is its length (int32) and its bytes or elements; a length of −1 is null, and so is a struct behind an int8 of −1.";
const flexible =
  "Numbers are big-endian. Strings, byte strings and arrays begin with their length plus one as a variable-length number, 0 being null; a struct ends with its tagged fields, of which there are none yet (KIP-482).";

export function walFormatPage(): string {
  return `# Write-ahead log, format ${wal.WAL_FORMAT}

${made} The code is in [wal-format.ts](../../src/log/wal-format.ts); how a frame is built in [wal-frame.ts](../../src/log/wal-frame.ts), how it is read back after a crash in [wal-recovery.ts](../../src/log/wal-recovery.ts).

${headOf("src/log/wal-format.ts")}

${plain}

${section("File header", wal.FileHeader)}
Origins: ${numbers(wal.FileOrigin)}.

${section("Frame header", wal.FrameHeaderBytes)}
${section("Index row", wal.IndexRow)}
Kinds of entries: ${numbers(EntryKind)}.
`;
}

export function segmentFormatPage(): string {
  return `# Segments and lists, format ${segments.SEGMENT_FORMAT}

${made} The code is in [segment-format.ts](../../src/log/segment-format.ts) and [segment-list.ts](../../src/log/segment-list.ts).

${headOf("src/log/segment-format.ts")}

${plain} Kinds of objects: ${numbers(segments.ObjectKind)}.

${section("Object header", segments.ObjectHeader)}
${section("Footer", segments.SegmentFooter)}
${section("State in the footer", segments.FooterState)}
${section("Producer", segments.ProducerSnapshot)}
${section("Aborted transaction", segments.AbortedTransaction)}
${section("Leader epoch", segments.EpochStart)}
${section("Block", segments.Block)}
## Lists

${headOf("src/log/segment-list.ts")}

${section("Body of a list", lists.ListBody)}
${section("How the journal names a segment", refs.SegmentRef)}
${section("How the journal names a list", refs.ListPointer)}`;
}

export function journalFormatPage(): string {
  return `# Metadata journal

${made} The code is in [body.ts](../../src/store/body.ts), [slot.ts](../../src/metadata/slot.ts), [commands.ts](../../src/metadata/commands.ts) and [snapshot.ts](../../src/metadata/snapshot.ts).

${headOf("src/store/body.ts")}

Kinds of bodies: ${numbers(BodyKind)}.

## Slots

${headOf("src/metadata/slot.ts")}

## Commands

${headOf("src/metadata/commands.ts")}

A command is its number (int16), its version (int16), its length (int32) and its fields. ${flexible}

${Object.entries(commands.commandSchemas)
  .map(([kind, { type, version, levels, fields }]) => {
    const level = levels.at(-1) === 1 ? "" : `, from format level ${levels.at(-1)}`;
    return section(`${type}: ${kind}, version ${version}${level}`, fields);
  })
  .join("\n")}
${section("Owners of partitions", commands.Assignment)}
${section("A row of FLUSH", refs.FlushRow)}
${section("A row of REPLACE", refs.ReplaceRow)}
${section("How far compaction has come", refs.Compacted)}
How a segment and a list are named: [segments.md](segments.md).

## Snapshots

${headOf("src/metadata/snapshot.ts")}

${section("Snapshot", snapshots.Snapshot)}`;
}

/** A heading, what the comment above the schema says, and the fields, each with the comment above it. */
function section(title: string, schema: Node): string {
  const found = named.get(schema);
  if (found === undefined)
    throw new Error(`${title} is not an exported schema of ${files.map(([file]) => file).join(", ")}`);
  const { before, block } = sourceOf(found);
  const rows = rowsOf(found.struct, block, 1).map(
    ({ field, type, text }) => `| ${field} | ${type} | ${text} |`,
  );
  return `### ${title}

${before === "" ? "" : `${before}\n\n`}| field | type | |
|---|---|---|
${rows.join("\n")}
`;
}

interface Row {
  readonly field: string;
  readonly type: string;
  readonly text: string;
}

function rowsOf(struct: Struct, block: string, depth: number): Row[] {
  return Object.entries(struct.fields).flatMap(([name, node]) => {
    // One line per field is what `describe` gives; what is inside has lines of its own or a section of its own.
    const [line] = describe({ ...struct, fields: { [name]: node } }).split("\n") as [string];
    const inside = structInside(node);
    const ownSection = inside === undefined ? undefined : named.get(inside);
    const type = line.slice(name.length + 2);
    const row = {
      field: `${"&emsp;".repeat(depth - 1)}\`${name}\``,
      type: ownSection === undefined ? type : type.replace("struct", ownSection.name),
      text: commentOf(block, name, depth),
    };
    if (inside === undefined || ownSection !== undefined) return [row];
    return [row, ...rowsOf(inside, block, depth + 1)];
  });
}

function structInside(node: Node): Struct | undefined {
  let inner = node;
  while ("of" in inner) inner = inner.of;
  return inner.kind === "struct" ? inner : undefined;
}

function isStruct(value: unknown): value is Struct {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "struct";
}

/** The comment above a schema and the text between its braces. */
function sourceOf({ file, name }: Named): { readonly before: string; readonly block: string } {
  const source = readFileSync(file, "utf8");
  const begin = source.indexOf(`const ${name} = struct({`);
  const block = source.slice(begin, source.indexOf("});", begin));
  const above = source.slice(0, begin).replace(/export $/, "");
  return { before: commentAtEnd(above), block };
}

function commentOf(block: string, field: string, depth: number): string {
  const at = new RegExp(`^ {${depth * 2},}${field}[:,]`, "m").exec(block);
  return at === null ? "" : commentAtEnd(block.slice(0, at.index)).replaceAll("|", "\\|");
}

/** The doc comment with which `text` ends, as one line. */
function commentAtEnd(text: string): string {
  const comment = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*$/.exec(text)?.[1] ?? "";
  return comment.replaceAll(/\s*\n\s*\*\s?/g, " ").trim();
}

/** The comment with which a file opens: prose as it is, drawings as code. */
function headOf(file: string): string {
  const comment = /^\/\*\*\n([\s\S]*?)\n \*\//.exec(readFileSync(file, "utf8"))?.[1] ?? "";
  const lines = comment.split("\n").map((line) => line.replace(/^ \* ?/, ""));
  const paragraphs = lines.join("\n").split("\n\n");
  return paragraphs.map((text) => (text.startsWith("  ") ? `\`\`\`\n${text}\n\`\`\`` : text)).join("\n\n");
}

function numbers(table: { readonly [name: string]: number }): string {
  return Object.entries(table)
    .map(([name, number]) => `${number} ${name}`)
    .join(", ");
}
