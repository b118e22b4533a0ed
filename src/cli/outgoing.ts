/**
 * What `produce` was asked to send: options checked before anything is asked of a broker, and the records as
 * they come, from arguments, one file, or the lines of standard input. Values are bytes; nothing is decoded.
 */
import { readFile, stat } from "node:fs/promises";
import { RefusedError } from "../base/errors.ts";
import { parseEscaped } from "./escapes.ts";
import { lineBytesMax, linesOf } from "./lines.ts";
import { readProperties } from "./property-options.ts";
import type { Input } from "./terminal.ts";
import { parseTime } from "./time-text.ts";
import { UsageError } from "./usage-error.ts";

export interface OutgoingOptions {
  readonly key?: string;
  readonly keySeparator?: string;
  readonly header?: readonly string[];
  readonly file?: string;
  readonly partition?: number;
  readonly timestamp?: string;
  readonly tombstone?: boolean;
  readonly nullValue?: string;
  readonly emptyAsNull?: boolean;
  readonly property?: readonly string[];
  readonly readerProperty?: readonly string[];
}

export interface Outgoing {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly { readonly key: string; readonly value: Uint8Array }[];
  readonly partition?: number;
  readonly timestampMs?: number;
}

export interface Source {
  /** How a record of it is called in a sentence. */
  readonly unit: "Value" | "Line" | "File" | "Tombstone";
  records(): AsyncIterable<Outgoing>;
}

/** Throws `UsageError`. */
export function openSource(
  values: readonly string[],
  options: OutgoingOptions,
  input: Input,
  nowMs: number,
): Source {
  const { keySeparator, nullValue } = withProperties(options);
  const { file, tombstone, key } = options;
  if (key !== undefined && keySeparator !== undefined) {
    throw new UsageError(
      "--key gives one key to all records and --key-separator one to each: give one of them.",
    );
  }
  if (file !== undefined && (values.length > 0 || tombstone === true || keySeparator !== undefined)) {
    throw new UsageError(
      "--file is one record's value: no other value, --tombstone or --key-separator goes with it.",
    );
  }
  if (tombstone === true && (key === undefined || values.length > 0)) {
    throw new UsageError("--tombstone takes back a key: give it with --key, and no value.");
  }
  const separator = keySeparator === undefined ? null : parseEscaped(keySeparator, "--key-separator");
  if (separator?.length === 0) throw new UsageError("--key-separator needs at least one character.");
  const common = {
    key: key === undefined ? null : Buffer.from(key),
    headers: (options.header ?? []).map(parseHeader),
    ...(options.partition === undefined ? {} : { partition: options.partition }),
    ...(options.timestamp === undefined ? {} : { timestampMs: timeOf(options.timestamp, nowMs) }),
  };
  const nullBytes = nullValue === undefined ? null : Buffer.from(nullValue);
  const record = (unit: Source["unit"], number: number, bytes: Uint8Array): Outgoing => {
    const [ownKey, value] =
      separator === null ? [common.key, bytes] : splitKey(bytes, separator, unit, number);
    return { ...common, key: ownKey, value: nullBytes?.equals(value) === true ? null : value };
  };
  if (tombstone === true) return { unit: "Tombstone", records: () => once({ ...common, value: null }) };
  if (file !== undefined)
    return { unit: "File", records: () => fileRecord(file, (bytes) => record("File", 1, bytes)) };
  if (values.length > 0) {
    return {
      unit: "Value",
      records: () => each(values, (value, number) => record("Value", number, Buffer.from(value))),
    };
  }
  return {
    unit: "Line",
    records: () => each(linesOf(input), (line, number) => record("Line", number, line)),
  };
}

function withProperties(options: OutgoingOptions): {
  readonly keySeparator?: string;
  readonly nullValue?: string;
} {
  const properties = readProperties([...(options.property ?? []), ...(options.readerProperty ?? [])], {
    "parse.key": "boolean",
    "key.separator": "text",
    "null.marker": "text",
  });
  const parses = properties.get("parse.key") === "true";
  const keySeparator =
    options.keySeparator ?? (parses ? (properties.get("key.separator") ?? "\\t") : undefined);
  const nullValue =
    options.nullValue ?? properties.get("null.marker") ?? (options.emptyAsNull === true ? "" : undefined);
  return {
    ...(keySeparator === undefined ? {} : { keySeparator }),
    ...(nullValue === undefined ? {} : { nullValue }),
  };
}

function parseHeader(text: string): { readonly key: string; readonly value: Uint8Array } {
  const at = text.indexOf("=");
  if (at <= 0) throw new UsageError(`--header needs NAME=VALUE, not "${text}".`);
  return { key: text.slice(0, at), value: Buffer.from(text.slice(at + 1)) };
}

function timeOf(text: string, nowMs: number): number {
  const timeMs = parseTime(text, nowMs);
  if (timeMs !== null) return timeMs;
  throw new UsageError(
    `--timestamp ${text} is no time: there are 10m (ago), 14:30, 2026-11-21T14:30Z and @1763721000000.`,
  );
}

function splitKey(
  bytes: Uint8Array,
  separator: Uint8Array,
  unit: string,
  number: number,
): readonly [key: Uint8Array, value: Uint8Array] {
  const at = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf(separator);
  if (at === -1) {
    throw new RefusedError(
      `${unit} ${number} has no key separator, so it was not sent, and nothing behind it.`,
    );
  }
  return [bytes.subarray(0, at), bytes.subarray(at + separator.length)];
}

async function* once(record: Outgoing): AsyncGenerator<Outgoing> {
  yield await Promise.resolve(record);
}

async function* each<T>(
  items: Iterable<T> | AsyncIterable<T>,
  record: (item: T, number: number) => Outgoing,
): AsyncGenerator<Outgoing> {
  let number = 0;
  for await (const item of items) yield record(item, ++number);
}

async function* fileRecord(path: string, record: (bytes: Uint8Array) => Outgoing): AsyncGenerator<Outgoing> {
  let bytes: Uint8Array;
  try {
    const { size } = await stat(path);
    if (size > lineBytesMax) {
      throw new RefusedError(
        `The file ${path} has ${size} bytes, and one record at most ${lineBytesMax}; nothing was sent.`,
      );
    }
    bytes = await readFile(path);
  } catch (cause) {
    if (cause instanceof RefusedError) throw cause;
    const reason = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "does not exist" : "cannot be read";
    throw new RefusedError(`The file ${path} ${reason}; nothing was sent.`, { cause });
  }
  yield record(bytes);
}
