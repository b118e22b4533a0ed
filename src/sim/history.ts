/**
 * What clients of one world did and saw, and the judgement on it. Every value is written by one producer
 * and once, so a value names its write; what was read or acknowledged at an offset must be there, with
 * the same bytes, for ever, unless the log start passed it. The same is told to the checker (audit/), whose
 * findings are violations too.
 */
import { check } from "../audit/check.ts";
import { History as AuditHistory } from "../audit/history.ts";
import type { Cleanup, PartitionNumber, RecordFacts } from "../audit/words.ts";
import { crc32c } from "../base/crc32c.ts";

export interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

export type Violation = string;

interface Write {
  readonly topic: string;
  readonly partition: number;
  readonly producer: number;
  /** Counts the producer's writes to this partition. */
  readonly order: number;
  acked: number | null;
  /** Its producer was told that it certainly was not written. */
  refused: boolean;
}

const key = (topic: string, partition: number): string => `${topic}/${partition}`;

/** Under which name the checker knows a value: without its filler, of which it gets a checksum. */
export const recordName = (value: string): string => value.slice(0, value.lastIndexOf("-"));

export const recordFacts = (
  value: string | Uint8Array,
  timestampMs?: number,
  key: string | null = null,
): RecordFacts => ({
  payload: crc32c(typeof value === "string" ? Buffer.from(value) : value),
  key,
  ...(timestampMs === undefined ? {} : { timestampMs }),
});

export class History {
  readonly violations: Violation[] = [];
  /** Operations, as actors tell them; judged by `judgeAll`. */
  readonly audit: AuditHistory;
  readonly #cleanupOf: (topic: string) => Cleanup;
  readonly #writes = new Map<string, Write>();
  /** By partition, what was acknowledged or read at each offset. */
  readonly #logs = new Map<string, Map<number, string>>();
  /** Highest log start that a client saw: only from there on anything must be readable. */
  readonly #starts = new Map<string, number>();
  /** Damage that was reported: offsets in it are lost in the open. */
  acked = 0;
  read = 0;
  /** Topics into which transactions write. */
  readonly #transactional = new Set<string>();

  /** `cleanupOf`: what may leave a topic's partitions; `openMsMax`: how long a transaction may be open, with all outages. */
  constructor(cleanupOf: (topic: string) => Cleanup, openMsMax: number) {
    this.#cleanupOf = cleanupOf;
    this.audit = new AuditHistory({ openMsMax });
  }

  takesTransactions(topic: string): void {
    this.#transactional.add(topic);
  }
  hasTransactions(topic: string): boolean {
    return this.#transactional.has(topic);
  }

  /** How operations name a partition. */
  place(topic: string, partition: number): PartitionNumber {
    return this.audit.partition(topic, partition, this.#cleanupOf(topic));
  }

  attempted(value: string, write: Omit<Write, "acked" | "refused">): void {
    this.#writes.set(value, { ...write, acked: null, refused: false });
  }

  wasAttempted(value: string): boolean {
    return this.#writes.has(value);
  }

  refused(value: string): void {
    const write = this.#writes.get(value);
    if (write !== undefined) write.refused = true;
  }

  acknowledged(values: readonly string[], base: Place): void {
    values.forEach((value, index) => {
      const write = this.#writes.get(value);
      if (write === undefined) return this.#violate(`${value} was acknowledged and never written`);
      const offset = base.offset + index;
      if (write.acked !== null && write.acked !== offset) {
        this.#violate(`${value} was acknowledged at ${write.acked} and at ${offset}`);
      }
      if (write.acked === null) this.acked++;
      write.acked = offset;
      this.#note(value, { ...base, offset });
    });
  }

  /** A consumer, which may be shown anything that is durable and nothing else. */
  observed(value: string, at: Place): void {
    this.read++;
    const write = this.#writes.get(value);
    if (write === undefined)
      return this.#violate(`phantom ${value} at ${key(at.topic, at.partition)}@${at.offset}`);
    if (write.topic !== at.topic || write.partition !== at.partition) {
      this.#violate(
        `${value} was sent to ${key(write.topic, write.partition)}, found in ${key(at.topic, at.partition)}`,
      );
    }
    this.#note(value, at);
  }

  #note(value: string, at: Place): void {
    const log = this.#log(at.topic, at.partition);
    const before = log.get(at.offset);
    if (before !== undefined && before !== value) {
      this.#violate(`${key(at.topic, at.partition)}@${at.offset} was ${before} and is ${value}`);
    }
    log.set(at.offset, value);
  }

  startSeen(topic: string, partition: number, start: number): void {
    const name = key(topic, partition);
    if (start > (this.#starts.get(name) ?? 0)) this.#starts.set(name, start);
  }

  /** The whole log of a partition as read at the end, after all faults were healed. */
  judge(topic: string, partition: number, final: ReadonlyMap<number, string>): void {
    const name = key(topic, partition);
    const start = this.#starts.get(name) ?? 0;
    for (const [offset, value] of this.#log(topic, partition)) {
      if (offset >= start && final.get(offset) !== value) {
        const found = final.get(offset);
        const write = this.#writes.get(value);
        const what = write?.acked === offset ? "acknowledged" : "readable";
        this.#violate(`${value} was ${what} at ${name}@${offset}; at the end there is ${found ?? "nothing"}`);
      }
    }
    this.#judgeOrder(name, final);
  }

  /** A group has committed all that is in a partition. */
  groupEnded(
    group: string,
    end: { readonly topic: string; readonly partition: number; readonly atMs: number },
  ): void {
    const handle = this.audit.client("judge").begin("handle", end.atMs).inGroup(this.audit.group(group));
    handle.reachedEnd(this.place(end.topic, end.partition));
    handle.ok(end.atMs);
  }

  /** What the checker finds in everything that was told. */
  judgeAll(): void {
    for (const { kind, count, examples } of check(this.audit).bugs) {
      for (const { sentence, operations } of examples) {
        this.#violate(`${kind}, one of ${count}: ${sentence} ${operations.join("; ")}`);
      }
    }
  }

  #judgeOrder(name: string, final: ReadonlyMap<number, string>): void {
    const seen = new Map<string, number>();
    const newest = new Map<number, number>();
    for (const [offset, value] of [...final].sort(([a], [b]) => a - b)) {
      const twin = seen.get(value);
      if (twin !== undefined) this.#violate(`${value} is in ${name} twice, at ${twin} and ${offset}`);
      seen.set(value, offset);
      const write = this.#writes.get(value);
      if (write === undefined) {
        this.#violate(`phantom ${value} at ${name}@${offset}`);
        continue;
      }
      if (write.refused) this.#violate(`${value} was said not to be written, and is in ${name} at ${offset}`);
      if (write.order <= (newest.get(write.producer) ?? -1)) {
        this.#violate(`producer ${write.producer} is out of order in ${name} at ${offset}: ${value}`);
      }
      newest.set(write.producer, write.order);
    }
  }

  #log(topic: string, partition: number): Map<number, string> {
    const name = key(topic, partition);
    let log = this.#logs.get(name);
    if (log === undefined) this.#logs.set(name, (log = new Map()));
    return log;
  }

  #violate(sentence: Violation): void {
    this.violations.push(sentence);
  }
}
