/**
 * Since which epoch of its own a member has each of its partitions (KIP-1251). What it commits with an older
 * epoch than it is at now counts where it had the partition by then: nobody else can have had it since.
 */
import type { PartitionIndex, TopicId } from "../../base/ids.ts";
import { each, type PartitionSet, type TopicPartitions } from "./partition-set.ts";

export type AssignmentEpochs = ReadonlyMap<TopicId, ReadonlyMap<PartitionIndex, number>>;

export const noEpochs: AssignmentEpochs = new Map();

/** Of partitions that are held: what was known of them before stays, and what is new begins at `epoch`. */
export function epochsOf(held: PartitionSet, former: AssignmentEpochs, epoch: number): AssignmentEpochs {
  const epochs = new Map<TopicId, Map<PartitionIndex, number>>();
  for (const [topicId, partition] of each(held)) {
    let topic = epochs.get(topicId);
    if (topic === undefined) epochs.set(topicId, (topic = new Map()));
    topic.set(partition, former.get(topicId)?.get(partition) ?? epoch);
  }
  return epochs;
}

/** As records have them, in the order of their partitions; null: written before there were any. */
interface RecordedEpochs extends TopicPartitions {
  readonly assignmentEpochs: readonly number[] | null;
}

export function recordedEpochs(topics: readonly RecordedEpochs[]): AssignmentEpochs {
  const epochs = new Map<TopicId, ReadonlyMap<PartitionIndex, number>>();
  for (const { topicId, partitions, assignmentEpochs } of topics) {
    if (assignmentEpochs?.length !== partitions.length) continue;
    epochs.set(
      topicId,
      new Map([
        ...(epochs.get(topicId) ?? []),
        ...partitions.map((partition, at) => [partition, assignmentEpochs[at] as number] as const),
      ]),
    );
  }
  return epochs;
}
