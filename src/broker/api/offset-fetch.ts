/**
 * OffsetFetch: how far groups have got. What was committed for an earlier topic of the same name is not told.
 * Who asks for what is stable hears of a partition only when no open transaction is about to change it
 * (KIP-447): who reads on from an offset that such a transaction will move would do its work twice.
 */
import { leaderEpoch, NO_TOPIC_ID, offset, type PartitionIndex, type TopicId } from "../../base/ids.ts";
import type { CommittedOffset } from "../../coordinator/group/offsets.ts";
import type { Group } from "../../coordinator/group/group.ts";
import type { GroupShard } from "../../coordinator/group/shard.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  OffsetFetch,
  type OffsetFetchRequest,
  type OffsetFetchResponse,
} from "../../protocol/messages/offset-fetch.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";

type WantedGroup = OffsetFetchRequest["groups"][number];
type GroupResponse = OffsetFetchResponse["groups"][number];
type TopicResponse = GroupResponse["topics"][number];
type PartitionResponse = TopicResponse["partitions"][number];

/** Several groups in one request (KIP-709). */
const manyGroupsVersionMin = 8;
/** Topics are named by id from version 10 on. */
const topicIdVersionMin = 10;

export const offsetFetch = handle(OffsetFetch, {
  prepare: (request, { apiVersion, services }) =>
    services.groups.enter(groupIdsOf(request, apiVersion))?.then(() => request),
  async decide(request, context) {
    const isMany = context.apiVersion >= manyGroupsVersionMin;
    const wanted = isMany
      ? request.groups
      : [{ groupId: request.groupId, memberId: null, memberEpoch: -1, topics: older(request) }];
    const groups = await Promise.all(wanted.map((each) => fetched(each, request.requireStable, context)));
    const only = isMany ? undefined : groups[0];
    return {
      throttleTimeMs: 0,
      topics: only?.topics ?? [],
      errorCode: only?.errorCode ?? ErrorCode.NONE,
      groups,
    };
  },
});

function groupIdsOf({ groupId, groups }: OffsetFetchRequest, apiVersion: number): string | readonly string[] {
  return apiVersion >= manyGroupsVersionMin ? groups.map((each) => each.groupId) : groupId;
}

function older({ topics }: OffsetFetchRequest): WantedGroup["topics"] {
  return topics === null ? null : topics.map((topic) => ({ ...topic, topicId: NO_TOPIC_ID }));
}

function fetched(
  wanted: WantedGroup,
  requireStable: boolean,
  context: RequestContext,
): Promise<GroupResponse> {
  const { groups } = context.services;
  const { groupId, memberId, memberEpoch } = wanted;
  const decide = (shard: GroupShard): GroupResponse => {
    const group = shard.group(groupId);
    // A member of KIP-848 that is fenced learns it here, before it begins to read what others read now.
    const claim = { memberId: memberId ?? "", instanceId: null, generation: memberEpoch };
    const fenced = memberEpoch < 0 ? ErrorCode.NONE : (group?.consumer?.verify(claim) ?? ErrorCode.NONE);
    const errorCode = group?.share ? ErrorCode.GROUP_ID_NOT_FOUND : fenced;
    const topics =
      errorCode === ErrorCode.NONE ? topicsOf({ group, requireStable }, wanted.topics, context) : [];
    return { groupId, errorCode, topics };
  };
  return groups.run(groupId, decide, (errorCode) => ({ groupId, errorCode, topics: [] }));
}

interface Source {
  readonly group: Group | undefined;
  readonly requireStable: boolean;
}

function topicsOf(
  source: Source,
  wanted: WantedGroup["topics"],
  context: RequestContext,
): readonly TopicResponse[] {
  const { apiVersion, services } = context;
  const byId = apiVersion >= topicIdVersionMin;
  if (wanted === null) return everything(source, byId, context);
  return wanted.map(({ name, topicId, partitionIndexes }) => {
    const topic = byId ? services.topics.byId(topicId) : services.topics.byName(name);
    const partitions = partitionIndexes.map((index) => {
      if (byId && topic === undefined) return { ...none(index), errorCode: ErrorCode.UNKNOWN_TOPIC_ID };
      return told(source, topic?.name ?? name, index, topic?.id);
    });
    return { name, topicId, partitions };
  });
}

function everything(source: Source, byId: boolean, { services }: RequestContext): TopicResponse[] {
  const topics: TopicResponse[] = [];
  for (const [name, offsets] of source.group?.offsets.topics() ?? []) {
    const id = services.topics.idOf(name);
    if (byId && id === undefined) continue;
    const partitions = Array.from(offsets.keys(), (index) => told(source, name, index, id));
    const known = partitions.filter((each) => each.committedOffset >= 0 || each.errorCode !== ErrorCode.NONE);
    if (known.length > 0) topics.push({ name, topicId: id ?? NO_TOPIC_ID, partitions: known });
  }
  return topics;
}

function told(
  { group, requireStable }: Source,
  topic: string,
  partitionIndex: PartitionIndex,
  topicId: TopicId | undefined,
): PartitionResponse {
  if (requireStable && group?.pending.has(topic, partitionIndex) === true) {
    return { ...none(partitionIndex), errorCode: ErrorCode.UNSTABLE_OFFSET_COMMIT };
  }
  const committed = group?.offsets.get(topic, partitionIndex);
  if (committed === undefined || isOfAnother(committed, topicId)) return none(partitionIndex);
  return {
    partitionIndex,
    committedOffset: committed.offset,
    committedLeaderEpoch: committed.leaderEpoch,
    metadata: committed.metadata,
    errorCode: ErrorCode.NONE,
  };
}

/** Of a topic that was deleted: its offsets name other records than those that are there now. */
function isOfAnother({ topicId: meant }: CommittedOffset, topicId: TopicId | undefined): boolean {
  return topicId !== undefined && meant !== NO_TOPIC_ID && meant !== topicId;
}

function none(partitionIndex: PartitionIndex): PartitionResponse {
  return {
    partitionIndex,
    committedOffset: offset(-1),
    committedLeaderEpoch: leaderEpoch(-1),
    metadata: "",
    errorCode: ErrorCode.NONE,
  };
}
