/**
 * WriteTxnMarkers: ends the transactions of producers in single partitions. The coordinator of this process
 * does without it; it is how `kafka-transactions abort` and `holdfast txn abort` end a transaction that hangs,
 * because no coordinator knows of it.
 */
import { ErrorCode } from "../../protocol/errors.ts";
import { WriteTxnMarkers } from "../../protocol/messages/write-txn-markers.ts";
import type { MarkOutcome } from "../../log/outcomes.ts";
import { handle } from "../handle.ts";

export const writeTxnMarkers = handle(WriteTxnMarkers, {
  prepare: (request, { services }) => services.groups.whenRead()?.then(() => request),
  async decide(request, { services }) {
    const { transactions, wal } = services;
    let awaited = 0;
    const markers = request.markers.map(({ transactionResult, topics, ...marker }) => ({
      producerId: marker.producerId,
      topics: topics.map(({ name, partitionIndexes }) => ({
        name,
        partitions: partitionIndexes.map((partitionIndex) => {
          const outcome = transactions.mark(
            { topic: name, partition: partitionIndex },
            {
              ...marker,
              coordinatorEpoch: Math.min(marker.coordinatorEpoch, transactions.manualEpochMax),
              outcome: transactionResult ? "commit" : "abort",
            },
          );
          if (outcome !== null && outcome.walNumber > awaited) awaited = outcome.walNumber;
          return { partitionIndex, errorCode: codeOf(outcome) };
        }),
      })),
    }));
    await wal.whenDurable(awaited);
    return { markers };
  },
});

function codeOf(outcome: MarkOutcome | null): ErrorCode {
  switch (outcome?.kind) {
    case undefined:
      return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    case "marked":
      return ErrorCode.NONE;
    case "stale-producer-epoch":
      return ErrorCode.INVALID_PRODUCER_EPOCH;
    case "coordinator-fenced":
      return ErrorCode.TRANSACTION_COORDINATOR_FENCED;
    default:
      return outcome satisfies never;
  }
}
