/** Deletes the oldest records of partitions (KIP-107): asks the leaders, and tells where each log begins then. */
import { type NodeId, offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { DeleteRecords, type DeleteRecordsResponse } from "../protocol/messages/delete-records.ts";
import { refuseFailures } from "./admin-outcome.ts";
import type { AdminAccess, ChangeOptions } from "./admin-topics.ts";
import { BrokerRefusedError } from "./errors.ts";

export interface RecordDeletion {
  readonly topic: string;
  readonly partition: number;
  /** All records below this offset go; "end": all that can be read when the broker hears of it. */
  readonly before: number | "end";
}

export interface DeletedRecords {
  readonly topic: string;
  readonly partition: number;
  /** The first offset that is left. */
  readonly start: number;
}

/** In place of an offset. */
const end = offset(-1);

type Answered = DeletedRecords & { readonly errorCode: number };

/** In the order of the partitions. Asking twice does what asking once does. */
export async function deleteRecords(
  access: AdminAccess,
  deletions: readonly RecordDeletion[],
  options: Pick<ChangeOptions, "timeoutMs"> = {},
): Promise<readonly DeletedRecords[]> {
  const { cluster } = access;
  const { timeoutMs = cluster.settings.requestTimeoutMs } = options;
  const byLeader = new Map<NodeId, RecordDeletion[]>();
  for (const deletion of deletions) {
    const { leader } = cluster.partition(await cluster.topic(deletion.topic), deletion.partition);
    const together = byLeader.get(leader);
    if (together === undefined) byLeader.set(leader, [deletion]);
    else together.push(deletion);
  }
  const asked = [...byLeader].map(([leader, wanted]) => askLeader(access, leader, wanted, timeoutMs));
  const answered = (await Promise.all(asked)).flat();
  const results = deletions.map(({ topic, partition }): Answered => {
    const found = answered.find((each) => each.topic === topic && each.partition === partition);
    return found ?? { topic, partition, start: -1, errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION };
  });
  const named = results.map(({ topic, partition, errorCode }) => ({
    name: `${topic}/${partition}`,
    errorCode,
    errorMessage: sentences.get(errorCode) ?? null,
  }));
  refuseFailures("Deleting records of", named);
  return results.map(({ topic, partition, start }) => ({ topic, partition, start }));
}

/** The protocol has room for a code only. */
const sentences: ReadonlyMap<number, string> = new Map([
  [ErrorCode.OFFSET_OUT_OF_RANGE, "the offset is not below or at the end of the partition"],
  [
    ErrorCode.POLICY_VIOLATION,
    "the topic is only compacted (cleanup.policy=compact); with cleanup.policy=compact,delete records can be deleted",
  ],
  [ErrorCode.INVALID_TOPIC_EXCEPTION, "the broker keeps its own state in this topic"],
]);

async function askLeader(
  { cluster, links }: AdminAccess,
  leader: NodeId,
  wanted: readonly RecordDeletion[],
  timeoutMs: number,
): Promise<readonly Answered[]> {
  const broker = cluster.broker(leader);
  if (broker === undefined) {
    for (const { topic } of wanted) cluster.refresh(topic);
    const names = wanted.map(({ topic, partition }) => `${topic}/${partition}`).join(", ");
    throw new BrokerRefusedError(`Deleting records of ${names}`, ErrorCode.LEADER_NOT_AVAILABLE);
  }
  const topics = new Map<string, RecordDeletion[]>();
  for (const deletion of wanted) {
    const together = topics.get(deletion.topic);
    if (together === undefined) topics.set(deletion.topic, [deletion]);
    else together.push(deletion);
  }
  const connection = await links.to(broker);
  const answer: DeleteRecordsResponse = await connection.call(DeleteRecords, {
    topics: Array.from(topics, ([name, partitions]) => ({
      name,
      partitions: partitions.map(({ partition, before }) => ({
        partitionIndex: partitionIndex(partition),
        offset: before === "end" ? end : offset(before),
      })),
    })),
    timeoutMs,
  });
  return answer.topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex: partition, lowWatermark, errorCode }) => {
      if (errorCode !== ErrorCode.NONE) cluster.refresh(name);
      return { topic: name, partition, start: lowWatermark, errorCode };
    }),
  );
}
