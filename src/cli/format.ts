/**
 * The language of `--format`: kcat's and rpk's `%` letters. A format is compiled once; printing a record
 * copies bytes and decodes nothing that the format does not ask for. Unknown letters are refused, so that a
 * typo is not printed a million times.
 */
import { decodeUtf8, readEscape } from "./escapes.ts";
import { isoTime } from "./time-text.ts";
import { UsageError } from "./usage-error.ts";

export interface PrintableRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly PrintableHeader[];
}

export interface PrintableHeader {
  /** Its name; the same name may come more than once. */
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** The bytes of one record. Pieces may be views of the record. */
export type Format = (record: PrintableRecord, pieces: Uint8Array[]) => void;

interface Letter {
  readonly text: string;
  readonly print: (record: PrintableRecord) => string | Uint8Array;
}

const empty = new Uint8Array(0);

/** Length as kcat prints it: −1 for null. */
const lengthOf = (bytes: Uint8Array | null): string => String(bytes === null ? -1 : bytes.length);

export const formatLetters: { readonly [letter: string]: Letter } = {
  t: { text: "topic", print: ({ topic }) => topic },
  p: { text: "partition", print: ({ partition }) => String(partition) },
  o: { text: "offset", print: ({ offset }) => String(offset) },
  k: { text: "key (nothing when it is null)", print: ({ key }) => key ?? empty },
  K: { text: "bytes of the key, −1 when it is null", print: ({ key }) => lengthOf(key) },
  v: { text: "value (nothing when it is null)", print: ({ value }) => value ?? empty },
  s: { text: "value, as kcat has it", print: ({ value }) => value ?? empty },
  V: { text: "bytes of the value, −1 when it is null", print: ({ value }) => lengthOf(value) },
  S: { text: "bytes of the value, as kcat has it", print: ({ value }) => lengthOf(value) },
  R: {
    text: "bytes of the value as a big-endian int32, as kcat has it",
    print: ({ value }) => int32(value?.length ?? -1),
  },
  h: { text: "headers as name=value,name=value", print: ({ headers }) => printHeaders(headers) },
  H: { text: "number of headers", print: ({ headers }) => String(headers.length) },
  T: { text: "timestamp in ms since 1970", print: ({ timestampMs }) => String(timestampMs) },
  d: { text: "timestamp as ISO 8601 in UTC", print: ({ timestampMs }) => isoTime(timestampMs) },
};

/** `%v{hex}`: how the bytes of a key, a value or the headers are shown. */
export const formatEncodings: { readonly [name: string]: (bytes: Uint8Array) => string } = {
  hex: (bytes) => asBuffer(bytes).toString("hex"),
  base64: (bytes) => asBuffer(bytes).toString("base64"),
  json: (bytes) => JSON.stringify(decodeUtf8(bytes) ?? asBuffer(bytes).toString("latin1")),
};

export function compileFormat(text: string): Format {
  const parts: (Uint8Array | ((record: PrintableRecord) => Uint8Array))[] = [];
  let literal: Uint8Array[] = [];
  const flush = (): void => {
    if (literal.length > 0) parts.push(Buffer.concat(literal));
    literal = [];
  };
  for (let at = 0; at < text.length; ) {
    const character = text[at];
    if (character === "%") {
      const found = /^%(?:(%)|([a-zA-Z])(?:\{([a-z0-9]+)\})?)/.exec(text.slice(at));
      if (found?.[1] !== undefined) literal.push(Buffer.from("%"));
      else {
        flush();
        parts.push(printer(found?.[2] ?? "", found?.[3], text.slice(at, at + 2)));
      }
      at += found?.[0].length ?? 1;
    } else if (character === "\\") {
      const escape = readEscape(text, at + 1);
      if (escape === null) {
        throw new UsageError(
          `--format has "${text.slice(at, at + 2)}", which is no escape: there are \\n, \\t, \\r, \\0, \\\\ and \\xHH.`,
        );
      }
      literal.push(Uint8Array.of(escape.byte));
      at += 1 + escape.length;
    } else {
      const next = /[%\\]/.exec(text.slice(at));
      const end = next === null ? text.length : at + next.index;
      literal.push(Buffer.from(text.slice(at, end)));
      at = end;
    }
  }
  flush();
  return (record, pieces) => {
    for (const part of parts) pieces.push(typeof part === "function" ? part(record) : part);
  };
}

function printer(
  letter: string,
  encoding: string | undefined,
  written: string,
): (record: PrintableRecord) => Uint8Array {
  const known = formatLetters[letter];
  if (known === undefined) {
    const letters = Object.keys(formatLetters).map((name) => `%${name}`);
    throw new UsageError(
      `--format has "${written}", which means nothing: there are ${letters.join(" ")} and %%.`,
    );
  }
  if (encoding === undefined) return (record) => bytesOf(known.print(record));
  const encode = formatEncodings[encoding];
  if (encode === undefined) {
    throw new UsageError(
      `--format has "%${letter}{${encoding}}": there are {${Object.keys(formatEncodings).join("}, {")}}.`,
    );
  }
  return (record) => Buffer.from(encode(bytesOf(known.print(record))));
}

const bytesOf = (printed: string | Uint8Array): Uint8Array =>
  typeof printed === "string" ? Buffer.from(printed) : printed;

function printHeaders(headers: readonly PrintableHeader[]): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (const { key, value } of headers) {
    pieces.push(Buffer.from(`${pieces.length === 0 ? "" : ","}${key}=`), value ?? Buffer.from("NULL"));
  }
  return Buffer.concat(pieces);
}

function int32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * A record as one line of JSON. Bytes that are UTF-8 are text; others are base64, and a field beside them
 * says so (`"valueEncoding":"base64"`). Headers are a list, since names may repeat.
 */
export function jsonRecord(record: PrintableRecord): string {
  return JSON.stringify({
    topic: record.topic,
    partition: record.partition,
    offset: record.offset,
    timestampMs: record.timestampMs,
    timestamp: isoTime(record.timestampMs),
    ...field("key", record.key),
    ...field("value", record.value),
    headers: record.headers.map(({ key, value }) => ({ name: key, ...field("value", value) })),
  });
}

function field(name: string, bytes: Uint8Array | null): { readonly [name: string]: string | null } {
  if (bytes === null) return { [name]: null };
  const text = decodeUtf8(bytes);
  if (text !== null) return { [name]: text };
  return { [name]: asBuffer(bytes).toString("base64"), [`${name}Encoding`]: "base64" };
}
