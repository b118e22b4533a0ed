/**
 * How far a group has got, and how far it is behind: in records, and in the age of the oldest record that it
 * has not committed. For the age that record is read, one of each partition that is behind.
 */
import type { Admin } from "../client/admin.ts";
import type { GroupDescription } from "../client/admin-groups.ts";
import type { Client } from "../client/client.ts";
import type { PartitionChoice } from "./partition-choice.ts";

export interface PartitionProgress {
  readonly topic: string;
  readonly partition: number;
  /** Null: the group has committed nothing of it. */
  readonly committed: number | null;
  /** What the partition holds; null: there is no such partition. */
  readonly start: number | null;
  readonly end: number | null;
  /** Records from where the group stands, or would begin, to the end; null: not known. */
  readonly lag: number | null;
  /** Null: not known. */
  readonly lagMs: number | null;
  /** Offsets that were deleted before the group read them. */
  readonly lost: number;
  readonly memberId: string | null;
  readonly clientId: string | null;
  readonly host: string | null;
}

/** Of what the group has committed, and of what its members are given. */
export async function progressOf(
  client: Client,
  group: GroupDescription,
  choice: PartitionChoice,
  nowMs: number,
): Promise<readonly PartitionProgress[]> {
  const admin = client.admin();
  const offsets = await admin.listGroupOffsets(group.group);
  const committed = new Map(offsets.map((each) => [keyOf(each), each.offset]));
  const members = new Map(
    group.members.flatMap((member) => member.assignment.map((part) => [keyOf(part), member] as const)),
  );
  const all = [
    ...new Map(
      [...offsets, ...group.members.flatMap(({ assignment }) => assignment)].map(
        ({ topic, partition }) => [keyOf({ topic, partition }), { topic, partition }] as const,
      ),
    ).values(),
  ]
    .filter((part) => choice.has(part))
    .toSorted((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
  const ranges = await rangesOf(admin, all);
  const behind = all.flatMap((part) => {
    const range = ranges.get(keyOf(part));
    if (range === undefined) return [];
    const from = Math.max(committed.get(keyOf(part)) ?? range.start, range.start);
    return from < range.end ? [{ ...part, from }] : [];
  });
  const ages = await agesOf(client, behind, nowMs);
  return all.map((part) => {
    const name = keyOf(part);
    const range = ranges.get(name);
    const at = committed.get(name) ?? null;
    const member = members.get(name);
    const lag = range === undefined ? null : Math.max(0, range.end - (at ?? range.start));
    return {
      ...part,
      committed: at,
      start: range?.start ?? null,
      end: range?.end ?? null,
      lag,
      lagMs: lag === 0 ? 0 : (ages.get(name) ?? null),
      lost: range === undefined || at === null ? 0 : Math.max(0, range.start - at),
      memberId: member?.memberId ?? null,
      clientId: member?.clientId ?? null,
      host: member?.host ?? null,
    };
  });
}

interface Part {
  readonly topic: string;
  readonly partition: number;
}

const keyOf = ({ topic, partition }: Part): string => `${topic}/${partition}`;

export interface Range {
  readonly start: number;
  readonly end: number;
}

/** Of partitions that exist; of others there is no entry. */
export async function rangesOf(admin: Admin, parts: readonly Part[]): Promise<ReadonlyMap<string, Range>> {
  const ranges = new Map<string, Range>();
  const existing = new Map((await admin.listTopics({ internal: true })).map((each) => [each.name, each]));
  const known = parts.filter(({ topic, partition }) => partition < (existing.get(topic)?.partitions ?? 0));
  const [starts, ends] = await Promise.all([
    admin.listOffsets(known.map(({ topic, partition }) => ({ topic, partition, at: "earliest" as const }))),
    admin.listOffsets(known.map(({ topic, partition }) => ({ topic, partition, at: "latest" as const }))),
  ]);
  for (const [index, part] of known.entries()) {
    ranges.set(keyOf(part), { start: starts[index]?.offset ?? 0, end: ends[index]?.offset ?? 0 });
  }
  return ranges;
}

/** Bytes of one partition that are asked for; one batch at least is read, whatever its size. */
const peekBytes = 4_096;

/** How old the first record is that lies at or behind an offset, in ms; of a partition without one there is no entry. */
async function agesOf(
  client: Client,
  behind: readonly (Part & { readonly from: number })[],
  nowMs: number,
): Promise<ReadonlyMap<string, number>> {
  const ages = new Map<string, number>();
  if (behind.length === 0) return ages;
  await using consumer = client.consumer({
    assignment: behind,
    until: "end",
    isolation: "uncommitted",
    partitionBytesMax: peekBytes,
    // What is damaged or gone meanwhile has no age.
    onDamage: "skip",
    onLostPosition: "end",
  });
  for await (const { topic, partition, timestampMs } of consumer) {
    const name = keyOf({ topic, partition });
    if (ages.has(name)) continue;
    if (timestampMs >= 0) ages.set(name, Math.max(0, nowMs - timestampMs));
    consumer.pause([{ topic, partition }]);
    if (ages.size === behind.length) break;
  }
  return ages;
}
