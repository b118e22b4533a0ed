/**
 * The assignor of share groups: a partition may have several members. Every partition has at least one, every
 * member that wants something that is there has at least one, and nobody has more than that needs: where there
 * are as many partitions as members or more, each has one member and members have numbers that differ by one at
 * most; where there are fewer, each member has one and partitions have numbers of members that differ by one at
 * most. Topics that the same members want are divided together, others on their own. Sticky: what fits stays.
 */
import type { PartitionIndex, TopicId } from "../../../base/ids.ts";
import { each, type PartitionSet } from "../partition-set.ts";
import type { Candidate } from "./assignor.ts";

/** As Kafka's tools show it. */
export const simpleAssignor = "simple";

interface Share {
  readonly candidate: Candidate;
  /** Among all. */
  readonly index: number;
  readonly partitions: Map<TopicId, Set<PartitionIndex>>;
  size: number;
}

type Slot = readonly [TopicId, PartitionIndex];

/** What each member is to have of `partitions`. Pure; the order of the candidates does not matter. */
export function assignSimply(
  candidates: readonly Candidate[],
  partitions: PartitionSet,
): ReadonlyMap<string, PartitionSet> {
  const shares = [...candidates]
    .sort((a, b) => (a.memberId < b.memberId ? -1 : 1))
    .map((candidate, index): Share => ({ candidate, index, partitions: new Map(), size: 0 }));
  for (const { wanting, slots } of pools(shares, partitions)) divide(wanting, slots);
  return new Map(shares.map((share) => [share.candidate.memberId, share.partitions]));
}

/** Topics by who wants them. */
function pools(
  shares: readonly Share[],
  partitions: PartitionSet,
): Iterable<{ readonly wanting: readonly Share[]; readonly slots: Slot[] }> {
  const found = new Map<string, { readonly wanting: readonly Share[]; readonly slots: Slot[] }>();
  for (const topicId of [...partitions.keys()].sort()) {
    const wanting = shares.filter(({ candidate }) => candidate.topics.has(topicId));
    if (wanting.length === 0) continue;
    const key = wanting.map(({ index }) => index).join();
    let pool = found.get(key);
    if (pool === undefined) found.set(key, (pool = { wanting, slots: [] }));
    for (const partition of [...(partitions.get(topicId) ?? [])].sort((a, b) => a - b)) {
      pool.slots.push([topicId, partition]);
    }
  }
  return found.values();
}

function divide(wanting: readonly Share[], slots: readonly Slot[]): void {
  if (wanting.length <= slots.length) {
    const hadBy = new Map<string, Share[]>();
    for (const share of wanting) {
      for (const slot of each(share.candidate.target)) {
        const key = slot.join("/");
        const holders = hadBy.get(key);
        if (holders === undefined) hadBy.set(key, [share]);
        else holders.push(share);
      }
    }
    const given = spread(slots, wanting, {
      formerHolders: (slot) => hadBy.get(slot.join("/")) ?? [],
      load: ({ size }) => size,
    });
    for (const [share, its] of given) for (const slot of its) add(share, slot);
    return;
  }
  const byKey = new Map(slots.map((slot) => [slot.join("/"), slot]));
  const given = spread(wanting, slots, {
    formerHolders: ({ candidate }) =>
      Array.from(each(candidate.target), (had) => byKey.get(had.join("/"))).filter(
        (slot) => slot !== undefined,
      ),
    load: () => 0,
  });
  for (const [slot, its] of given) for (const share of its) add(share, slot);
}

function add(share: Share, [topicId, partition]: Slot): void {
  const partitions = share.partitions.get(topicId);
  if (partitions === undefined) share.partitions.set(topicId, new Set([partition]));
  else partitions.add(partition);
  share.size++;
}

interface Wishes<Item, Holder> {
  /** Who had it so far. */
  readonly formerHolders: (item: Item) => readonly Holder[];
  /** What a holder has besides: who has least gets one more, where not all can have the same. */
  readonly load: (holder: Holder) => number;
}

/** Gives each item to one holder, so that their numbers differ by one at most, and as many as can be stay where they were. */
function spread<Item, Holder>(
  items: readonly Item[],
  holders: readonly Holder[],
  { formerHolders, load }: Wishes<Item, Holder>,
): ReadonlyMap<Holder, readonly Item[]> {
  const given = new Map<Holder, Item[]>(holders.map((holder) => [holder, []]));
  const count = (holder: Holder): number => given.get(holder)?.length ?? 0;
  const give = (item: Item, holder: Holder): void => void given.get(holder)?.push(item);
  const fair = Math.floor(items.length / holders.length);
  let withOneMore = items.length % holders.length;
  const homeless = items.filter((item) => {
    const former = formerHolders(item).find((holder) => count(holder) < fair);
    if (former !== undefined) give(item, former);
    return former === undefined;
  });
  const free = homeless.filter((item) => {
    if (withOneMore === 0) return true;
    const former = formerHolders(item).find((holder) => count(holder) === fair);
    if (former === undefined) return true;
    withOneMore--;
    give(item, former);
    return false;
  });
  const byLoad = [...holders].sort((a, b) => load(a) - load(b));
  for (const holder of byLoad) {
    let room = Math.max(0, fair - count(holder));
    if (count(holder) <= fair && withOneMore > 0) {
      room++;
      withOneMore--;
    }
    for (const item of free.splice(0, room)) give(item, holder);
  }
  return given;
}
