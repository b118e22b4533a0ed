/**
 * `--to`: where a group goes. What is neither a word, a number nor a time is the name of another group, and
 * whether there is one is asked before anything is changed.
 */
import { parseTime } from "./time-text.ts";
import { UsageError } from "./usage-error.ts";

export type GroupTarget =
  | { readonly kind: "start" }
  | { readonly kind: "end" }
  | { readonly kind: "current" }
  | { readonly kind: "offset"; readonly offset: number }
  | { readonly kind: "shift"; readonly by: number }
  | { readonly kind: "time"; readonly timeMs: number }
  | { readonly kind: "group"; readonly group: string }
  | { readonly kind: "file"; readonly path: string };

export interface TargetOptions {
  readonly to?: string;
  readonly toGroup?: string;
  readonly fromFile?: string;
  readonly toEarliest?: boolean;
  readonly toLatest?: boolean;
  readonly toCurrent?: boolean;
  readonly toOffset?: string;
  readonly toDatetime?: string;
  readonly shiftBy?: string;
}

/** Throws `UsageError` unless exactly one way is named. */
export function targetOf(options: TargetOptions, nowMs: number): GroupTarget {
  const { to, toGroup, fromFile, toOffset, toDatetime, shiftBy } = options;
  const ways: (() => GroupTarget)[] = [];
  if (to !== undefined) ways.push(() => parseTarget(to, nowMs));
  if (toGroup !== undefined) ways.push(() => ({ kind: "group", group: toGroup }));
  if (fromFile !== undefined) ways.push(() => ({ kind: "file", path: fromFile }));
  if (options.toEarliest === true) ways.push(() => ({ kind: "start" }));
  if (options.toLatest === true) ways.push(() => ({ kind: "end" }));
  if (options.toCurrent === true) ways.push(() => ({ kind: "current" }));
  if (toOffset !== undefined)
    ways.push(() => ({ kind: "offset", offset: wholeNumber("--to-offset", toOffset) }));
  if (shiftBy !== undefined) ways.push(() => ({ kind: "shift", by: signed("--shift-by", shiftBy) }));
  if (toDatetime !== undefined) ways.push(() => ({ kind: "time", timeMs: timeOf(toDatetime, nowMs) }));
  const [way, ...more] = ways;
  if (way === undefined || more.length > 0) {
    throw new UsageError(
      "group seek needs one --to: start, end, an offset, +N, -N, a time such as 30m (ago), or the name of a group.",
    );
  }
  return way();
}

const words: { readonly [word: string]: GroupTarget } = {
  start: { kind: "start" },
  beginning: { kind: "start" },
  earliest: { kind: "start" },
  end: { kind: "end" },
  latest: { kind: "end" },
};

export function parseTarget(text: string, nowMs: number): GroupTarget {
  const word = Object.hasOwn(words, text.toLowerCase()) ? words[text.toLowerCase()] : undefined;
  if (word !== undefined) return word;
  if (/^\d+$/.test(text)) return { kind: "offset", offset: wholeNumber("--to", text) };
  if (/^[+-]\d+$/.test(text)) return { kind: "shift", by: signed("--to", text) };
  const timeMs = parseTime(text, nowMs);
  return timeMs === null ? { kind: "group", group: text } : { kind: "time", timeMs };
}

function timeOf(text: string, nowMs: number): number {
  const timeMs = parseTime(text, nowMs);
  if (timeMs === null) throw new UsageError(`--to-datetime ${text} is no time, such as 2026-11-21T14:30Z.`);
  return timeMs;
}

function signed(option: string, text: string): number {
  if (!/^[+-]?\d+$/.test(text)) throw new UsageError(`${option} ${text} is not a number of records.`);
  return (text.startsWith("-") ? -1 : 1) * wholeNumber(option, text.replace(/^[+-]/, ""));
}

function wholeNumber(option: string, text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(number)) return number;
  throw new UsageError(`${option} ${text} is no offset.`);
}
