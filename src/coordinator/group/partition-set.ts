/** Partitions of several topics as values that never change, and what can be asked of two of them. */
import type { PartitionIndex, TopicId } from "../../base/ids.ts";

export type PartitionSet = ReadonlyMap<TopicId, ReadonlySet<PartitionIndex>>;

/** As messages and records have it. */
export interface TopicPartitions {
  readonly topicId: TopicId;
  readonly partitions: readonly PartitionIndex[];
}

export const noPartitions: PartitionSet = new Map();

export function partitionSet(topics: readonly TopicPartitions[]): PartitionSet {
  const set = new Map<TopicId, Set<PartitionIndex>>();
  for (const { topicId, partitions } of topics) {
    if (partitions.length === 0) continue;
    set.set(topicId, new Set([...(set.get(topicId) ?? []), ...partitions]));
  }
  return set;
}

export function topicPartitions(set: PartitionSet): readonly TopicPartitions[] {
  return Array.from(set, ([topicId, partitions]) => ({
    topicId,
    partitions: [...partitions].sort((a, b) => a - b),
  }));
}

export function* each(set: PartitionSet): Generator<readonly [TopicId, PartitionIndex], void, void> {
  for (const [topicId, partitions] of set) for (const partition of partitions) yield [topicId, partition];
}

export function contains(set: PartitionSet, topicId: TopicId, partition: PartitionIndex): boolean {
  return set.get(topicId)?.has(partition) ?? false;
}

/** Those of `set` for which `keep` holds. */
export function only(
  set: PartitionSet,
  keep: (topicId: TopicId, partition: PartitionIndex) => boolean,
): PartitionSet {
  const kept = new Map<TopicId, Set<PartitionIndex>>();
  for (const [topicId, partition] of each(set)) {
    if (!keep(topicId, partition)) continue;
    const partitions = kept.get(topicId);
    if (partitions === undefined) kept.set(topicId, new Set([partition]));
    else partitions.add(partition);
  }
  return kept;
}

export function common(a: PartitionSet, b: PartitionSet): PartitionSet {
  return only(a, (topicId, partition) => contains(b, topicId, partition));
}

export function minus(a: PartitionSet, b: PartitionSet): PartitionSet {
  return only(a, (topicId, partition) => !contains(b, topicId, partition));
}

export function union(a: PartitionSet, b: PartitionSet): PartitionSet {
  const all = new Map(a);
  for (const [topicId, partitions] of b) {
    all.set(topicId, new Set([...(all.get(topicId) ?? []), ...partitions]));
  }
  return all;
}

export function overlap(a: PartitionSet, b: PartitionSet): boolean {
  for (const [topicId, partition] of each(a)) if (contains(b, topicId, partition)) return true;
  return false;
}

export function sizeOf(set: PartitionSet): number {
  let size = 0;
  for (const partitions of set.values()) size += partitions.size;
  return size;
}

export function same(a: PartitionSet, b: PartitionSet): boolean {
  return sizeOf(a) === sizeOf(b) && sizeOf(common(a, b)) === sizeOf(a);
}
