/**
 * FindCoordinator: which broker looks after a group, a transactional id or the state of a share-partition: the
 * owner of the partition in which it lies. Whether that one has read it yet it says itself.
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
import { shareStateTopic } from "../share/state.ts";
import { shardIndex } from "../shards.ts";
import { transactionsTopic } from "../transactions.ts";

type Found = Omit<FindCoordinatorResponse["coordinators"][number], "key">;

/** Share-partitions have coordinators (KIP-932). */
const shareVersionMin = 6;
/** Several keys in one request (KIP-699). */
const manyKeysVersionMin = 4;

export const findCoordinator = handle(FindCoordinator, {
  async decide(request, context) {
    const isMany = context.apiVersion >= manyKeysVersionMin;
    const { keyType } = request;
    const unknown = await refuseType(keyType, context);
    const find = (key: string): Found => {
      const refused = unknown ?? (keyType === CoordinatorType.share ? refuseSharePartition(key) : null);
      return refused === null ? ownerOf(key, keyType, context) : nobody(refused);
    };
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
  [CoordinatorType.share]: shareStateTopic,
};

/** Makes the topic now, so that the first request to its owners finds it. Null: it is there. */
async function refuseType(
  keyType: number,
  { services, apiVersion }: RequestContext,
): Promise<Refusal | null> {
  const { groups, transactions, shareStates } = services;
  const rooms: { readonly [keyType: number]: { whenMade(): Promise<void> | undefined } } = {
    [CoordinatorType.group]: groups,
    [CoordinatorType.transaction]: transactions,
    ...(apiVersion < shareVersionMin ? {} : { [CoordinatorType.share]: shareStates }),
  };
  const room = rooms[keyType];
  if (room === undefined) {
    return refusal(
      ErrorCode.INVALID_REQUEST,
      `There are coordinators of groups (0), transactions (1) and, from version ${shareVersionMin} on, share-partitions (2), but none of type ${keyType}.`,
    );
  }
  const made = await attempt(async () => room.whenMade());
  if (made === undefined) return null;
  return refusal(ErrorCode.COORDINATOR_NOT_AVAILABLE, made.errorMessage ?? undefined);
}

/** Group, topic id and partition, of which the group may have colons too. */
const sharePartition = /^[^]*\S[^]*:[\w-]{22}:\d{1,10}$/;

function refuseSharePartition(key: string): Refusal | null {
  if (sharePartition.test(key)) return null;
  return refusal(
    ErrorCode.INVALID_REQUEST,
    `A share-partition is named GROUP:TOPIC-ID:PARTITION, which "${key}" is not.`,
  );
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
