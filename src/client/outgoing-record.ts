/**
 * What a record that is given to a producer is made of: how many bytes, which headers, and whether it is a
 * record at all, since a program without types may hand in anything.
 */
import type { WrittenHeader } from "../record/batch-writer.ts";
import { OptionError } from "./errors.ts";
import type { Bytes, OutgoingHeaders, OutgoingRecord } from "./records.ts";

export const noHeaders: readonly WrittenHeader[] = [];

/** Bytes of a key or a value. Throws `OptionError`. */
export function sizeOf(what: "key" | "value", bytes: unknown): number {
  if (bytes === null || bytes === undefined) return 0;
  if (typeof bytes === "string") return Buffer.byteLength(bytes, "utf8");
  if (bytes instanceof Uint8Array) return bytes.byteLength;
  throw notBytes(what, bytes);
}

/**
 * As a batch takes them. Throws `OptionError`: what is neither a string nor bytes has no length, and would make
 * the account of the buffer wrong.
 */
export function headersOf(headers: OutgoingHeaders): readonly WrittenHeader[] {
  const list = Array.isArray(headers)
    ? (headers as readonly WrittenHeader[])
    : Object.entries(headers as { readonly [name: string]: Bytes | null }).map(([key, value]) => ({
        key,
        value,
      }));
  for (const { key, value } of list) {
    if (typeof key !== "string") throw new OptionError("a record's header needs a name, which is a string.");
    if (value !== null && typeof value !== "string" && !(value instanceof Uint8Array)) {
      throw notBytes(`header "${key}"`, value);
    }
  }
  return list;
}

function notBytes(what: string, thing: unknown): OptionError {
  const is = Array.isArray(thing) ? "an array" : `a value of type ${typeof thing}`;
  return new OptionError(
    `a record's ${what} is bytes, a string or null, not ${is}; encode it first, for example with JSON.stringify.`,
  );
}

/** With bytes of its own: whoever sent it may fill his buffers anew, as after a record that was encoded at once. */
export function copyOf(record: OutgoingRecord): OutgoingRecord {
  const { key = null, value = null, headers } = record;
  const copy = { ...record, key: copyOfBytes(key), value: copyOfBytes(value) };
  if (headers === undefined) return copy;
  return {
    ...copy,
    headers: headersOf(headers).map((header) => ({ key: header.key, value: copyOfBytes(header.value) })),
  };
}

const copyOfBytes = (bytes: Bytes | null): Bytes | null =>
  bytes === null || typeof bytes === "string" ? bytes : Buffer.from(bytes);
