/**
 * Asks the coordinator of a transaction that is another broker whether partitions of this one belong to it, or
 * makes them do so (KIP-890). Its answer leaves when the addition is durable there, so records that are taken
 * after it are never without a transaction that ends them. It is asked before stage one of a request, once per
 * transaction and partition: while a transaction in the producer's epoch is open in a partition, it was asked.
 *
 * Between the answer and the append the transaction may end. A producer with an epoch per transaction is then
 * refused by the partition, since the marker has a higher one. Of one that keeps its epoch the answer counts
 * only if no marker of it came to the partition since the question. What is left is Kafka's own gap: a batch of
 * such a client that is late by a whole transaction, and comes while the next one has the same partition.
 */
import {
  type BrokerEpoch,
  producerEpoch as toProducerEpoch,
  producerId as toProducerId,
} from "../../base/ids.ts";
import { type Clock, sleep, within } from "../../base/ports.ts";
import type { TransactionalClaim, TransactionPartition } from "../../coordinator/transaction/transaction.ts";
import type { Partition } from "../../log/partition.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { AddPartitionsToTxn } from "../../protocol/messages/add-partitions-to-txn.ts";
import type { Peers } from "../cluster/cluster.ts";
import { PeerError } from "../cluster/errors.ts";
import { toTopics } from "./remote-markers.ts";

/** Producers wait so long behind the question, with all that follows on their connection; then they try again. */
const askMsMax = 5_000;
/** The transaction before is still being ended: asked again after so long, so that its producer need not come again. */
export const againMs = 20;
export const againMax = 5;

/** A partition of this broker that is to be written to. */
export interface WantedPlace extends TransactionPartition {
  readonly log: Partition;
}

export interface Question {
  readonly coordinator: BrokerEpoch;
  readonly claim: TransactionalClaim;
  readonly places: readonly WantedPlace[];
  /** Nothing is added: clients before KIP-890 said beforehand what they write to. */
  readonly verifyOnly: boolean;
}

type Codes = ReadonlyMap<string, ErrorCode>;
const nothingKnown: Codes = new Map();
/** As the fields of other versions are when nobody set them. */
const noProducer = toProducerId(0);
const noEpoch = toProducerEpoch(0);

/** What the coordinator said for one request. */
export class Answer {
  readonly #question: Question;
  /** Markers of the producer by partition, before it was asked. */
  readonly #markers: ReadonlyMap<Partition, number | undefined>;
  #codes: Codes = nothingKnown;

  constructor(question: Question) {
    this.#question = question;
    const { producerId } = question.claim;
    this.#markers = new Map(question.places.map(({ log }) => [log, log.producer(producerId)?.markers]));
  }

  hear(codes: Codes): void {
    this.#codes = codes;
  }

  /** COORDINATOR_NOT_AVAILABLE: it did not say anything that counts now. */
  codeOf({ topic, partition, log }: WantedPlace): ErrorCode {
    const code = this.#codes.get(keyOf(topic, partition)) ?? ErrorCode.COORDINATOR_NOT_AVAILABLE;
    const { claim, verifyOnly } = this.#question;
    const isOutdated = verifyOnly && this.#markers.get(log) !== log.producer(claim.producerId)?.markers;
    return isOutdated && code === ErrorCode.NONE ? ErrorCode.COORDINATOR_NOT_AVAILABLE : code;
  }
}

export class Admission {
  readonly #peers: Pick<Peers, "call">;
  readonly #clock: Clock;

  constructor(peers: Pick<Peers, "call">, clock: Clock) {
    this.#peers = peers;
    this.#clock = clock;
  }

  /** Does not wait longer than `askMsMax`; where nobody answered, the answer says nothing that counts. */
  ask(question: Question): Promise<Answer> {
    const answer = new Answer(question);
    const heard = this.#fill(answer, question).then(() => answer);
    return within(this.#clock, askMsMax, heard, () => answer);
  }

  async #fill(answer: Answer, question: Question): Promise<void> {
    for (let tries = 0; ; tries++) {
      const codes = await this.#askOnce(question);
      answer.hear(codes);
      const isEnding = [...codes.values()].includes(ErrorCode.CONCURRENT_TRANSACTIONS);
      if (!isEnding || tries === againMax) return;
      await sleep(this.#clock, againMs);
    }
  }

  async #askOnce({ coordinator, claim, places, verifyOnly }: Question): Promise<Codes> {
    const topics = toTopics(places).map(({ name, partitionIndexes: partitions }) => ({ name, partitions }));
    const { transactionalId, producerId, producerEpoch } = claim;
    const request = {
      transactions: [{ transactionalId, producerId, producerEpoch, verifyOnly, topics }],
      v3AndBelowTransactionalId: "",
      v3AndBelowProducerId: noProducer,
      v3AndBelowProducerEpoch: noEpoch,
      v3AndBelowTopics: [],
    };
    try {
      const answer = await this.#peers.call(coordinator, AddPartitionsToTxn, request);
      if (answer.errorCode !== ErrorCode.NONE) return nothingKnown;
      const results = answer.resultsByTransaction.find((each) => each.transactionalId === transactionalId);
      return new Map(
        (results?.topicResults ?? []).flatMap(({ name, resultsByPartition }) =>
          resultsByPartition.map((each) => [keyOf(name, each.partitionIndex), each.partitionErrorCode]),
        ),
      );
    } catch (cause) {
      if (!(cause instanceof PeerError)) throw cause;
      // It is not there any more, or its answer is lost: the producer tries again, at whoever has it then.
      return nothingKnown;
    }
  }
}

const keyOf = (topic: string, partition: number): string => `${partition}/${topic}`;
