/**
 * A balance that moves little: every member keeps what it owns, what nobody owns goes to whoever has least,
 * and then partitions move one by one from who has most to who has least, until no move brings them
 * closer. With one subscription for all no two members differ by more than one partition.
 */
import { type GroupMember, nameOf, type TopicPartition } from "./assignor.ts";

/** Every partition has exactly one member that subscribed to its topic. */
export function balance(
  members: readonly GroupMember[],
  partitions: readonly TopicPartition[],
): ReadonlyMap<string, readonly TopicPartition[]> {
  const readers = readersByTopic(members);
  const holdings = new Map<string, Map<string, TopicPartition>>(
    members.map(({ memberId }) => [memberId, new Map()]),
  );
  const claims = claimsOf(members);
  const free: TopicPartition[] = [];
  for (const part of partitions) {
    const owner = claims.get(nameOf(part)) ?? null;
    const mayKeep = owner !== null && readers.get(part.topic)?.includes(owner) === true;
    if (mayKeep) (holdings.get(owner) as Map<string, TopicPartition>).set(nameOf(part), part);
    else free.push(part);
  }
  const load = (memberId: string): number => (holdings.get(memberId) as Map<string, unknown>).size;
  const leastLoaded = (topic: string): string | undefined => {
    let least: string | undefined;
    for (const memberId of readers.get(topic) ?? []) {
      if (least === undefined || load(memberId) < load(least)) least = memberId;
    }
    return least;
  };
  for (const part of free) {
    const to = leastLoaded(part.topic);
    if (to !== undefined) (holdings.get(to) as Map<string, TopicPartition>).set(nameOf(part), part);
  }
  // Each move makes the sum of squares smaller, so this ends; the bound is for readers of the code.
  for (let moves = 0; moves <= partitions.length * members.length; moves++) {
    if (!moveOne(holdings, leastLoaded)) break;
  }
  return new Map([...holdings].map(([memberId, parts]) => [memberId, [...parts.values()].toSorted(byPlace)]));
}

type Holdings = ReadonlyMap<string, Map<string, TopicPartition>>;

/** From the fullest that has something to give; false: nobody does. */
function moveOne(holdings: Holdings, leastLoaded: (topic: string) => string | undefined): boolean {
  const fullestFirst = [...holdings].toSorted(([, a], [, b]) => b.size - a.size);
  const [, least] = fullestFirst.at(-1) ?? [];
  for (const [memberId, parts] of fullestFirst) {
    if (least === undefined || parts.size <= least.size + 1) return false;
    const seen = new Set<string>();
    // The newest of its holdings first: what it has had longest stays.
    for (const part of [...parts.values()].toReversed()) {
      if (seen.has(part.topic)) continue;
      seen.add(part.topic);
      const to = leastLoaded(part.topic);
      const receiver = to === undefined || to === memberId ? undefined : holdings.get(to);
      if (receiver === undefined || parts.size <= receiver.size + 1) continue;
      parts.delete(nameOf(part));
      receiver.set(nameOf(part), part);
      return true;
    }
  }
  return false;
}

function readersByTopic(members: readonly GroupMember[]): ReadonlyMap<string, readonly string[]> {
  const readers = new Map<string, string[]>();
  for (const { memberId, topics } of members) {
    for (const topic of new Set(topics)) {
      const line = readers.get(topic);
      if (line === undefined) readers.set(topic, [memberId]);
      else line.push(memberId);
    }
  }
  return readers;
}

/**
 * Who owns each partition that somebody claims, by its name. A claim of an older generation yields to a
 * newer one's; null: several claim it in the same generation, and it must be let go of by all.
 */
export function claimsOf(members: readonly GroupMember[]): ReadonlyMap<string, string | null> {
  const owners = new Map<string, string | null>();
  const generations = new Map<string, number>();
  for (const { memberId, owned, generation } of members) {
    for (const part of owned) {
      const name = nameOf(part);
      const known = generations.get(name);
      if (known !== undefined && known > generation) continue;
      owners.set(name, known === generation ? null : memberId);
      generations.set(name, generation);
    }
  }
  return owners;
}

const byPlace = (a: TopicPartition, b: TopicPartition): number =>
  a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1;
