/**
 * AddPartitionsToTxn: partitions become part of a transaction before something is written to them (KIP-98).
 * Up to version 3 clients ask, for one transaction, and all of its partitions are added or none; from version
 * 4 on brokers do, for many, also only to verify (KIP-890).
 */
import { coordinatorCode } from "../../coordinator/transaction/codes.ts";
import type { TransactionalClaim, TransactionPartition } from "../../coordinator/transaction/transaction.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  AddPartitionsToTxn,
  type AddPartitionsToTxnRequest,
  type AddPartitionsToTxnResponse,
} from "../../protocol/messages/add-partitions-to-txn.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";

type TopicsRequest = AddPartitionsToTxnRequest["v3AndBelowTopics"];
type TopicResults = AddPartitionsToTxnResponse["resultsByTopicV3AndBelow"];

const manyVersionMin = 4;
/** About what a partition takes in the record beside its topic's name. */
const partitionBytes = 4;
const recordBytes = 128;

export const addPartitionsToTxn = handle(AddPartitionsToTxn, {
  prepare(request, { services, connection }) {
    // A peer asks again; its other requests do not wait behind this one, and it holds back its own producers.
    if (connection.peer !== null) return undefined;
    return services.transactions.enter(idsOf(request), weigh(request))?.then(() => request);
  },
  async decide(request, context) {
    const { apiVersion, connection, services } = context;
    // What was admitted belongs to the first decision.
    let admitted = connection.peer === null ? weigh(request) : 0;
    const added = (wanted: Wanted): Promise<TopicResults> => {
      const result = add(wanted, admitted, context);
      admitted = 0;
      return result;
    };
    if (apiVersion >= manyVersionMin) {
      const resultsByTransaction = await Promise.all(
        request.transactions.map(async (each) => ({
          transactionalId: each.transactionalId,
          topicResults: await added({
            claim: each,
            topics: each.topics,
            verifyOnly: each.verifyOnly,
            // Only a broker adds in this version: its producer gets an epoch with each transaction.
            clientVersion: 2,
          }),
        })),
      );
      if (admitted > 0) services.tail.dismiss(admitted);
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        resultsByTransaction,
        resultsByTopicV3AndBelow: [],
      };
    }
    const claim = {
      transactionalId: request.v3AndBelowTransactionalId,
      producerId: request.v3AndBelowProducerId,
      producerEpoch: request.v3AndBelowProducerEpoch,
    };
    const topics = await added({
      claim,
      topics: request.v3AndBelowTopics,
      verifyOnly: false,
      clientVersion: 0,
    });
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      resultsByTransaction: [],
      resultsByTopicV3AndBelow: topics,
    };
  },
});

/** Of older versions, which have no transactions, it is one. */
function idsOf({ transactions, v3AndBelowTransactionalId }: AddPartitionsToTxnRequest): string | string[] {
  return transactions.length === 0
    ? v3AndBelowTransactionalId
    : transactions.map((each) => each.transactionalId);
}

function weigh({ transactions, v3AndBelowTopics }: AddPartitionsToTxnRequest): number {
  let bytes = recordBytes;
  for (const { name, partitions } of [...transactions.flatMap(({ topics }) => topics), ...v3AndBelowTopics]) {
    bytes += name.length + partitions.length * partitionBytes;
  }
  return bytes;
}

interface Wanted {
  readonly claim: TransactionalClaim;
  readonly topics: TopicsRequest;
  readonly verifyOnly: boolean;
  readonly clientVersion: 0 | 2;
}

async function add(
  { claim, topics, verifyOnly, clientVersion }: Wanted,
  admittedBytes: number,
  { services, apiVersion }: RequestContext,
): Promise<TopicResults> {
  const places: readonly TransactionPartition[] = topics.flatMap(({ name, partitions }) =>
    partitions.map((partition) => ({ topic: name, partition })),
  );
  const isKnown = ({ topic, partition }: TransactionPartition): boolean =>
    services.topics.byName(topic)?.partitions[partition] !== undefined;
  const areKnown = places.every(isKnown);
  const codes = await services.transactions.run<readonly ErrorCode[]>(
    claim.transactionalId,
    (shard, turn) => {
      if (verifyOnly) return shard.verify(claim, places);
      if (!areKnown) {
        return places.map((each) =>
          isKnown(each) ? ErrorCode.OPERATION_NOT_ATTEMPTED : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        );
      }
      const errorCode = shard.addPartitions(turn, claim, places, clientVersion);
      return places.map(() => coordinatorCode("AddPartitionsToTxn", apiVersion, errorCode));
    },
    (elsewhere) => places.map(() => elsewhere),
    admittedBytes,
  );
  const told = codes[Symbol.iterator]();
  return topics.map(({ name, partitions }) => ({
    name,
    resultsByPartition: partitions.map((partitionIndex) => ({
      partitionIndex,
      partitionErrorCode: told.next().value ?? ErrorCode.UNKNOWN_SERVER_ERROR,
    })),
  }));
}
