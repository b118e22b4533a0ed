/**
 * Ends what is open in a partition of this broker though its transaction is over. Additions are durable before
 * the data that they admit, and markers before the completion, with whichever brokers they lie, and a broker that
 * takes either over reads all of it. So only damage leaves such a thing. Where the coordinator is here and tells
 * how it ended, the marker is written again. Where it does not, nobody may say "aborted" of what may have been
 * acknowledged as committed: it is reported, and its readers wait until somebody decides. Of a producer that is
 * unknown here another broker may know, and then nothing is said at all.
 */
import type { ProducerId } from "../../base/ids.ts";
import type { Clock, Logger, Timer } from "../../base/ports.ts";
import type { TransactionShard } from "../../coordinator/transaction/shard.ts";
import type { Transaction } from "../../coordinator/transaction/transaction.ts";
import type { Partition } from "../../log/partition.ts";
import type { OpenTransaction } from "../../log/transactions.ts";
import type { Topics } from "../topics.ts";
import type { Markers } from "./markers.ts";

export interface OrphansOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly topics: Topics;
  readonly markers: Markers;
  readonly knowledge: () => Knowledge;
  readonly isOver: () => boolean;
}

/** Partitions come by the thousand when a broker is gone, and are judged together: each time all ids are looked at. */
const togetherMs = 500;

/** What this broker knows of transactions. */
export interface Knowledge {
  readonly shards: readonly TransactionShard[];
  /** There are no other shards: a producer that is unknown here is unknown. */
  readonly isWhole: boolean;
}

interface Owner {
  readonly transaction: Transaction;
  readonly coordinatorEpoch: number;
}

export class Orphans {
  readonly #options: OrphansOptions;
  /** Began to serve here with something open. */
  #arrived: Partition[] = [];
  #timer: Timer | null = null;

  constructor(options: OrphansOptions) {
    this.#options = options;
  }

  /** A partition begins to take appends here; it is judged soon. */
  notice(partition: Partition): void {
    const { done: isEmpty } = partition.openTransactions()[Symbol.iterator]().next();
    if (isEmpty === true) return;
    this.#arrived.push(partition);
    this.#timer ??= this.#options.clock.schedule(togetherMs, () => {
      const arrived = this.#arrived;
      this.#arrived = [];
      this.#timer = null;
      if (!this.#options.isOver()) this.judge(arrived);
    });
  }

  /** Synchronous: what it writes lies behind what was written before. */
  judge(partitions: Iterable<Partition>): void {
    const { shards, isWhole } = this.#options.knowledge();
    let known: ReadonlyMap<ProducerId, Owner> | null = null;
    for (const partition of partitions) {
      if (!partition.takesAppends) continue;
      for (const open of partition.openTransactions()) {
        // What was driven a moment ago has its marker on the way.
        if (open.isEnding) continue;
        known ??= byProducer(shards);
        const owner = known.get(open.producerId);
        if (owner !== undefined || isWhole) this.#judge(partition, open, owner);
      }
    }
  }

  close(): void {
    this.#timer?.cancel();
  }

  #judge(log: Partition, { producerId, firstOffset }: OpenTransaction, owner: Owner | undefined): void {
    const topic = this.#options.topics.byId(log.topicId)?.name;
    if (topic === undefined) return;
    const place = { topic, partition: log.partition };
    const transaction = owner?.transaction;
    if (transaction !== undefined && (transaction.isOpen || transaction.isEnding)) {
      if (transaction.holds(place)) return;
    }
    const epoch = log.producer(producerId)?.epoch;
    const outcome = epoch === undefined ? null : (transaction?.outcomeOf(epoch) ?? null);
    const transactionalId = transaction?.id ?? null;
    const facts = { ...place, producerId, firstOffset, transactionalId, outcome };
    this.#options.log.error("transaction.orphan", facts);
    if (owner === undefined || outcome === null) return;
    const { coordinatorEpoch } = owner;
    const { producerEpoch } = owner.transaction.value;
    this.#options.markers.mark(place, { producerId, producerEpoch, coordinatorEpoch, outcome });
  }
}

function byProducer(shards: readonly TransactionShard[]): ReadonlyMap<ProducerId, Owner> {
  const known = new Map<ProducerId, Owner>();
  for (const shard of shards) {
    const { coordinatorEpoch } = shard;
    for (const transaction of shard.transactions()) {
      known.set(transaction.value.producerId, { transaction, coordinatorEpoch });
    }
  }
  return known;
}
