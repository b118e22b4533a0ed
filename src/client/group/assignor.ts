/**
 * Who of a group reads which partition, decided by the group's leader from what every member subscribed to
 * and owns. Pure. Its promise: every partition of a subscribed topic goes to exactly one member that
 * subscribed to it; only `cooperative-sticky` may leave one out, for the one round in which its owner
 * still has to let it go (KIP-429).
 */
import { balance, claimsOf } from "./sticky.ts";

export interface GroupMember {
  readonly memberId: string;
  /** A static member's; members are lined up by it, so that a restart moves nothing. */
  readonly instanceId: string | null;
  readonly topics: readonly string[];
  readonly owned: readonly TopicPartition[];
  /** In which generation it was given what it owns; −1: it does not say. */
  readonly generation: number;
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** By member. Every member has an entry. */
export type GroupAssignment = ReadonlyMap<string, readonly TopicPartition[]>;

export interface Assignor {
  /** As members of other clients know it. */
  readonly name: string;
  /** Members keep what they own while the group rebalances, and let go only of what moves. */
  readonly isCooperative: boolean;
  /** `counts`: partitions of each topic that exists. */
  assign(members: readonly GroupMember[], counts: ReadonlyMap<string, number>): GroupAssignment;
}

/** Of each topic consecutive partitions, the first members one more: the same key's partitions of several topics meet. */
const range: Assignor = {
  name: "range",
  isCooperative: false,
  assign(members, counts) {
    const given = emptyFor(members);
    for (const [topic, count] of [...counts].toSorted(byFirst)) {
      const readers = inLine(members).filter(({ topics }) => topics.includes(topic));
      const least = Math.floor(count / Math.max(1, readers.length));
      const withOneMore = count % Math.max(1, readers.length);
      let next = 0;
      for (const [index, { memberId }] of readers.entries()) {
        const share = least + (index < withOneMore ? 1 : 0);
        for (const end = next + share; next < end; next++) give(given, memberId, { topic, partition: next });
      }
    }
    return given;
  },
};

/** All partitions in turn over all members. */
const roundrobin: Assignor = {
  name: "roundrobin",
  isCooperative: false,
  assign(members, counts) {
    const given = emptyFor(members);
    const line = inLine(members);
    let at = 0;
    for (const part of partitionsOf(members, counts)) {
      while (!(line[at % line.length] as GroupMember).topics.includes(part.topic)) at++;
      give(given, (line[at++ % line.length] as GroupMember).memberId, part);
    }
    return given;
  },
};

/** As even as can be with as few moves as that takes; what moves is let go of first and given in the next round. */
const cooperativeSticky: Assignor = {
  name: "cooperative-sticky",
  isCooperative: true,
  assign(members, counts) {
    const target = balance(members, partitionsOf(members, counts));
    const claims = claimsOf(members);
    const given = emptyFor(members);
    for (const [memberId, parts] of target) {
      for (const part of parts) {
        const owner = claims.get(nameOf(part));
        if (owner === undefined || owner === memberId) give(given, memberId, part);
      }
    }
    return given;
  },
};

export const assignors = {
  range,
  roundrobin,
  "cooperative-sticky": cooperativeSticky,
} as const satisfies { readonly [name: string]: Assignor };
export type AssignorName = keyof typeof assignors;

export const nameOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

/** Of all topics that somebody subscribed to, by topic and number. */
function partitionsOf(
  members: readonly GroupMember[],
  counts: ReadonlyMap<string, number>,
): readonly TopicPartition[] {
  const wanted = new Set(members.flatMap(({ topics }) => topics));
  return [...counts]
    .filter(([topic]) => wanted.has(topic))
    .toSorted(byFirst)
    .flatMap(([topic, count]) => Array.from({ length: count }, (_, partition) => ({ topic, partition })));
}

const byFirst = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
  a < b ? -1 : a > b ? 1 : 0;

/** Static members first, by their names; then the others by their ids. */
function inLine(members: readonly GroupMember[]): readonly GroupMember[] {
  const place = ({ instanceId, memberId }: GroupMember): string =>
    instanceId === null ? `1${memberId}` : `0${instanceId}`;
  return members.toSorted((a, b) => byFirst([place(a), 0], [place(b), 0]));
}

const emptyFor = (members: readonly GroupMember[]): Map<string, TopicPartition[]> =>
  new Map(members.map(({ memberId }) => [memberId, []]));

function give(given: Map<string, TopicPartition[]>, memberId: string, part: TopicPartition): void {
  (given.get(memberId) as TopicPartition[]).push(part);
}
