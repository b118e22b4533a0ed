/**
 * WriteTxnMarkers: ends the transactions of producers in single partitions. A broker of this cluster that looks
 * after them says how; it is answered when its markers are durable. From anybody else it is how
 * `kafka-transactions abort` and `holdfast txn abort` end a transaction that hangs, because no coordinator knows
 * of it: what a coordinator does know is not theirs to end, and nobody but a coordinator can say "committed".
 */
import type { ProducerId } from "../../base/ids.ts";
import type { TransactionPartition } from "../../coordinator/transaction/transaction.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { WriteTxnMarkers, type WriteTxnMarkersRequest } from "../../protocol/messages/write-txn-markers.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";
import type { Marked } from "../transactions/markers.ts";

type Marker = WriteTxnMarkersRequest["markers"][number];

export const writeTxnMarkers = handle(WriteTxnMarkers, {
  // A peer asks again; its other requests do not wait behind this one.
  prepare: (request, { services, connection }) =>
    connection.peer === null ? services.groups.whenListable()?.then(() => request) : undefined,
  async decide(request, context) {
    const { transactions, wal } = context.services;
    const isPeer = context.connection.peer !== null;
    const refused = isPeer ? new Set<string>() : await refusedOf(request.markers, context);
    let awaited = 0;
    const markers = request.markers.map(({ transactionResult, topics, ...marker }) => ({
      producerId: marker.producerId,
      topics: topics.map(({ name, partitionIndexes }) => ({
        name,
        partitions: partitionIndexes.map((partitionIndex) => {
          const place = { topic: name, partition: partitionIndex };
          if (refused.has(keyOf(marker.producerId, place))) {
            return { partitionIndex, errorCode: ErrorCode.CLUSTER_AUTHORIZATION_FAILED };
          }
          const wish = { ...marker, outcome: transactionResult ? ("commit" as const) : ("abort" as const) };
          const marked = isPeer ? transactions.mark(place, wish) : transactions.markByHand(place, wish);
          if ("walNumber" in marked && marked.walNumber > awaited) awaited = marked.walNumber;
          return { partitionIndex, errorCode: codeOf(marked) };
        }),
      })),
    }));
    await wal.whenDurable(awaited);
    return { markers };
  },
});

/** What somebody who is no coordinator must not end. */
async function refusedOf(
  markers: readonly Marker[],
  { services }: RequestContext,
): Promise<ReadonlySet<string>> {
  const refused = new Set<string>();
  const asked: Promise<void>[] = [];
  for (const { producerId, transactionResult, topics } of markers) {
    for (const { name, partitionIndexes } of topics) {
      for (const partition of partitionIndexes) {
        const place = { topic: name, partition };
        if (transactionResult) refused.add(keyOf(producerId, place));
        else if (asked.length === askedMax) refused.add(keyOf(producerId, place));
        else {
          asked.push(
            services.transactions.mayAbortByHand(producerId, place).then((may) => {
              if (!may) refused.add(keyOf(producerId, place));
            }),
          );
        }
      }
    }
  }
  await Promise.all(asked);
  return refused;
}

/** Of so many all coordinators are asked; tools name one at a time. */
const askedMax = 100;

const keyOf = (producerId: ProducerId, { topic, partition }: TransactionPartition): string =>
  `${producerId}/${partition}/${topic}`;

function codeOf(marked: Marked): ErrorCode {
  switch (marked.kind) {
    case "gone":
      return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    case "away":
    case "between":
      return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    case "marked":
      return ErrorCode.NONE;
    case "stale-producer-epoch":
      return ErrorCode.INVALID_PRODUCER_EPOCH;
    case "coordinator-fenced":
      return ErrorCode.TRANSACTION_COORDINATOR_FENCED;
    default:
      return marked satisfies never;
  }
}
