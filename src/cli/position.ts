/**
 * `--from`: where a consumer begins. The words of Kafka, kcat and rpk are understood, so that fingers keep
 * working; whatever is not clear is refused, since a wrong guess would hide records.
 */
import { parseTime } from "./time-text.ts";
import { UsageError } from "./usage-error.ts";

export type Position = "start" | "end" | number | { readonly timeMs: number } | { readonly last: number };

const words: { readonly [word: string]: Position } = {
  start: "start",
  beginning: "start",
  earliest: "start",
  oldest: "start",
  end: "end",
  latest: "end",
  newest: "end",
};

export function parsePosition(text: string, nowMs: number): Position {
  const word = words[text.toLowerCase()];
  if (word !== undefined) return word;
  if (/^\d+$/.test(text)) return wholeNumber(text);
  if (/^-\d+$/.test(text)) return { last: wholeNumber(text.slice(1)) };
  const timeMs = parseTime(text, nowMs);
  if (timeMs !== null) return { timeMs };
  throw new UsageError(
    `--from ${text} is no position: start, end, an offset, -N for the last N of each partition, or a time such as 10m (ago), 14:30, 2026-11-21, 2026-11-21T14:30Z or @1763721000000.`,
  );
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number)) return number;
  throw new UsageError(`--from ${text} is greater than any offset.`);
}
