/** Lines of `queue dlq show --json` that somebody has edited: which letters they are, and what each shall say. */
import type { Edit } from "../client/dead-letters/dead-letters.ts";
import { UsageError } from "./usage-error.ts";

interface Edited {
  readonly partition: number;
  readonly offset: number;
  /** What the line leaves out stays as the letter has it. */
  readonly change: NonNullable<ReturnType<Edit>>;
}

/** Letters of `topic`. Throws `UsageError` that names the line. */
export function editedLetters(
  text: string,
  path: string,
  topic: string,
): {
  readonly places: readonly { readonly partition: number; readonly offset: number }[];
  readonly edit: Edit;
} {
  const byPlace = new Map<string, Edited>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const letter = objectOf(line);
    const edited = letter && editedOf(letter);
    if (edited === undefined) {
      throw new UsageError(`Line ${index + 1} of ${path} is no letter as queue dlq show --json prints it.`);
    }
    const of = letter?.["topic"] ?? topic;
    if (of !== topic) {
      throw new UsageError(
        `Line ${index + 1} of ${path} is a letter of ${JSON.stringify(of)}, not of ${topic}.`,
      );
    }
    byPlace.set(`${edited.partition}/${edited.offset}`, edited);
  }
  return {
    places: [...byPlace.values()],
    edit: ({ record }) => byPlace.get(`${record.partition}/${record.offset}`)?.change ?? null,
  };
}

type Line = { readonly [name: string]: unknown };

function objectOf(line: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as Line) : undefined;
  } catch {
    return undefined;
  }
}

function editedOf(letter: Line): Edited | undefined {
  const { partition, offset, headers } = letter;
  if (!Number.isSafeInteger(partition) || !Number.isSafeInteger(offset)) return undefined;
  const key = field(letter, "key");
  const value = field(letter, "value");
  const list = headers === undefined ? undefined : headersOf(headers);
  if (key === false || value === false || list === false) return undefined;
  const change = {
    ...(key === undefined ? {} : { key }),
    ...(value === undefined ? {} : { value }),
    ...(list === undefined ? {} : { headers: list }),
  };
  return { partition: partition as number, offset: offset as number, change };
}

/** False: they make no sense. */
function headersOf(headers: unknown): readonly { key: string; value: Uint8Array | null }[] | false {
  if (!Array.isArray(headers)) return false;
  const list: { key: string; value: Uint8Array | null }[] = [];
  for (const header of headers as readonly (Line | null)[]) {
    const value = header === null ? false : (field(header, "value") ?? null);
    if (header === null || value === false || typeof header["name"] !== "string") return false;
    list.push({ key: header["name"], value });
  }
  return list;
}

/** As `jsonRecord` writes it; null: no bytes; `undefined`: not there; false: it makes no sense. */
function field(of: Line, name: string): Uint8Array | null | undefined | false {
  const text = of[name];
  if (text === undefined || text === null) return text;
  if (typeof text !== "string") return false;
  return Buffer.from(text, of[`${name}Encoding`] === "base64" ? "base64" : "utf8");
}
