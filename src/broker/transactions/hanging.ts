/**
 * Whether an open transaction in a partition hangs: no coordinator knows of it, so none will ever end it. Asked
 * before somebody who is no coordinator may abort it, since an abort beside a coordinator that commits would
 * take a part out of a transaction that counts as a whole. Every coordinator has to answer, and none of them may
 * change meanwhile: what cannot be known is taken for a transaction that is looked after.
 */
import type { BrokerEpoch, ProducerId } from "../../base/ids.ts";
import type { TransactionShard } from "../../coordinator/transaction/shard.ts";
import type { TransactionPartition } from "../../coordinator/transaction/transaction.ts";
import type { PartitionState } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { DescribeTransactions } from "../../protocol/messages/describe-transactions.ts";
import { ListTransactions } from "../../protocol/messages/list-transactions.ts";
import type { Peers } from "../cluster/cluster.ts";

export interface HangingOptions {
  readonly peers: Pick<Peers, "call">;
  /** Of this broker. */
  readonly epoch: BrokerEpoch;
  /** Those of the coordinators' topic. */
  readonly partitions: () => readonly PartitionState[];
  /** Asks all shards that are here; null: not all of them are read. */
  readonly ask: <T>(decide: (shard: TransactionShard) => T) => Promise<readonly T[] | null>;
}

const unfinished = ["Ongoing", "PrepareCommit", "PrepareAbort"];

export class Hanging {
  readonly #options: HangingOptions;

  constructor(options: HangingOptions) {
    this.#options = options;
  }

  async hangs(producer: ProducerId, place: TransactionPartition): Promise<boolean> {
    const before = this.#coordinators();
    const held = await Promise.all(
      Array.from(new Set(before.owners), (owner) =>
        owner === this.#options.epoch
          ? this.#mayBeHeldHere(producer, place)
          : this.#mayBeHeldBy(owner, producer, place).catch(() => true),
      ),
    );
    return !held.includes(true) && this.#coordinators().text === before.text;
  }

  #coordinators(): { readonly owners: readonly BrokerEpoch[]; readonly text: string } {
    const partitions = this.#options.partitions();
    const owners = partitions.map(({ owner }) => owner);
    return { owners, text: partitions.map((each) => `${each.owner}/${each.leaderEpoch}`).join(" ") };
  }

  async #mayBeHeldHere(producer: ProducerId, place: TransactionPartition): Promise<boolean> {
    const held = await this.#options.ask((shard) => {
      for (const each of shard.transactions()) {
        const isUnfinished = each.isOpen || each.isEnding;
        if (isUnfinished && each.value.producerId === producer && each.holds(place)) return true;
      }
      return false;
    });
    return held === null || held.includes(true);
  }

  /** Rejects when that broker does not answer. */
  async #mayBeHeldBy(
    owner: BrokerEpoch,
    producer: ProducerId,
    place: TransactionPartition,
  ): Promise<boolean> {
    const { peers } = this.#options;
    const listed = await peers.call(owner, ListTransactions, {
      stateFilters: unfinished,
      producerIdFilters: [producer],
      durationFilter: -1,
      transactionalIdPattern: null,
    });
    if (listed.errorCode !== ErrorCode.NONE) return true;
    const transactionalIds = listed.transactionStates.map((each) => each.transactionalId);
    if (transactionalIds.length === 0) return false;
    const { transactionStates } = await peers.call(owner, DescribeTransactions, { transactionalIds });
    return transactionStates.some(({ errorCode, topics }) => {
      if (errorCode !== ErrorCode.NONE) return true;
      return topics.some((each) => each.topic === place.topic && each.partitions.includes(place.partition));
    });
  }
}
