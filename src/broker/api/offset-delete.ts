/** OffsetDelete: forgets committed offsets of topics that the group does not read at the moment (KIP-496). */
import type { GroupShard } from "../../coordinator/group/shard.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { OffsetDelete, type OffsetDeleteResponse } from "../../protocol/messages/offset-delete.ts";
import { handle } from "../handle.ts";

export const offsetDelete = handle(OffsetDelete, {
  prepare: (request, { services }) => services.groups.enter(request.groupId)?.then(() => request),
  async decide({ groupId, topics }, { services }) {
    const names = topics.flatMap(({ name, partitions }) =>
      partitions.map(({ partitionIndex }) => ({ topic: name, partition: partitionIndex })),
    );
    const outcome = await services.groups.run<ReturnType<GroupShard["deleteOffsets"]>>(
      groupId,
      (shard, turn) => shard.deleteOffsets(turn, groupId, names),
      (errorCode) => ({ errorCode, errorCodes: [] }),
    );
    if (outcome.errorCode !== ErrorCode.NONE)
      return { errorCode: outcome.errorCode, throttleTimeMs: 0, topics: [] };
    const codes = outcome.errorCodes[Symbol.iterator]();
    return {
      errorCode: ErrorCode.NONE,
      throttleTimeMs: 0,
      topics: topics.map(({ name, partitions }): OffsetDeleteResponse["topics"][number] => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => ({
          partitionIndex,
          errorCode: codes.next().value ?? ErrorCode.UNKNOWN_SERVER_ERROR,
        })),
      })),
    };
  },
});
