/** DeleteShareGroupOffsets: what a share group without members knows of topics goes. */
import { NO_TOPIC_ID, type TopicId } from "../../base/ids.ts";
import type { ShareDecision } from "../../coordinator/group/share-groups.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  DeleteShareGroupOffsets,
  type DeleteShareGroupOffsetsResponse,
} from "../../protocol/messages/delete-share-group-offsets.ts";
import { shareGroupsOff } from "../features.ts";
import { handle } from "../handle.ts";
import { accepted, type Refusal, refusal } from "../refusal.ts";
import { noSuchPartition, settleWork } from "../share/group-work.ts";

export const deleteShareGroupOffsets = handle(DeleteShareGroupOffsets, {
  prepare: (request, { services }) => services.groups.enter(request.groupId)?.then(() => request),
  async decide({ groupId, topics }, { services }) {
    const wrong = shareGroupsOff(services) ?? (groupId === "" ? refusal(ErrorCode.INVALID_GROUP_ID) : null);
    if (wrong !== null) return answer(wrong);
    const ids = topics.map(({ topicName }) => services.topics.idOf(topicName));
    const known = new Set(ids.filter((id) => id !== undefined));
    const decided = await services.groups.run<ShareDecision | Refusal>(
      groupId,
      (shard, turn) => shard.share.end(turn, groupId, known),
      (elsewhere) => refusal(elsewhere),
    );
    if (!("work" in decided)) return answer(refusal(decided.errorCode, decided.errorMessage ?? undefined));
    const { work } = decided;
    const { endings } = await settleWork(services, groupId, work);
    const outcome = (id: TopicId | undefined): Refusal => {
      if (id === undefined) return noSuchPartition;
      if (!work.ending.has(id)) return refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, nothingThere);
      return endings.get(id) ?? accepted;
    };
    const responses = topics.map(({ topicName }, at) => ({
      topicName,
      topicId: ids[at] ?? NO_TOPIC_ID,
      ...outcome(ids[at]),
    }));
    return { ...answer(accepted), responses };
  },
});

/** Kafka's words. */
const nothingThere = "There is no offset information to delete.";

const answer = (why: Refusal): DeleteShareGroupOffsetsResponse => ({
  throttleTimeMs: 0,
  ...why,
  responses: [],
});
