/** AlterShareGroupOffsets: where a share group without members begins to deliver; it is made where it is not there. */
import { NO_TOPIC_ID, type PartitionIndex, type TopicId } from "../../base/ids.ts";
import type { ShareDecision } from "../../coordinator/group/share-groups.ts";
import type { StateBeginning } from "../../coordinator/group/share-request.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  AlterShareGroupOffsets,
  type AlterShareGroupOffsetsRequest,
  type AlterShareGroupOffsetsResponse,
} from "../../protocol/messages/alter-share-group-offsets.ts";
import type { Services } from "../context.ts";
import { shareGroupsOff } from "../features.ts";
import { handle } from "../handle.ts";
import { accepted, type Refusal, refusal } from "../refusal.ts";
import { noSuchPartition, settleWork } from "../share/group-work.ts";

export const alterShareGroupOffsets = handle(AlterShareGroupOffsets, {
  prepare: (request, { services }) => services.groups.enter(request.groupId)?.then(() => request),
  async decide(request, { services }) {
    const wrong =
      shareGroupsOff(services) ?? (request.groupId === "" ? refusal(ErrorCode.INVALID_GROUP_ID) : null);
    if (wrong !== null) return answer(wrong, []);
    const places = placesOf(request, services);
    const beginning = places.filter((place) => "startOffset" in place);
    const decided = await restart(request.groupId, beginning, services);
    if ("errorCode" in decided) return answer(decided, []);
    const { beginnings } = await settleWork(services, request.groupId, decided.work);
    return answer(accepted, told(places, beginnings));
  },
});

type Responses = AlterShareGroupOffsetsResponse["responses"];

/** One of the request's partitions: what it is to begin with, or why not. */
type Place = { readonly topicName: string; readonly topicId: TopicId; readonly partition: PartitionIndex } & (
  | StateBeginning
  | Refusal
);

function answer(why: Refusal, responses: Responses): AlterShareGroupOffsetsResponse {
  return { throttleTimeMs: 0, ...why, responses };
}

function placesOf({ topics }: AlterShareGroupOffsetsRequest, services: Services): readonly Place[] {
  const seen = new Set<string>();
  return topics.flatMap(({ topicName, partitions }) =>
    partitions.map(({ partitionIndex: partition, startOffset }): Place => {
      const topic = services.topics.byName(topicName);
      const place = { topicName, topicId: topic?.id ?? NO_TOPIC_ID, partition };
      if (topic?.partitions[partition] === undefined) {
        return { ...place, ...noSuchPartition };
      }
      const name = `${topicName}/${partition}`;
      if (seen.has(name)) return { ...place, ...refusal(ErrorCode.INVALID_REQUEST, "It is named twice.") };
      seen.add(name);
      if (startOffset >= 0) return { ...place, startOffset };
      return { ...place, ...refusal(ErrorCode.INVALID_REQUEST, `${startOffset} is no offset to begin at.`) };
    }),
  );
}

async function restart(
  groupId: string,
  beginning: readonly StateBeginning[],
  services: Services,
): Promise<Exclude<ShareDecision, { readonly kind: "refused" }> | Refusal> {
  const { groups } = services;
  const left = await groups.run(
    groupId,
    (shard, turn) => shard.share.leftOver(turn, groupId),
    () => null,
  );
  if (left !== null) await settleWork(services, groupId, left);
  const decided = await groups.run<ShareDecision | Refusal>(
    groupId,
    (shard, turn) => shard.share.restart(turn, groupId, beginning),
    (elsewhere) => refusal(elsewhere),
  );
  return "work" in decided ? decided : refusal(decided.errorCode, decided.errorMessage ?? undefined);
}

/** `outcomes`: of those that began, in their order. */
function told(places: readonly Place[], outcomes: readonly Refusal[]): Responses {
  const topics = new Map<
    string,
    { topicId: TopicId; partitions: Responses[number]["partitions"][number][] }
  >();
  let at = 0;
  for (const place of places) {
    const { topicName, topicId, partition: partitionIndex } = place;
    const { errorCode, errorMessage } =
      "errorCode" in place ? place : (outcomes[at++] ?? refusal(ErrorCode.UNKNOWN_SERVER_ERROR));
    let topic = topics.get(topicName);
    if (topic === undefined) topics.set(topicName, (topic = { topicId, partitions: [] }));
    topic.partitions.push({ partitionIndex, errorCode, errorMessage });
  }
  return Array.from(topics, ([topicName, topic]) => ({ topicName, ...topic }));
}
