/**
 * Which dead letters of a topic were redriven or dropped: a compacted topic beside it. What it says of a letter is written in
 * the same transaction as the letter's copy, so the two are never apart, whatever crashes. A record:
 *
 *     key   `${topic id}/${partition}/${first offset}`
 *     value {"what":"redriven"|"dropped","ranges":[[first,last],…]} of that partition, `last` inclusive
 *
 * A topic that is made anew under its old name has another id, and so nothing is settled in it. Where no id stands in the key,
 * as earlier versions wrote it and as it is where a broker tells none, the entry is of whatever topic has the name.
 */
import { NO_TOPIC_ID, type TopicId } from "../../base/ids.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import type { OutgoingRecord } from "../records.ts";

export type Settled = "redriven" | "dropped";

type Range = readonly [first: number, last: number];

interface Entry {
  readonly partition: number;
  readonly last: number;
  /** Of a topic of the same name that was deleted. */
  readonly isOfAnother: boolean;
}

export const ledgerTopicOf = (topic: string): string => `${topic}.ledger`;

export class Ledger {
  /** By partition, then by offset. A number per letter: a million letters are some tens of megabytes. */
  readonly #settled = new Map<number, Map<number, Settled>>();
  /** By the key of the entry. */
  readonly #entries = new Map<string, Entry>();
  readonly #topic: string;
  readonly #of: TopicId;

  /** `topic`: that of the ledger; `of`: the dead-letter topic as it is now. */
  constructor(topic: string, of: TopicId) {
    this.#topic = topic;
    this.#of = of;
  }

  /** An entry as it lies in the topic; null for one that is none, which is passed over. */
  learn({ key, value }: IncomingRecord): void {
    const name = String(key);
    const [, id, partition] = /^(?:([\w-]{22})\/)?(\d+)\/\d+$/.exec(name) ?? [];
    if (partition === undefined) return;
    if (value === null) {
      this.#entries.delete(name);
      return;
    }
    const entry = entryOf(String(value));
    if (entry === undefined) return;
    const isOfAnother = id !== undefined && this.#of !== NO_TOPIC_ID && id !== this.#of;
    const last = Math.max(...entry.ranges.map(([, each]) => each));
    this.#entries.set(name, { partition: Number(partition), last, isOfAnother });
    if (!isOfAnother) this.#add(Number(partition), entry.what, entry.ranges);
  }

  of({ partition, offset }: { readonly partition: number; readonly offset: number }): Settled | undefined {
    return this.#settled.get(partition)?.get(offset);
  }

  /** How many of a partition, from this offset on. */
  countFrom(partition: number, start: number): number {
    let count = 0;
    for (const at of this.#settled.get(partition)?.keys() ?? []) if (at >= start) count++;
    return count;
  }

  /** What to write with the copies of these letters of one partition; `settled` once that is committed. */
  entryFor(what: Settled, partition: number, offsets: readonly number[]): OutgoingRecord {
    const ranges = rangesOf(offsets);
    const id = this.#of === NO_TOPIC_ID ? "" : `${this.#of}/`;
    return {
      topic: this.#topic,
      key: `${id}${partition}/${offsets[0] ?? 0}`,
      value: JSON.stringify({ what, ranges }),
    };
  }

  settled(what: Settled, partition: number, offsets: readonly number[]): void {
    this.#add(partition, what, rangesOf(offsets));
  }

  /** Takes back entries of letters that retention has deleted, or that were in another topic of the name. */
  *obsolete(startOf: ReadonlyMap<number, number>): Generator<OutgoingRecord> {
    for (const [name, { partition, last, isOfAnother }] of this.#entries) {
      if (isOfAnother || last < (startOf.get(partition) ?? 0)) {
        yield { topic: this.#topic, key: name, value: null };
      }
    }
  }

  #add(partition: number, what: Settled, ranges: readonly Range[]): void {
    let settled = this.#settled.get(partition);
    if (settled === undefined) {
      settled = new Map();
      this.#settled.set(partition, settled);
    }
    for (const [first, last] of ranges) for (let at = first; at <= last; at++) settled.set(at, what);
  }
}

function entryOf(text: string): { readonly what: Settled; readonly ranges: readonly Range[] } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { what, ranges } = (value ?? {}) as { readonly what?: unknown; readonly ranges?: unknown };
  if (what !== "redriven" && what !== "dropped") return undefined;
  if (!Array.isArray(ranges) || ranges.length === 0 || !ranges.every(isRange)) return undefined;
  return { what, ranges };
}

/** Entries are of one transaction, which has so many records at most. */
const rangeMax = 1_000_000;

function isRange(value: unknown): value is Range {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [first, last] = value as readonly unknown[];
  return (
    Number.isSafeInteger(first) &&
    Number.isSafeInteger(last) &&
    (first as number) >= 0 &&
    (last as number) >= (first as number) &&
    (last as number) - (first as number) < rangeMax
  );
}

function rangesOf(offsets: readonly number[]): readonly Range[] {
  const ranges: [number, number][] = [];
  for (const at of offsets) {
    const before = ranges.at(-1);
    if (before !== undefined && before[1] + 1 === at) before[1] = at;
    else ranges.push([at, at]);
  }
  return ranges;
}
