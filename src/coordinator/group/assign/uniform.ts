/**
 * Uniform and sticky: members that want the same topics get numbers of partitions that differ by one at
 * most, and nobody gives up a partition unless that balance needs it. First everybody keeps what it has up
 * to its fair share, then what is free goes to whoever has least; where members want different topics,
 * single partitions move from the richest to the poorest until no move would help.
 */
import { type PartitionIndex, partitionIndex, type TopicId } from "../../../base/ids.ts";
import { each } from "../partition-set.ts";
import type { Assignor, Candidate } from "./assignor.ts";

interface Share {
  readonly candidate: Candidate;
  readonly partitions: Map<TopicId, Set<PartitionIndex>>;
  size: number;
}

export const assignUniformly: Assignor = (candidates, partitionCounts) => {
  const shares = [...candidates]
    .sort((a, b) => (a.memberId < b.memberId ? -1 : 1))
    .map((candidate): Share => ({ candidate, partitions: new Map(), size: 0 }));
  const wanted = Array.from(partitionCounts).filter(([id]) =>
    shares.some((each) => each.candidate.topics.has(id)),
  );
  const free = new Map(wanted.map(([id, count]) => [id, new Set(indexes(count))]));
  keep(
    shares,
    free,
    wanted.reduce((sum, [, count]) => sum + count, 0),
  );
  giveOut(shares, free);
  level(shares);
  return new Map(shares.map(({ candidate, partitions }) => [candidate.memberId, partitions]));
};

const indexes = (count: number): PartitionIndex[] =>
  Array.from({ length: count }, (_, at) => partitionIndex(at));

type Free = ReadonlyMap<TopicId, Set<PartitionIndex>>;

/** Everybody keeps what it has and still wants, up to the fair share; so many as it comes out to may keep one more. */
function keep(shares: readonly Share[], free: Free, partitionCount: number): void {
  const fair = Math.floor(partitionCount / Math.max(1, shares.length));
  let withOneMore = partitionCount % Math.max(1, shares.length);
  for (const share of shares) {
    let room = fair;
    for (const [topicId, partition] of each(share.candidate.target)) {
      if (!share.candidate.topics.has(topicId) || free.get(topicId)?.has(partition) !== true) continue;
      if (room === 0) {
        if (withOneMore === 0) break;
        withOneMore--;
        room = 1;
        take(share, topicId, partition, free);
        break;
      }
      room--;
      take(share, topicId, partition, free);
    }
  }
}

function take(share: Share, topicId: TopicId, partition: PartitionIndex, free: Free): void {
  free.get(topicId)?.delete(partition);
  add(share, topicId, partition);
}

function add(share: Share, topicId: TopicId, partition: PartitionIndex): void {
  const partitions = share.partitions.get(topicId);
  if (partitions === undefined) share.partitions.set(topicId, new Set([partition]));
  else partitions.add(partition);
  share.size++;
}

/** Topics that few want come first, since for them there is the least choice. */
function giveOut(shares: readonly Share[], free: Free): void {
  const topics = Array.from(free, ([topicId, partitions]) => ({
    topicId,
    partitions,
    wanting: shares.filter(({ candidate }) => candidate.topics.has(topicId)),
  })).sort((a, b) => a.wanting.length - b.wanting.length);
  for (const { topicId, partitions, wanting } of topics) {
    for (const partition of partitions) {
      let poorest: Share | undefined;
      for (const share of wanting) if (poorest === undefined || share.size < poorest.size) poorest = share;
      if (poorest !== undefined) add(poorest, topicId, partition);
    }
  }
}

/** Moves single partitions while that makes two members more equal; each move lowers the sum of squares, so it ends. */
function level(shares: readonly Share[]): void {
  for (let moved = true; moved; ) {
    moved = false;
    for (const poor of shares) {
      for (const rich of shares) {
        if (rich.size < poor.size + 2) continue;
        const found = movable(rich, poor);
        if (found === null) continue;
        rich.partitions.get(found.topicId)?.delete(found.partition);
        rich.size--;
        add(poor, found.topicId, found.partition);
        moved = true;
      }
    }
  }
  for (const { partitions } of shares) {
    for (const [topicId, left] of partitions) if (left.size === 0) partitions.delete(topicId);
  }
}

function movable(from: Share, to: Share): { topicId: TopicId; partition: PartitionIndex } | null {
  for (const [topicId, partitions] of from.partitions) {
    if (!to.candidate.topics.has(topicId)) continue;
    for (const partition of partitions) return { topicId, partition };
  }
  return null;
}
