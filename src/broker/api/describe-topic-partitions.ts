/** DescribeTopicPartitions: topics by name, a bounded number of partitions at a time (KIP-966). */
import { NO_TOPIC_ID } from "../../base/ids.ts";
import type { TopicState } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { OPERATIONS_NOT_ASKED } from "../../protocol/fields.ts";
import {
  DescribeTopicPartitions,
  type DescribeTopicPartitionsRequest,
  type DescribeTopicPartitionsResponse,
} from "../../protocol/messages/describe-topic-partitions.ts";
import { describePartition, isInternalTopic, topicOperations } from "../cluster-view.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";
import { refuseTopicName } from "../topics.ts";

type Topic = DescribeTopicPartitionsResponse["topics"][number];
type Cursor = NonNullable<DescribeTopicPartitionsRequest["cursor"]>;

/** Kafka's max.request.partition.size.limit. */
const partitionsMax = 2000;

export const describeTopicPartitions = handle(DescribeTopicPartitions, {
  decide(request, context) {
    const { cursor } = request;
    const names = request.topics.map(({ name }) => name);
    if (cursor !== null && cursor.partitionIndex < 0) {
      const topics = names.map((name) => refuse(name, ErrorCode.INVALID_REQUEST));
      return { throttleTimeMs: 0, topics, nextCursor: null };
    }
    return { throttleTimeMs: 0, ...page(wantedNames(names, context), request, context) };
  },
});

/** Each once and in order, so that a cursor can say where the next page begins. None named: all. */
function wantedNames(names: readonly string[], { services }: RequestContext): string[] {
  const wanted = names.length > 0 ? names : Array.from(services.topics.all(), ({ name }) => name);
  return [...new Set(wanted)].sort();
}

function page(names: readonly string[], request: DescribeTopicPartitionsRequest, context: RequestContext) {
  const { cursor } = request;
  let room = Math.max(1, Math.min(partitionsMax, request.responsePartitionLimit));
  const topics: Topic[] = [];
  for (const name of names) {
    if (cursor !== null && name < cursor.topicName) continue;
    const topic = context.services.topics.byName(name);
    if (topic === undefined) {
      const isWrong = refuseTopicName(name) !== null;
      topics.push(
        refuse(name, isWrong ? ErrorCode.INVALID_TOPIC_EXCEPTION : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
      );
      continue;
    }
    const begin = name === cursor?.topicName ? cursor.partitionIndex : 0;
    const shown = topic.partitions.slice(begin, begin + room);
    const next = topic.partitions[begin + shown.length];
    if (shown.length > 0 || next === undefined) topics.push(describe(topic, shown, context));
    room -= shown.length;
    if (next !== undefined) {
      const nextCursor: Cursor = { topicName: name, partitionIndex: next.index };
      return { topics, nextCursor };
    }
  }
  return { topics, nextCursor: null };
}

function describe(topic: TopicState, shown: TopicState["partitions"], context: RequestContext): Topic {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: isInternalTopic(topic.name),
    partitions: shown.map((partition) => ({
      ...describePartition(partition, context),
      eligibleLeaderReplicas: [],
      lastKnownElr: [],
    })),
    topicAuthorizedOperations: topicOperations,
  };
}

function refuse(name: string, errorCode: ErrorCode): Topic {
  return {
    errorCode,
    name,
    topicId: NO_TOPIC_ID,
    isInternal: isInternalTopic(name),
    partitions: [],
    topicAuthorizedOperations: OPERATIONS_NOT_ASKED,
  };
}
