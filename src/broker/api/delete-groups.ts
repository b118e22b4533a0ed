/** DeleteGroups: groups without members, with everything they ever committed (KIP-229). */
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import { DeleteGroups } from "../../protocol/messages/delete-groups.ts";
import { handle } from "../handle.ts";

export const deleteGroups = handle(DeleteGroups, {
  prepare: (request, { services }) => services.groups.enter(request.groupsNames)?.then(() => request),
  async decide({ groupsNames }, { services }) {
    const results = await Promise.all(
      Array.from(new Set(groupsNames), async (groupId) => {
        const errorCode = await services.groups.run<ErrorCode>(
          groupId,
          (shard, turn) => shard.deleteGroup(turn, groupId),
          (elsewhere) => elsewhere,
        );
        return {
          groupId,
          errorCode,
          errorMessage: errorCode === ErrorCode.NONE ? null : errorFacts(errorCode).text,
        };
      }),
    );
    return { throttleTimeMs: 0, results };
  },
});
