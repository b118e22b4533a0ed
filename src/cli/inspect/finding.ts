/**
 * What `inspect` says, one thing at a time: facts for programs, and the line of text for people. Damage is a
 * finding like every other, so that the next thing is said all the same.
 */
import type { TopicId } from "../../base/ids.ts";

export interface Finding {
  /** `kind` says which; `damage` means that something is not as it was written. */
  readonly facts: { readonly kind: string; readonly [name: string]: unknown };
  readonly text: string;
}

export function damage(where: string, message: string): Finding {
  return { facts: { kind: "damage", where, message }, text: `DAMAGE  ${where}: ${message}` };
}

export const isDamage = ({ facts }: Finding): boolean => facts.kind === "damage";

/** How much is told. Each needs more reading than the one before. */
export interface Depth {
  /** Every WAL entry and every batch of a segment. */
  readonly batches: boolean;
  /** Every record, with what it holds. */
  readonly records: boolean;
}

/** The name of a topic as far as the journal beside the file tells it. */
export type TopicNames = (id: TopicId) => string;

/** As JSON, one line: bytes as hex, maps as objects. */
export function toJson(facts: Finding["facts"]): string {
  return `${JSON.stringify(
    facts,
    function plain(this: { readonly [name: string]: unknown }, name, value: unknown) {
      // A Buffer has turned itself into an object by now; what it was is still in its place.
      const original = this[name];
      if (original instanceof Uint8Array) return Buffer.from(original).toString("hex");
      return original instanceof Map ? (Object.fromEntries(original) as unknown) : value;
    },
  )}\n`;
}

/** `2026-11-21T11:04:59.967Z`, or a word for "none". */
export function timeText(ms: number): string {
  return ms < 0 || !Number.isFinite(ms) || ms > 8.64e15 ? "no time" : new Date(ms).toISOString();
}
