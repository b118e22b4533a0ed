/** How `consume` prints a record: the format that was asked for, JSON, or a line for people. */
import { decodeUtf8, withoutControls } from "./escapes.ts";
import { compileFormat, type Format, jsonRecord, type PrintableRecord } from "./format.ts";
import { readProperties } from "./property-options.ts";
import type { Paint } from "./terminal.ts";
import { clockTime } from "./time-text.ts";
import { UsageError } from "./usage-error.ts";

export interface PrintOptions {
  readonly format?: string;
  readonly json?: boolean;
  readonly jsonEnvelope?: boolean;
  readonly property?: readonly string[];
  readonly formatterProperty?: readonly string[];
}

/** Throws `UsageError`. */
export function openPrinter(options: PrintOptions, paint: Paint, nowMs: () => number): Format {
  const json = options.json === true || options.jsonEnvelope === true;
  const properties = [...(options.property ?? []), ...(options.formatterProperty ?? [])];
  if (Number(json) + Number(options.format !== undefined) + Number(properties.length > 0) > 1) {
    throw new UsageError(
      "--json, --format and --property each say how a record is printed: give one of them.",
    );
  }
  // rpk's word for JSON.
  if (json || options.format === "json") {
    return (record, pieces) => pieces.push(Buffer.from(`${jsonRecord(record)}\n`));
  }
  if (options.format !== undefined) return compileFormat(options.format);
  if (properties.length > 0) return compileFormat(formatOfProperties(properties));
  return (record, pieces) => pieces.push(Buffer.from(lineOf(record, paint, nowMs())));
}

/** As Kafka's console consumer prints with these properties. */
function formatOfProperties(pairs: readonly string[]): string {
  const properties = readProperties(pairs, {
    "print.timestamp": "boolean",
    "print.partition": "boolean",
    "print.offset": "boolean",
    "print.headers": "boolean",
    "print.key": "boolean",
    "print.value": "boolean",
    "key.separator": "text",
    "line.separator": "text",
  });
  const columns: readonly (readonly [name: string, format: string, otherwise: boolean])[] = [
    ["print.timestamp", "CreateTime:%T", false],
    ["print.partition", "Partition:%p", false],
    ["print.offset", "Offset:%o", false],
    ["print.headers", "%h", false],
    ["print.key", "%k", false],
    ["print.value", "%v", true],
  ];
  const separator = (name: string, otherwise: string): string =>
    (properties.get(name) ?? otherwise).replaceAll("%", "%%");
  const shown = columns.flatMap(([name, format, otherwise]) =>
    (properties.get(name) ?? String(otherwise)) === "true" ? [format] : [],
  );
  return shown.join(separator("key.separator", "\\t")) + separator("line.separator", "\\n");
}

/**
 * `orders/0 @ 0  12:26:01.120  key → value`. One line whatever the record holds, with nothing in it that
 * steers a terminal: other bytes are shown as escapes, and what is no text as hex.
 */
function lineOf(record: PrintableRecord, paint: Paint, nowMs: number): string {
  const { topic, partition, offset, timestampMs, key, value, headers } = record;
  const place = paint("cyan", `${topic}/${partition} @ ${offset}`);
  const time = paint("dim", clockTime(timestampMs, nowMs));
  const name = key === null ? "" : `${paint("yellow", shownBytes(key))} → `;
  const text = value === null ? paint("dim", "(no value)") : shownBytes(value);
  const notes = headers.map(
    (header) => `${header.key}=${header.value === null ? "(no value)" : shownBytes(header.value)}`,
  );
  const tail = notes.length === 0 ? "" : `  ${paint("dim", `{${withoutControls(notes.join(", "))}}`)}`;
  return `${place}  ${time}  ${name}${text}${tail}\n`;
}

/** Bytes of something that is no text which are shown. */
const hexBytesMax = 64;

function shownBytes(bytes: Uint8Array): string {
  const text = decodeUtf8(bytes);
  if (text !== null) return withoutControls(text);
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, hexBytesMax)).toString(
    "hex",
  );
  return `0x${hex}${bytes.length > hexBytesMax ? `… (${bytes.length} bytes)` : ""}`;
}
