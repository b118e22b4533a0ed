/** DeleteGroups: groups without members, with everything they ever committed (KIP-229); of share groups their share state, too. */
import type { ShareDecision } from "../../coordinator/group/share-groups.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import { DeleteGroups } from "../../protocol/messages/delete-groups.ts";
import type { Services } from "../context.ts";
import { handle } from "../handle.ts";
import { settleWork } from "../share/group-work.ts";

export const deleteGroups = handle(DeleteGroups, {
  prepare: (request, { services }) => services.groups.enter(request.groupsNames)?.then(() => request),
  async decide({ groupsNames }, { services }) {
    const results = await Promise.all(
      Array.from(new Set(groupsNames), async (groupId) => {
        const errorCode = await deleted(groupId, services);
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

async function deleted(groupId: string, services: Services): Promise<ErrorCode> {
  const { groups } = services;
  const begun = await groups.run<ErrorCode | ShareDecision>(
    groupId,
    (shard, turn) =>
      shard.group(groupId)?.share ? shard.share.end(turn, groupId, null) : shard.deleteGroup(turn, groupId),
    (elsewhere) => elsewhere,
  );
  if (typeof begun === "number") return begun;
  if (begun.kind === "refused") return begun.errorCode;
  const { endings } = await settleWork(services, groupId, begun.work);
  // What is left is named in the group's records: another attempt goes on there.
  for (const { errorCode } of endings.values()) return errorCode;
  return groups.run<ErrorCode>(
    groupId,
    (shard, turn) => shard.share.remove(turn, groupId),
    (elsewhere) => elsewhere,
  );
}
