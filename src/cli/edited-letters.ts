/** Lines of `queue dlq show --json` that somebody has edited: which letters they are, and what each shall say. */
import type { Edit } from "../client/dead-letters/dead-letters.ts";
import { UsageError } from "./usage-error.ts";

interface Edited {
  readonly partition: number;
  readonly offset: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly { readonly key: string; readonly value: Uint8Array | null }[];
}

/** Throws `UsageError` that names the line. */
export function editedLetters(
  text: string,
  path: string,
): {
  readonly places: readonly { readonly partition: number; readonly offset: number }[];
  readonly edit: Edit;
} {
  const byPlace = new Map<string, Edited>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const edited = editedOf(line);
    if (edited === undefined) {
      throw new UsageError(`Line ${index + 1} of ${path} is no letter as queue dlq show --json prints it.`);
    }
    byPlace.set(`${edited.partition}/${edited.offset}`, edited);
  }
  return {
    places: [...byPlace.values()],
    edit: ({ record }) => {
      const edited = byPlace.get(`${record.partition}/${record.offset}`);
      return edited === undefined ? null : { key: edited.key, value: edited.value, headers: edited.headers };
    },
  };
}

function editedOf(line: string): Edited | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const letter = (value ?? {}) as { readonly [name: string]: unknown };
  const { partition, offset, headers = [] } = letter;
  if (!Number.isSafeInteger(partition) || !Number.isSafeInteger(offset) || !Array.isArray(headers))
    return undefined;
  const parts = [field(letter, "key"), field(letter, "value")] as const;
  const [key, body] = parts;
  if (key === undefined || body === undefined) return undefined;
  const list: { key: string; value: Uint8Array | null }[] = [];
  for (const header of headers as readonly ({ readonly [name: string]: unknown } | null)[]) {
    const text = header === null ? undefined : field(header, "value");
    if (header === null || text === undefined || typeof header["name"] !== "string") return undefined;
    list.push({ key: header["name"], value: text });
  }
  return { partition: partition as number, offset: offset as number, key, value: body, headers: list };
}

/** As `jsonRecord` writes it; null: no bytes. */
function field(of: { readonly [name: string]: unknown }, name: string): Uint8Array | null | undefined {
  const text = of[name] ?? null;
  if (text === null) return null;
  if (typeof text !== "string") return undefined;
  return Buffer.from(text, of[`${name}Encoding`] === "base64" ? "base64" : "utf8");
}
