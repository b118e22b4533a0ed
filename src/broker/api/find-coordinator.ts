/**
 * FindCoordinator: which broker looks after a group or a transactional id: the owner of the partition in which
 * it lies. Whether that one has read it yet it says itself.
 */
import { nodeId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  CoordinatorType,
  FindCoordinator,
  type FindCoordinatorResponse,
} from "../../protocol/messages/find-coordinator.ts";
import { addressOf } from "../cluster-view.ts";
import type { RequestContext } from "../context.ts";
import { offsetsTopic } from "../groups.ts";
import { handle } from "../handle.ts";
import { accepted, attempt, type Refusal, refusal } from "../refusal.ts";
import { shardIndex } from "../shards.ts";
import { transactionsTopic } from "../transactions.ts";

type Found = Omit<FindCoordinatorResponse["coordinators"][number], "key">;

/** Several keys in one request (KIP-699). */
const manyKeysVersionMin = 4;

export const findCoordinator = handle(FindCoordinator, {
  async decide(request, context) {
    const isMany = context.apiVersion >= manyKeysVersionMin;
    const unknown = await refuseType(request.keyType, context);
    const find = (key: string): Found =>
      unknown === null ? ownerOf(key, request.keyType, context) : nobody(unknown);
    return {
      throttleTimeMs: 0,
      ...(isMany ? nobody(accepted) : find(request.key)),
      coordinators: isMany ? request.coordinatorKeys.map((key) => ({ key, ...find(key) })) : [],
    };
  },
});

const topics: { readonly [keyType: number]: string } = {
  [CoordinatorType.group]: offsetsTopic,
  [CoordinatorType.transaction]: transactionsTopic,
};

/** Makes the topic now, so that the first request to its owners finds it. Null: it is there. */
async function refuseType(keyType: number, { services }: RequestContext): Promise<Refusal | null> {
  const { groups, transactions } = services;
  const rooms: { readonly [keyType: number]: { whenMade(): Promise<void> | undefined } } = {
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
  const made = await attempt(async () => room.whenMade());
  if (made === undefined) return null;
  return refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE, made.errorMessage ?? undefined);
}

function ownerOf(key: string, keyType: number, context: RequestContext): Found {
  const partitions = context.services.topics.byName(topics[keyType] ?? "")?.partitions ?? [];
  const owner = partitions[shardIndex(key, partitions.length)]?.owner;
  const address = owner === undefined ? undefined : addressOf(owner, context);
  if (address === undefined) {
    const why = "The broker that looks after it is gone, and another one takes over.";
    return nobody(refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE, why));
  }
  return { nodeId: address.nodeId, host: address.host, port: address.port, ...accepted };
}

function nobody(why: Refusal): Found {
  return { nodeId: nodeId(-1), host: "", port: -1, ...why };
}
