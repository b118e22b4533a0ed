/** `--topic t` and `--topic t:0,2,4-7`: which partitions a command is about; without any, all. */
import { UsageError } from "./usage-error.ts";

export interface PartitionChoice {
  has(part: { readonly topic: string; readonly partition: number }): boolean;
  /** Those that are named; null: all. */
  readonly topics: readonly string[] | null;
  /** Of a topic that is named; null: all. */
  partitionsOf(topic: string): readonly number[] | null;
}

export function parseChoice(texts: readonly string[] | undefined): PartitionChoice {
  if (texts === undefined) return { has: () => true, topics: null, partitionsOf: () => null };
  const chosen = new Map<string, readonly number[] | null>();
  for (const text of texts) {
    const [, topic = "", list] = /^([^:]*)(?::(.*))?$/.exec(text) ?? [];
    if (topic === "") throw new UsageError(`--topic ${text} names no topic.`);
    chosen.set(
      topic,
      list === undefined ? null : [...(chosen.get(topic) ?? []), ...partitionList("--topic", list)],
    );
  }
  return {
    has: ({ topic, partition }) => {
      const partitions = chosen.get(topic);
      return partitions !== undefined && (partitions === null || partitions.includes(partition));
    },
    topics: [...chosen.keys()],
    partitionsOf: (topic) => chosen.get(topic) ?? null,
  };
}

/** The most partitions that one list names. */
const partitionListMax = 100_000;

/** `0,2,4-7`. */
export function partitionList(option: string, text: string): readonly number[] {
  const found: number[] = [];
  for (const part of text.split(",")) {
    const range = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part.trim());
    const first = Number(range?.[1]);
    const last = Number(range?.[2] ?? range?.[1]);
    if (range === null || last < first || last - first >= partitionListMax) {
      throw new UsageError(`${option} needs numbers, such as 0 or 0,2,4-7, not "${text}".`);
    }
    for (let index = first; index <= last; index++) found.push(index);
  }
  return [...new Set(found)];
}
