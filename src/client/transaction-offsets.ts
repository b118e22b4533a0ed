/** Offsets of a group as part of a transaction (KIP-98), under what the member is in the group (KIP-447). */
import { NO_TOPIC_ID, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { TxnOffsetCommit, type TxnOffsetCommitResponse } from "../protocol/messages/txn-offset-commit.ts";
import { BrokerRefusedError } from "./errors.ts";
import type { OffsetToCommit } from "./group/offsets.ts";
import type { TakenOffsets } from "./group/taken-offsets.ts";
import type { Terms } from "./transaction-coordinator.ts";

/** From which on the group's coordinator adds the group to the transaction, and from which on topics are named by their ids. */
const implicitAddVersion = 5;
const topicIdVersion = 6;

/**
 * Resolves when the group's coordinator has them, to be committed or dropped with the transaction. Rejects with
 * `BrokerRefusedError`, `NotOwnedError`, and as `Coordinator.call` does.
 */
export async function commitInTransaction(
  taken: TakenOffsets,
  transactionalId: string,
  { identity, version }: Terms,
  again: (cause: Error) => number | undefined,
): Promise<void> {
  const { group, coordinator } = taken;
  const { member, offsets } = taken.claim();
  const what = `Committing offsets of group ${group} in the transaction of "${transactionalId}"`;
  const request = {
    transactionalId,
    groupId: group,
    producerId: identity.id,
    producerEpoch: identity.epoch,
    generationIdOrMemberEpoch: member.generation,
    memberId: member.memberId,
    groupInstanceId: member.instanceId,
    topics: [...Map.groupBy(offsets, ({ topic }) => topic)].map(([name, each]) => ({
      name,
      topicId: (each[0] as OffsetToCommit).topicId,
      partitions: each.map(({ partition, offset, epoch, metadata }) => ({
        partitionIndex: partitionIndex(partition),
        committedOffset: offset,
        committedLeaderEpoch: epoch,
        committedMetadata: metadata,
      })),
    })),
  };
  const hasIds = offsets.every(({ topicId }) => topicId !== NO_TOPIC_ID);
  const versionMax = version === 1 ? implicitAddVersion - 1 : hasIds ? topicIdVersion : implicitAddVersion;
  const answer = await coordinator.call(TxnOffsetCommit, request, {
    what,
    again,
    versionMax,
    codeOf: firstError,
  });
  const code = firstError(answer);
  if (code === ErrorCode.NONE) return;
  taken.refused(code);
  throw new BrokerRefusedError(what, code);
}

function firstError({ topics }: TxnOffsetCommitResponse): number {
  for (const { partitions } of topics) {
    const failed = partitions.find(({ errorCode }) => errorCode !== ErrorCode.NONE);
    if (failed !== undefined) return failed.errorCode;
  }
  return ErrorCode.NONE;
}
