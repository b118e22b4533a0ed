/** What a topic holds, as a consumer would be served it, decoded for people and for `deepEqual`. */
import { offset, partitionIndex, type TopicId } from "../base/ids.ts";
import { RefusedError } from "../base/errors.ts";
import type { Services } from "../broker/context.ts";
import type { Partition } from "../log/partition.ts";
import { batchesIn } from "../record/batch.ts";
import { type BatchRecord, recordsIn } from "../record/record.ts";

/** A record with its bytes read as UTF-8. */
export interface TestRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** Ms since 1970; −1: none. */
  readonly timestampMs: number;
  readonly key: string | null;
  readonly value: string | null;
  /** The last one counts where a key stands there twice. */
  readonly headers: { readonly [key: string]: string | null };
  /** As they were sent. Not enumerable, so that it neither hinders `deepEqual` nor fills the screen. */
  readonly bytes: {
    readonly key: Uint8Array | null;
    readonly value: Uint8Array | null;
    readonly headers: readonly { readonly key: string; readonly value: Uint8Array | null }[];
  };
}

/** Read at a time. */
const readBytesMax = 1024 * 1024;
/** What one batch may inflate to, for a test. */
const inflatedBytesMax = 256 * 1024 * 1024;

/**
 * Everything from offset `from` of a partition (default: from its start) that is durable now. Rejects with
 * `RefusedError` where a range is damaged, and with `DiskError`.
 */
export async function recordsOfPartition(
  topic: string,
  partition: Partition,
  from: number = partition.logStart,
): Promise<TestRecord[]> {
  const found: TestRecord[] = [];
  const end = partition.lastStable;
  for (let next = Math.max(from, partition.logStart); next < end; ) {
    const read = await partition.read({
      offset: offset(next),
      bytesMax: readBytesMax,
      orOneBatch: true,
      isolation: "committed",
    });
    if (read.kind !== "read") {
      throw new RefusedError(
        `Offset ${next} of ${topic}-${partition.partition} cannot be read: ${read.kind}.`,
      );
    }
    for (const chunk of read.chunks) {
      for (const batch of batchesIn(chunk)) {
        if (!batch.isControl) {
          for (const record of recordsIn(batch, inflatedBytesMax)) {
            if (record.offset >= next) found.push(testRecord(topic, partition.partition, record));
          }
        }
        next = Math.max(next, batch.nextOffset);
      }
    }
    if (read.bytes === 0) break;
  }
  return found;
}

function testRecord(topic: string, partition: number, record: BatchRecord): TestRecord {
  const { key, value, headers } = record;
  const decoded = {
    topic,
    partition,
    offset: record.offset,
    timestampMs: record.timestamp,
    key: text(key),
    value: text(value),
    headers: Object.fromEntries(headers.map((header) => [header.key, text(header.value)])),
  };
  const bytes: TestRecord["bytes"] = { key, value, headers };
  return Object.defineProperty(decoded as typeof decoded & { bytes: typeof bytes }, "bytes", {
    value: bytes,
  });
}

function text(bytes: Uint8Array | null): string | null {
  return bytes === null
    ? null
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

/** The partitions of a topic by index, or the one that is asked for; undefined when there is no such topic or partition. */
export function partitionsOf(
  services: Services,
  topic: string,
  index?: number,
): readonly Partition[] | undefined {
  const id: TopicId | undefined = services.topics.idOf(topic);
  if (id === undefined) return undefined;
  if (index === undefined) return services.partitions.ofTopic(id);
  const partition = services.partitions.get(id, partitionIndex(index));
  return partition === undefined ? undefined : [partition];
}
