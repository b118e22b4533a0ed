/** What several commands ask about topics: how many records, how many bytes. */
import type { Admin } from "../client/admin.ts";

/** Partitions whose offsets are asked for in one call. */
const partitionsMax = 10_000;

/** Records by topic: what lies between the first and the last offset, so that compacted or deleted ones in between count. */
export async function countsOf(
  admin: Admin,
  topics: readonly { readonly name: string; readonly partitions: number }[],
): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  const all = topics.flatMap(({ name, partitions }) =>
    Array.from({ length: partitions }, (_none, partition) => ({ topic: name, partition })),
  );
  for (let at = 0; at < all.length; at += partitionsMax) {
    const some = all.slice(at, at + partitionsMax);
    const [starts, ends] = await Promise.all([
      admin.listOffsets(some.map((each) => ({ ...each, at: "earliest" as const }))),
      admin.listOffsets(some.map((each) => ({ ...each, at: "latest" as const }))),
    ]);
    ends.forEach(({ topic, offset }, index) => {
      const records = offset - (starts[index]?.offset ?? offset);
      counts.set(topic, (counts.get(topic) ?? 0) + records);
    });
  }
  return counts;
}

export interface TopicSize {
  bytes: number;
  readonly partitions: {
    readonly partition: number;
    readonly broker: number;
    readonly path: string;
    readonly bytes: number;
  }[];
}

/** Bytes by topic, over all brokers and directories. */
export async function sizesOf(admin: Admin): Promise<ReadonlyMap<string, TopicSize>> {
  const sizes = new Map<string, TopicSize>();
  for (const { broker, path, partitions } of await admin.describeLogDirs()) {
    for (const { topic, partition, sizeBytes } of partitions) {
      const size = sizes.get(topic) ?? { bytes: 0, partitions: [] };
      size.bytes += sizeBytes;
      size.partitions.push({ partition, broker, path, bytes: sizeBytes });
      sizes.set(topic, size);
    }
  }
  return sizes;
}
