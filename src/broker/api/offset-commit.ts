/** OffsetCommit: stores how far a group has got, and answers when that is durable. */
import { ErrorCode } from "../../protocol/errors.ts";
import { OffsetCommit } from "../../protocol/messages/offset-commit.ts";
import { handle } from "../handle.ts";
import { WantedOffsets, weighOffsets } from "../wanted-offsets.ts";

/** Topics are named by id from version 10 on. */
const topicIdVersionMin = 10;
/** Clients know by their own code that there is no such group (KIP-848). */
const unknownGroupVersionMin = 9;

export const offsetCommit = handle(OffsetCommit, {
  prepare: (request, { services }) =>
    services.groups
      .enter(request.groupId, weighOffsets(request.groupId, request.topics))
      ?.then(() => request),
  async decide({ groupId, topics, ...request }, { services, apiVersion }) {
    const wanted = new WantedOffsets(topics, apiVersion >= topicIdVersionMin, services.topics);
    const { offsets } = wanted;
    const claim = {
      memberId: request.memberId,
      instanceId: request.groupInstanceId,
      generation: request.generationIdOrMemberEpoch,
    };
    const codes = await services.groups.run<readonly ErrorCode[] | ErrorCode>(
      groupId,
      (shard, turn) => {
        const isUnknown = shard.group(groupId) === undefined && apiVersion >= unknownGroupVersionMin;
        return shard
          .commit(turn, { groupId, claim, offsets, isTransactional: false })
          .map((code) =>
            isUnknown && code === ErrorCode.ILLEGAL_GENERATION ? ErrorCode.GROUP_ID_NOT_FOUND : code,
          );
      },
      (elsewhere) => elsewhere,
      weighOffsets(groupId, topics),
    );
    return { throttleTimeMs: 0, topics: wanted.answer(codes) };
  },
});
