/** OffsetCommit: stores how far a group has got, and answers when that is durable. */
import { NO_TOPIC_ID, type PartitionIndex, type TopicId } from "../../base/ids.ts";
import type { OffsetToCommit } from "../../coordinator/group/commits.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  OffsetCommit,
  type OffsetCommitRequest,
  type OffsetCommitResponse,
} from "../../protocol/messages/offset-commit.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";

type TopicRequest = OffsetCommitRequest["topics"][number];
type PartitionRequest = TopicRequest["partitions"][number];

/** Topics are named by id from version 10 on. */
const topicIdVersionMin = 10;
/** About what a record takes beside its names and its text. */
const recordBytes = 96;

export const offsetCommit = handle(OffsetCommit, {
  prepare: (request, { services }) => services.groups.enter(weigh(request))?.then(() => request),
  async decide(request, context) {
    const { groups } = context.services;
    const { groupId } = request;
    const topics = request.topics.map((topic) => ({ topic, known: find(topic, context) }));
    const offsets: OffsetToCommit[] = [];
    for (const { topic, known } of topics) {
      if (known === null) continue;
      for (const wanted of topic.partitions) {
        if (wanted.partitionIndex in known.partitions) offsets.push(toCommit(wanted, known));
      }
    }
    const claim = {
      memberId: request.memberId,
      instanceId: request.groupInstanceId,
      generation: request.generationIdOrMemberEpoch,
    };
    const answers = await groups.run(
      groupId,
      (shard, turn) => shard.commit(turn, { groupId, claim, offsets, isTransactional: false }),
      weigh(request),
    );
    const codes = answers[Symbol.iterator]();
    const told = (known: Known | null, partitionIndex: PartitionIndex): ErrorCode => {
      if (known === null) return unknownTopicCode(context);
      if (!(partitionIndex in known.partitions)) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      return codes.next().value ?? ErrorCode.UNKNOWN_SERVER_ERROR;
    };
    return {
      throttleTimeMs: 0,
      topics: topics.map(({ topic, known }): OffsetCommitResponse["topics"][number] => ({
        name: topic.name,
        topicId: topic.topicId,
        partitions: topic.partitions.map(({ partitionIndex }) => ({
          partitionIndex,
          errorCode: told(known, partitionIndex),
        })),
      })),
    };
  },
});

interface Known {
  readonly id: TopicId;
  readonly name: string;
  readonly partitions: readonly unknown[];
}

function find({ name, topicId }: TopicRequest, { apiVersion, services }: RequestContext): Known | null {
  const topic =
    apiVersion >= topicIdVersionMin ? services.topics.byId(topicId) : services.topics.byName(name);
  return topic ?? null;
}

function unknownTopicCode({ apiVersion }: RequestContext): ErrorCode {
  return apiVersion >= topicIdVersionMin ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
}

function toCommit(wanted: PartitionRequest, { id, name }: Known): OffsetToCommit {
  return {
    topic: name,
    topicId: id ?? NO_TOPIC_ID,
    partition: wanted.partitionIndex,
    offset: wanted.committedOffset,
    leaderEpoch: wanted.committedLeaderEpoch,
    metadata: wanted.committedMetadata ?? "",
  };
}

function weigh({ groupId, topics }: OffsetCommitRequest): number {
  let bytes = 0;
  for (const { name, partitions } of topics) {
    for (const { committedMetadata } of partitions) {
      bytes += recordBytes + groupId.length + name.length + (committedMetadata?.length ?? 0);
    }
  }
  return bytes;
}
