/**
 * Ranges: of each topic the members get consecutive partitions, in the order of their ids, so that the
 * same partitions of topics with equal counts meet in one member (joins of co-partitioned topics).
 */
import { type PartitionIndex, partitionIndex, type TopicId } from "../../../base/ids.ts";
import type { Assignor } from "./assignor.ts";

export const assignRanges: Assignor = (candidates, partitionCounts) => {
  const ordered = [...candidates].sort((a, b) => (a.memberId < b.memberId ? -1 : 1));
  const assigned = new Map(
    ordered.map(({ memberId }) => [memberId, new Map<TopicId, Set<PartitionIndex>>()]),
  );
  for (const [topicId, partitionCount] of partitionCounts) {
    const wanting = ordered.filter(({ topics }) => topics.has(topicId));
    const share = Math.floor(partitionCount / Math.max(1, wanting.length));
    const withOneMore = partitionCount % Math.max(1, wanting.length);
    let next = 0;
    for (const [at, { memberId }] of wanting.entries()) {
      const count = share + (at < withOneMore ? 1 : 0);
      if (count === 0) continue;
      const range = Array.from({ length: count }, () => partitionIndex(next++));
      assigned.get(memberId)?.set(topicId, new Set(range));
    }
  }
  return assigned;
};
