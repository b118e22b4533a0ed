/** The options that say which dead letters a command is about. */
import type { Selection } from "../client/dead-letters/selection.ts";
import { parseTime } from "./time-text.ts";
import { UsageError } from "./usage-error.ts";

export interface SelectionOptions {
  readonly reason?: string;
  readonly since?: string;
  readonly before?: string;
  readonly key?: string;
  readonly origin?: string;
  readonly group?: string;
  readonly at?: readonly string[];
  readonly count?: number;
}

/** Throws `UsageError`. */
export function selectionOf(options: SelectionOptions, nowMs: number): Selection {
  const { reason, since, before, key, origin, group, at, count } = options;
  return {
    reason: reason === undefined ? undefined : reasonOf(reason),
    sinceMs: timeOf("--since", since, nowMs),
    beforeMs: timeOf("--before", before, nowMs),
    key,
    topic: origin,
    group,
    places: at?.map(placeOf),
    count,
  };
}

/** Whether anything is said of which letters are meant. */
export function isLimited(selection: Selection): boolean {
  return Object.values(selection).some((value) => value !== undefined);
}

function reasonOf(text: string): string | RegExp {
  const [, pattern, flags] = /^\/(.+)\/([imsu]*)$/.exec(text) ?? [];
  if (pattern === undefined) return text;
  try {
    return new RegExp(pattern, flags);
  } catch (cause) {
    throw new UsageError(`--reason ${text} is no regular expression: ${(cause as Error).message}.`);
  }
}

function timeOf(name: string, text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  const timeMs = parseTime(text, nowMs);
  if (timeMs === null)
    throw new UsageError(`${name} ${text} is no time, such as 10m, 14:30 or 2026-11-21T14:30Z.`);
  return timeMs;
}

function placeOf(text: string): { readonly partition: number; readonly offset: number } {
  const [, partition, offset] = /^(\d{1,9}):(\d{1,16})$/.exec(text) ?? [];
  if (partition === undefined || !Number.isSafeInteger(Number(offset))) {
    throw new UsageError(`--at ${text} is no partition and offset, such as 0:42.`);
  }
  return { partition: Number(partition), offset: Number(offset) };
}
