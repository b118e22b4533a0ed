/**
 * Metadata: topics with the owners of their partitions, and addresses. A topic that is told can be
 * written at that moment: one that is made on first use is answered when its partitions are open, never
 * with "no leader yet".
 */
import { NO_TOPIC_ID } from "../../base/ids.ts";
import type { TopicState } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { OPERATIONS_NOT_ASKED } from "../../protocol/fields.ts";
import { Metadata, type MetadataRequest, type MetadataResponse } from "../../protocol/messages/metadata.ts";
import {
  brokerAddresses,
  clusterOperations,
  controllerOf,
  describePartition,
  isInternalTopic,
  topicOperations,
} from "../cluster-view.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";
import { PartitionRoom } from "../partition-room.ts";
import { attempt } from "../refusal.ts";
import { refuseTopicName } from "../topics.ts";

type Wanted = NonNullable<MetadataRequest["topics"]>[number];
type Topic = MetadataResponse["topics"][number];

/** Ids could be sent from version 10 on, and mean something from 12 on (KIP-516). */
const topicIdVersionMin = 12;

export const metadata = handle(Metadata, {
  async decide(request, context) {
    const { services, apiVersion } = context;
    const wanted = apiVersion === 0 && request.topics?.length === 0 ? null : request.topics;
    const isAsked = request.includeTopicAuthorizedOperations;
    if (wanted?.some((topic) => isByIdTooEarly(topic, apiVersion)) === true) {
      const topics = wanted.map(({ name, topicId }) =>
        refuse({ name: name ?? "", topicId }, ErrorCode.INVALID_REQUEST),
      );
      return response(request, context, topics, ErrorCode.INVALID_REQUEST);
    }
    const room = new PartitionRoom(services);
    const topics =
      wanted === null
        ? Array.from(services.topics.all(), (topic) => describe(topic, context, isAsked))
        : await Promise.all(distinct(wanted).map((topic) => find(topic, request, room, context)));
    return response(request, context, topics, ErrorCode.NONE);
  },
});

const isByIdTooEarly = ({ name, topicId }: Wanted, apiVersion: number): boolean =>
  apiVersion < topicIdVersionMin && (name === null || topicId !== NO_TOPIC_ID);

/** Kafka answers a topic once, however often it was named. */
function distinct(wanted: readonly Wanted[]): Wanted[] {
  return [...new Map(wanted.map((topic) => [topic.name ?? `id ${topic.topicId}`, topic])).values()];
}

function response(
  request: MetadataRequest,
  context: RequestContext,
  topics: readonly Topic[],
  errorCode: ErrorCode,
): MetadataResponse {
  const { services } = context;
  return {
    throttleTimeMs: 0,
    brokers: brokerAddresses(context),
    clusterId: services.journal.state.clusterId,
    controllerId: controllerOf(context),
    topics,
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
      ? clusterOperations
      : OPERATIONS_NOT_ASKED,
    errorCode,
  };
}

async function find(
  wanted: Wanted,
  request: MetadataRequest,
  room: PartitionRoom,
  context: RequestContext,
): Promise<Topic> {
  const { topics, config } = context.services;
  const isAsked = request.includeTopicAuthorizedOperations;
  const { name, topicId } = wanted;
  if (name === null) {
    const topic = topics.byId(topicId);
    return topic === undefined
      ? refuse(wanted, ErrorCode.UNKNOWN_TOPIC_ID)
      : describe(topic, context, isAsked);
  }
  const there = topics.byName(name);
  if (there !== undefined) return describe(there, context, isAsked);
  const absent = { name, topicId: NO_TOPIC_ID };
  if (refuseTopicName(name) !== null) return refuse(absent, ErrorCode.INVALID_TOPIC_EXCEPTION);
  if (!request.allowAutoTopicCreation || !config.get("auto.create.topics.enable") || isInternalTopic(name)) {
    return refuse(absent, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  }
  const full = room.take(config.get("num.partitions"));
  if (full !== null) return refuse(absent, full.errorCode);
  const made = await attempt(() => topics.createOnUse(name));
  if (made === undefined) return refuse(absent, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  if ("errorCode" in made) return refuse(absent, made.errorCode);
  return describe(made, context, isAsked);
}

function describe(topic: TopicState, context: RequestContext, isAsked: boolean): Topic {
  return {
    errorCode: ErrorCode.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: isInternalTopic(topic.name),
    partitions: topic.partitions.map((partition) => describePartition(partition, context)),
    topicAuthorizedOperations: isAsked ? topicOperations : OPERATIONS_NOT_ASKED,
  };
}

function refuse({ name, topicId }: Wanted, errorCode: ErrorCode): Topic {
  return {
    errorCode,
    name,
    topicId,
    isInternal: name !== null && isInternalTopic(name),
    partitions: [],
    topicAuthorizedOperations: OPERATIONS_NOT_ASKED,
  };
}
