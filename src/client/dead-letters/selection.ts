/** Which dead letters are meant: all that fit everything that is said. */
import { OptionError } from "../errors.ts";
import type { DeadLetter } from "./letter.ts";

export interface Selection {
  /** A part of the reason, or an expression that it matches. */
  readonly reason?: string | RegExp | undefined;
  /** By the time of the record, ms since 1970: not older, and older. */
  readonly sinceMs?: number | undefined;
  readonly beforeMs?: number | undefined;
  readonly key?: string | Uint8Array | undefined;
  /** Where it came from. */
  readonly topic?: string | undefined;
  readonly group?: string | undefined;
  /** Exactly these of the dead-letter topic. */
  readonly places?: readonly { readonly partition: number; readonly offset: number }[] | undefined;
  /** No more than so many. */
  readonly count?: number | undefined;
}

export type Selects = (letter: DeadLetter) => boolean;

/** Throws `OptionError`. `count` is left to whoever counts. */
export function selects(selection: Selection): Selects {
  const { reason, sinceMs, beforeMs, key, topic, group, places, count } = selection;
  if (count !== undefined && !(Number.isSafeInteger(count) && count >= 1)) {
    throw new OptionError(`count is a whole number from 1 on, not ${String(count)}.`);
  }
  const wanted = key === undefined ? undefined : Buffer.from(key as string);
  const named =
    places === undefined ? undefined : new Set(places.map((each) => `${each.partition}/${each.offset}`));
  return (letter) => {
    const { record, origin } = letter;
    if (typeof reason === "string" && !(letter.reason ?? "").includes(reason)) return false;
    if (
      reason instanceof RegExp &&
      !new RegExp(reason.source, reason.flags.replace(/[gy]/g, "")).test(letter.reason ?? "")
    ) {
      return false;
    }
    if (sinceMs !== undefined && record.timestampMs < sinceMs) return false;
    if (beforeMs !== undefined && record.timestampMs >= beforeMs) return false;
    if (wanted !== undefined && !(record.key !== null && wanted.equals(record.key))) return false;
    if (topic !== undefined && origin?.topic !== topic) return false;
    if (group !== undefined && letter.group !== group) return false;
    return named === undefined || named.has(`${record.partition}/${record.offset}`);
  };
}
