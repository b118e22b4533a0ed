/**
 * Markers for partitions of other brokers: asks their owner to write them, and tells which certainly are not
 * written yet. Requests to one broker are pipelined up to a bound; what collects meanwhile, of any transactions,
 * leaves together. Whoever calls must have made the intention durable before (I1), and asks again as long as
 * anything is left: a marker that is written twice does no harm.
 */
import type { BrokerEpoch } from "../../base/ids.ts";
import type { Logger } from "../../base/ports.ts";
import type { PreparedTransaction } from "../../coordinator/transaction/shard.ts";
import type { TransactionPartition } from "../../coordinator/transaction/transaction.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import { WriteTxnMarkers, type WriteTxnMarkersResponse } from "../../protocol/messages/write-txn-markers.ts";
import type { Peers } from "../cluster/cluster.ts";
import { PeerError } from "../cluster/errors.ts";

/** Requests under way to one broker. */
const requestsMax = 4;
/** A request takes no more once it has so many markers; one transaction's share is bounded by its caller. */
const requestMarkersMax = 1_000;

interface Wanted {
  readonly transaction: PreparedTransaction;
  readonly places: readonly TransactionPartition[];
  readonly resolve: (left: readonly TransactionPartition[]) => void;
}

/** To one broker. */
interface Lane {
  readonly queue: Wanted[];
  requests: number;
  /** What is asked for in one step leaves together. */
  isLeaving: boolean;
}

export class RemoteMarkers {
  readonly #peers: Pick<Peers, "call">;
  readonly #log: Logger;
  readonly #lanes = new Map<BrokerEpoch, Lane>();

  constructor(peers: Pick<Peers, "call">, log: Logger) {
    this.#peers = peers;
    this.#log = log;
  }

  /** Resolves with those places of which it is not known that they are marked, and durably so. Never rejects. */
  write(
    owner: BrokerEpoch,
    transaction: PreparedTransaction,
    places: readonly TransactionPartition[],
  ): Promise<readonly TransactionPartition[]> {
    return new Promise((resolve) => {
      let lane = this.#lanes.get(owner);
      if (lane === undefined) this.#lanes.set(owner, (lane = { queue: [], requests: 0, isLeaving: false }));
      lane.queue.push({ transaction, places, resolve });
      this.#leaveSoon(owner, lane);
    });
  }

  #leaveSoon(owner: BrokerEpoch, lane: Lane): void {
    if (lane.isLeaving || lane.requests >= requestsMax) return;
    lane.isLeaving = true;
    queueMicrotask(() => {
      lane.isLeaving = false;
      while (lane.queue.length > 0 && lane.requests < requestsMax) this.#leave(owner, lane);
    });
  }

  #leave(owner: BrokerEpoch, lane: Lane): void {
    let count = 0;
    let end = 0;
    for (; end < lane.queue.length; end++) {
      const { places } = lane.queue[end] as Wanted;
      if (end > 0 && count + places.length > requestMarkersMax) break;
      count += places.length;
    }
    const leaving = lane.queue.splice(0, end);
    lane.requests++;
    const done = (response: WriteTxnMarkersResponse | null): void => {
      lane.requests--;
      if (lane.requests === 0 && lane.queue.length === 0) this.#lanes.delete(owner);
      else this.#leaveSoon(owner, lane);
      for (const [at, wanted] of leaving.entries()) wanted.resolve(this.#left(wanted, response?.markers[at]));
    };
    const markers = leaving.map(({ transaction, places }) => ({
      producerId: transaction.producerId,
      producerEpoch: transaction.producerEpoch,
      transactionResult: transaction.outcome === "commit",
      topics: toTopics(places),
      coordinatorEpoch: transaction.coordinatorEpoch,
      transactionVersion: transaction.transactionVersion,
    }));
    this.#peers.call(owner, WriteTxnMarkers, { markers }).then(done, (cause: unknown) => {
      // What became of it is not known: it is asked for again.
      if (!(cause instanceof PeerError)) this.#log.error("transaction.markers-failed", { owner, cause });
      done(null);
    });
  }

  #left(
    { transaction, places }: Wanted,
    answer: WriteTxnMarkersResponse["markers"][number] | undefined,
  ): readonly TransactionPartition[] {
    if (answer?.producerId !== transaction.producerId) return places;
    const codes = new Map(
      answer.topics.flatMap(({ name, partitions }) =>
        partitions.map((each) => [keyOf(name, each.partitionIndex), each.errorCode]),
      ),
    );
    return places.filter((place) => {
      switch (codes.get(keyOf(place.topic, place.partition))) {
        case ErrorCode.NONE:
          return false;
        case ErrorCode.INVALID_PRODUCER_EPOCH:
        case ErrorCode.TRANSACTION_COORDINATOR_FENCED: {
          // Somebody ended it there by hand, or a later coordinator did: nothing of it is open any more.
          const { transactionalId, producerId, producerEpoch } = transaction;
          const why = errorFacts(codes.get(keyOf(place.topic, place.partition)) ?? ErrorCode.NONE).name;
          const facts = { transactionalId, producerId, producerEpoch, ...place, why };
          this.#log.warn("transaction.marker-refused", facts);
          return false;
        }
        default:
          // It moved, or its owner does not know of it yet.
          return true;
      }
    });
  }
}

const keyOf = (topic: string, partition: number): string => `${partition}/${topic}`;

/** As requests name partitions. */
export function toTopics(places: readonly TransactionPartition[]) {
  const topics = new Map<string, TransactionPartition["partition"][]>();
  for (const { topic, partition } of places) {
    const known = topics.get(topic);
    if (known === undefined) topics.set(topic, [partition]);
    else known.push(partition);
  }
  return Array.from(topics, ([name, partitionIndexes]) => ({ name, partitionIndexes }));
}
