/** FindCoordinator: which broker looks after a group or a transactional id. One process looks after all of them. */
import { nodeId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { CoordinatorType, FindCoordinator } from "../../protocol/messages/find-coordinator.ts";
import { brokerAddresses } from "../cluster-view.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";
import { accepted, attempt, type Refusal, refusal } from "../refusal.ts";

/** Several keys in one request (KIP-699). */
const manyKeysVersionMin = 4;

export const findCoordinator = handle(FindCoordinator, {
  async decide(request, context) {
    const outcome = await look(request.keyType, context);
    const node =
      outcome.errorCode === ErrorCode.NONE
        ? brokerAddresses(context).find((each) => each.nodeId === context.services.nodeId)
        : undefined;
    const found = {
      nodeId: node?.nodeId ?? nodeId(-1),
      host: node?.host ?? "",
      port: node?.port ?? -1,
      ...outcome,
    };
    const keys = context.apiVersion >= manyKeysVersionMin ? request.coordinatorKeys : [];
    return { throttleTimeMs: 0, ...found, coordinators: keys.map((key) => ({ key, ...found })) };
  },
});

async function look(keyType: number, { services }: RequestContext): Promise<Refusal> {
  const { groups, transactions } = services;
  const rooms: { readonly [keyType: number]: { enter(): Promise<void> | undefined } } = {
    [CoordinatorType.group]: groups,
    [CoordinatorType.transaction]: transactions,
  };
  const room = rooms[keyType];
  if (room === undefined) {
    return refusal(
      ErrorCode.INVALID_REQUEST,
      "This broker looks after consumer groups and transactions; share groups are not served yet.",
    );
  }
  // Their topic is made now, so that their first request finds it.
  const made = await attempt(async () => room.enter());
  if (made === undefined) return accepted;
  return refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE, made.errorMessage ?? undefined);
}
