/**
 * Backslashes as people write them on a command line, and control characters as they may be shown on a
 * terminal: what a record holds must not move the cursor or change the colours of whoever looks at it.
 */
import { UsageError } from "./usage-error.ts";

const letters: { readonly [letter: string]: number } = {
  n: 0x0a,
  r: 0x0d,
  t: 0x09,
  "0": 0x00,
  "\\": 0x5c,
};

/** The byte that an escape means, and how many characters after the backslash it takes; null when it is none. */
export function readEscape(
  text: string,
  afterBackslash: number,
): { readonly byte: number; readonly length: number } | null {
  const letter = text[afterBackslash] ?? "";
  const byte = letters[letter];
  if (byte !== undefined) return { byte, length: 1 };
  const hex = /^x([0-9a-fA-F]{2})/.exec(text.slice(afterBackslash, afterBackslash + 3));
  return hex === null ? null : { byte: Number.parseInt(hex[1] as string, 16), length: 3 };
}

/** The bytes of a text with escapes (`\t`, `\n`, `\r`, `\0`, `\\`, `\xHH`). `option` names where it comes from. */
export function parseEscaped(text: string, option: string): Uint8Array {
  const bytes: Uint8Array[] = [];
  let plainFrom = 0;
  for (let at = text.indexOf("\\"); at !== -1; at = text.indexOf("\\", plainFrom)) {
    const escape = readEscape(text, at + 1);
    if (escape === null) {
      throw new UsageError(
        `${option} has "${text.slice(at, at + 2)}", which is no escape: there are \\t, \\n, \\r, \\0, \\\\ and \\xHH.`,
      );
    }
    bytes.push(Buffer.from(text.slice(plainFrom, at)), Uint8Array.of(escape.byte));
    plainFrom = at + 1 + escape.length;
  }
  bytes.push(Buffer.from(text.slice(plainFrom)));
  return Buffer.concat(bytes);
}

/** Control characters, and the marks that turn the direction of a text, become `\xHH` or `\u{HHHH}`. */
export function withoutControls(text: string): string {
  return text.replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    if (character === "\n") return "\\n";
    if (character === "\t") return "\\t";
    if (character === "\r") return "\\r";
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
  });
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of bytes that are UTF-8; null when they are not. */
export function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return strict.decode(bytes);
  } catch {
    return null;
  }
}
