/**
 * What a producer may write in its transaction to partitions of this broker. Where the transaction is looked
 * after here, that is decided in one step with the appends. Where another broker does it, that one is asked
 * before, and its answer is what `admit` then finds. Requests of newer versions add what they write to; of older
 * ones, whose clients said beforehand what they write to, it is verified (KIP-890).
 */
import type { BrokerEpoch } from "../../base/ids.ts";
import { type Clock, sleep } from "../../base/ports.ts";
import { addsImplicitly, participantCode } from "../../coordinator/transaction/codes.ts";
import type { TransactionRecord } from "../../coordinator/transaction/records.ts";
import type { TransactionShard } from "../../coordinator/transaction/shard.ts";
import type { TransactionalClaim, TransactionPartition } from "../../coordinator/transaction/transaction.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { PartitionState } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { BrokerConfig } from "../config.ts";
import type { Shards } from "../shards.ts";
import type { Topics } from "../topics.ts";
import { type Admission, againMax, againMs, type Answer, type WantedPlace } from "./admission.ts";

export interface ParticipationOptions {
  readonly clock: Clock;
  readonly config: BrokerConfig;
  readonly topics: Topics;
  readonly partitions: Partitions;
  /** Of this broker. */
  readonly epoch: BrokerEpoch;
  readonly shards: Shards<TransactionShard, TransactionRecord>;
  readonly admission: Admission;
  /** The partition that holds a transactional id, as the journal has it; undefined: their topic is gone. */
  readonly coordinatorOf: (id: string) => PartitionState | undefined;
}

/** A request that writes in a transaction. */
export interface Writing {
  readonly api: "Produce" | "TxnOffsetCommit";
  readonly version: number;
  readonly claim: TransactionalClaim;
  readonly places: readonly TransactionPartition[];
}

/** What became of it. */
export interface Admitted {
  /** One for each place. */
  readonly errorCodes: readonly ErrorCode[];
  /** Resolves when what was decided is durable; null: it is, once the appends are. */
  readonly durable: Promise<unknown> | null;
}

export class Participation {
  readonly #options: ParticipationOptions;
  /** What other coordinators said, by the request that waits for it. */
  readonly #answers = new WeakMap<object, Answer>();

  constructor(options: ParticipationOptions) {
    this.#options = options;
  }

  /** Whether another broker looks after the id, once their topic is made. */
  isElsewhere(id: string): boolean {
    return this.#options.shards.away(id) === ErrorCode.NOT_COORDINATOR;
  }

  /**
   * Before stage one of a request that adds what it writes to: the transaction before may still be ended, which
   * takes a moment where other brokers have a part in it. Then its producer need not come again. Undefined: it is
   * not so. Resolves soon, ended or not.
   */
  whenEnded(id: string, { api, version }: Pick<Writing, "api" | "version">): Promise<void> | undefined {
    const isEnding = (): boolean => (this.#shardOf(id)?.preparedOf(id) ?? null) !== null;
    return isEnding() && addsImplicitly(api, version) ? this.#whileEnding(isEnding) : undefined;
  }

  async #whileEnding(isEnding: () => boolean): Promise<void> {
    for (let tries = 0; tries < againMax && isEnding(); tries++) await sleep(this.#options.clock, againMs);
  }

  /**
   * Before stage one of `request`, after `Transactions.enter`: where another broker looks after the transaction
   * and what is to be written begins it in a partition of this one, asks that broker. Undefined: nobody is asked.
   */
  ask(request: object, writing: Writing): Promise<void> | undefined {
    const { api, version, claim, places } = writing;
    const { coordinatorOf, epoch, admission } = this.#options;
    const { transactionalId: id, producerId, producerEpoch } = claim;
    if (!this.isElsewhere(id)) return this.whenEnded(id, writing);
    const coordinator = coordinatorOf(id);
    if (coordinator === undefined || coordinator.owner === epoch || !this.#isVerified(writing))
      return undefined;
    const wanted = places
      .map((place) => this.#wanted(place))
      .filter((place) => place !== undefined)
      .filter(({ log }) => {
        const known = log.producer(producerId);
        // Marked by a coordinator that our journal does not know of yet: who it names is none any more.
        const isReplaced = known !== undefined && known.coordinatorEpoch > coordinator.leaderEpoch;
        return !isReplaced && !log.hasOpenTransaction(producerId, producerEpoch);
      });
    if (wanted.length === 0) return undefined;
    const verifyOnly = !addsImplicitly(api, version);
    return admission
      .ask({ coordinator: coordinator.owner, claim, places: wanted, verifyOnly })
      .then((answer) => void this.#answers.set(request, answer));
  }

  /**
   * Whether what is to be written belongs to the open transaction of its producer, and adds it where it may. In
   * one step with the appends that follow: an addition that is decided here lies before them in the WAL, and one
   * that is decided elsewhere was durable before `ask` resolved.
   */
  admit(request: object, writing: Writing): Admitted {
    const { api, version, claim, places } = writing;
    const shard = this.#shardOf(claim.transactionalId);
    if (shard === undefined) {
      const errorCodes = places.map((each) => this.#admittedElsewhere(request, writing, each));
      return { errorCodes, durable: null };
    }
    if (places.every((each) => shard.covers(claim, each)) || !this.#isVerified(writing)) {
      return { errorCodes: places.map(() => ErrorCode.NONE), durable: null };
    }
    let errorCodes: readonly ErrorCode[] = [];
    const durable = this.#options.shards.run(claim.transactionalId, (_shard, turn) => {
      if (!addsImplicitly(api, version)) {
        errorCodes = shard.verify(claim, places);
        return;
      }
      const added = shard.admit(turn, claim, places);
      errorCodes = places.map(() => added);
    });
    return { errorCodes: errorCodes.map((each) => participantCode(api, version, each)), durable };
  }

  #admittedElsewhere(request: object, writing: Writing, place: TransactionPartition): ErrorCode {
    const { api, version, claim } = writing;
    const wanted = this.#wanted(place);
    if (wanted === undefined || !this.#isVerified(writing)) return ErrorCode.NONE;
    if (wanted.log.hasOpenTransaction(claim.producerId, claim.producerEpoch)) return ErrorCode.NONE;
    const code = this.#answers.get(request)?.codeOf(wanted) ?? ErrorCode.COORDINATOR_NOT_AVAILABLE;
    return participantCode(api, version, code);
  }

  /** What older clients write to is verified unless that is switched off. */
  #isVerified({ api, version }: Writing): boolean {
    if (addsImplicitly(api, version)) return true;
    return this.#options.config.get("transaction.partition.verification.enable");
  }

  /** Undefined: it is not here. */
  #wanted({ topic, partition }: TransactionPartition): WantedPlace | undefined {
    const { topics, partitions } = this.#options;
    const id = topics.idOf(topic);
    const log = id === undefined ? undefined : partitions.get(id, partition);
    return log === undefined ? undefined : { topic, partition, log };
  }

  /** Undefined: it is not here, or not read. */
  #shardOf(id: string): TransactionShard | undefined {
    const { shards } = this.#options;
    return shards.away(id) === null ? shards.shardOf(id).shard : undefined;
  }
}
