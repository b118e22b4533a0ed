/**
 * TxnOffsetCommit: stores how far a group has got as part of a producer's transaction (KIP-98): it counts when
 * that commits. The transaction must be the producer's own, and its member one that the group knows now
 * (KIP-447), so that whoever lost its partitions cannot move their offsets any more.
 */
import type { AppendRefusal } from "../../log/outcomes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { TxnOffsetCommit, type TxnOffsetCommitRequest } from "../../protocol/messages/txn-offset-commit.ts";
import type { RequestContext } from "../context.ts";
import { type Elsewhere, offsetsTopic } from "../groups.ts";
import { handle } from "../handle.ts";
import { WantedOffsets, weighOffsets } from "../wanted-offsets.ts";

/** Topics are named by id from version 6 on. */
const topicIdVersionMin = 6;

export const txnOffsetCommit = handle(TxnOffsetCommit, {
  prepare(request, context) {
    const { groups, transactions } = context.services;
    const { groupId, topics, transactionalId } = request;
    const entering = transactions.enter(transactionalId);
    const enterGroup = (): Promise<void> | undefined => groups.enter(groupId, weighOffsets(groupId, topics));
    const entered = entering === undefined ? enterGroup() : entering.then(enterGroup);
    const asked =
      entered === undefined
        ? askCoordinator(request, context)
        : entered.then(() => askCoordinator(request, context));
    return asked?.then(() => request);
  },

  // Up to the decision of the group there is no await: what admits the offsets lies before them in the WAL.
  async decide(request, { services, apiVersion }) {
    const { groupId, topics, transactionalId, producerId, producerEpoch } = request;
    const { groups, transactions, tail } = services;
    const bytes = weighOffsets(groupId, topics);
    const wanted = new WantedOffsets(topics, apiVersion >= topicIdVersionMin, services.topics);
    const { offsets } = wanted;
    const answer = (codes: readonly ErrorCode[] | ErrorCode) => ({
      throttleTimeMs: 0,
      topics: wanted.answer(codes),
    });
    if (groupId === "" || offsets.length === 0) {
      tail.dismiss(bytes);
      return answer(ErrorCode.INVALID_GROUP_ID);
    }
    const away = groups.away(groupId);
    if (away !== null) {
      tail.dismiss(bytes);
      return answer(away);
    }
    const place = { topic: offsetsTopic, partition: groups.partitionOf(groupId) };
    const claimed = { transactionalId, producerId, producerEpoch };
    const admitted = transactions.participation.admit(request, {
      api: "TxnOffsetCommit",
      version: apiVersion,
      claim: claimed,
      places: [place],
    });
    const [code = ErrorCode.UNKNOWN_SERVER_ERROR] = admitted.errorCodes;
    if (code !== ErrorCode.NONE) {
      tail.dismiss(bytes);
      await admitted.durable;
      return answer(code);
    }
    const claim = {
      memberId: request.memberId,
      instanceId: request.groupInstanceId,
      generation: request.generationIdOrMemberEpoch,
    };
    const decided = groups.runIn(
      groupId,
      { producerId, producerEpoch },
      (shard, turn) => shard.commit(turn, { groupId, claim, offsets, isTransactional: true }),
      bytes,
    );
    const [outcome] = await Promise.all([decided, admitted.durable]);
    return answer(outcome.kind === "decided" ? outcome.result : codeOf(outcome));
  },
});

/** Before stage one, where another broker looks after the transaction. */
function askCoordinator(
  request: TxnOffsetCommitRequest,
  { services: { groups, transactions }, apiVersion }: RequestContext,
): Promise<void> | undefined {
  const { groupId, transactionalId, producerId, producerEpoch } = request;
  if (groups.away(groupId) !== null) return undefined;
  const place = { topic: offsetsTopic, partition: groups.partitionOf(groupId) };
  const claim = { transactionalId, producerId, producerEpoch };
  return transactions.participation.ask(request, {
    api: "TxnOffsetCommit",
    version: apiVersion,
    claim,
    places: [place],
  });
}

function codeOf(refused: AppendRefusal | Elsewhere): ErrorCode {
  if (refused.kind === "elsewhere") return refused.errorCode;
  return refused.kind === "stale-producer-epoch"
    ? ErrorCode.INVALID_PRODUCER_EPOCH
    : ErrorCode.UNKNOWN_SERVER_ERROR;
}
