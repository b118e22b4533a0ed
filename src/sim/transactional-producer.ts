/**
 * One life of a producer with a transactional id, by hand: its requests in the old way (every partition added
 * beforehand) or in that of KIP-890 (added by writing, an epoch for each transaction). What gets no answer is
 * asked again on a new connection; some requests come twice, the second time from nowhere and late. It knows
 * what became of each transaction as far as any client can: without an answer to its end, that is in doubt.
 */
import type { Operation } from "../audit/operation.ts";
import {
  leaderEpoch,
  NO_TOPIC_ID,
  offset,
  partitionIndex,
  type ProducerEpoch,
  producerEpoch,
  type ProducerId,
  producerId,
} from "../base/ids.ts";
import type { Api } from "../protocol/api.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { AddOffsetsToTxn } from "../protocol/messages/add-offsets-to-txn.ts";
import { AddPartitionsToTxn } from "../protocol/messages/add-partitions-to-txn.ts";
import { EndTxn } from "../protocol/messages/end-txn.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { TxnOffsetCommit } from "../protocol/messages/txn-offset-commit.ts";
import { buildBatch, type NewRecord } from "../record/builder.ts";
import type { Actor } from "./actor.ts";
import { Disconnected, type Caller } from "./client.ts";
import type { InitAttempt, TransactionalId } from "./transactional-id.ts";

/** In the old way, and in that of KIP-890. */
const versions = {
  old: { init: 4, produce: 9, offsets: 3, end: 3 },
  new: { init: 5, produce: 12, offsets: 5, end: 5 },
} as const;
export type TransactionProtocol = keyof typeof versions;

/** Of so many requests one is the last of its process. */
const deathOneIn = 150;
/** Of so many one comes twice. */
const echoOneIn = 12;
/** Of so many transactions one is slept over. */
const napOneIn = 15;

/** The process is gone. */
export class Died extends Error {
  override readonly name = "Died";
}
/** This life cannot go on: another took over, or the transaction was open for too long. */
export class Refused extends Error {
  override readonly name = "Refused";
}

export interface Place {
  readonly topic: string;
  readonly partition: number;
}

/** Records of one partition that are sent at once. */
export interface TransactionBatch extends Place {
  readonly records: readonly NewRecord[];
  /** Told when it is sent first; returns the step of each record. */
  tell(operation: Operation): readonly number[];
  /** The transaction was committed; −1: the broker did not say where it is. */
  committed(baseOffset: number): void;
  /** It surely was not, and never will be. */
  aborted(): void;
}

export interface TransactionOffsets {
  readonly group: string;
  readonly topic: string;
  readonly progress: readonly (readonly [partition: number, next: number])[];
  /** Empty, and epoch −1: of nobody whom the group knows. */
  readonly memberId: string;
  readonly epoch: number;
  /** Told when it is sent first. */
  tell(operation: Operation): void;
}

export interface TransactionWork {
  readonly batches: readonly TransactionBatch[];
  readonly offsets: TransactionOffsets | null;
  readonly isCommitted: boolean;
}

/** By so much the wall clocks of two simulated brokers differ at most: what one has begun, its successor ends as much too early. */
const clocksDifferMsMax = 1_000;

export class TransactionalProducer {
  readonly #actor: Actor;
  readonly #id: TransactionalId;
  readonly #protocol: TransactionProtocol;
  readonly #timeoutMs: number;
  /** Under which the checker knows this life. */
  readonly name: string;
  #init: InitAttempt | null = null;
  #producerId = producerId(-1);
  #epoch = producerEpoch(-1);
  readonly #sequences = new Map<string, number>();
  /** Partitions that were added to the open transaction, in the old way. */
  readonly #added = new Set<string>();
  /** When the first request of the open transaction was sent; null: none is open. */
  #openedMs: number | null = null;
  #client: Caller | null = null;
  readonly #echoes = new Set<Promise<void>>();

  constructor(
    actor: Actor,
    options: {
      readonly id: TransactionalId;
      readonly protocol: TransactionProtocol;
      readonly timeoutMs: number;
      readonly name: string;
    },
  ) {
    this.#actor = actor;
    this.#id = options.id;
    this.#protocol = options.protocol;
    this.#timeoutMs = options.timeoutMs;
    this.name = options.name;
  }

  /** Rejects with `Died`, or with `Refused` where it asked for more than to begin. */
  async init(): Promise<void> {
    const operation = this.#actor.begin("init", this.name).takesOver(this.#id.name);
    const isNew = this.#producerId < 0;
    let attempt: InitAttempt | null = null;
    const answer = await this.#call(
      InitProducerId,
      versions[this.#protocol].init,
      () => {
        attempt = this.#id.sends(this.#actor);
        return {
          transactionalId: this.#id.name,
          transactionTimeoutMs: this.#timeoutMs,
          producerId: this.#producerId,
          producerEpoch: this.#epoch,
        };
      },
      (told) => {
        if (attempt !== null) attempt.answeredMs = this.#actor.clock.monotonicMs();
        return told.errorCode;
      },
    );
    if (answer.errorCode !== ErrorCode.NONE) {
      operation.fail(this.#actor.nowMs);
      if (isNew) this.#violate(`InitProducerId of ${this.#id.name}`, answer.errorCode);
      throw new Refused(errorFacts(answer.errorCode).name);
    }
    this.#init = attempt;
    this.#id.isKnown = true;
    this.#begin(answer.producerId, answer.producerEpoch);
    operation.ok(this.#actor.nowMs);
  }

  /** One transaction, to its end. Rejects with `Died` or `Refused`, and then has told what is known of it. */
  async perform(work: TransactionWork): Promise<void> {
    const { random } = this.#actor;
    const operation = this.#actor.begin("transaction", this.name);
    const offsets: number[] = [];
    const sent: Promise<void>[] = [];
    let mayBeCommitted = false;
    try {
      const isParallel = random.below(2) === 0;
      for (const [at, batch] of work.batches.entries()) {
        await this.#addInTheOldWay(batch);
        const one = this.#produce(operation, batch).then((base) => void (offsets[at] = base));
        // Of one partition each waits for the one before.
        sent.push(one);
        one.catch(() => undefined);
        if (!isParallel || !isAlone(batch, work.batches)) await one;
      }
      await Promise.all(sent);
      if (work.offsets !== null) await this.#commitOffsets(operation, work.offsets);
      if (random.below(napOneIn) === 0) await this.#actor.wait(this.#timeoutMs * random.pick([1, 3]));
      mayBeCommitted = work.isCommitted;
      await this.#end(work.isCommitted);
    } catch (cause) {
      if (!(cause instanceof Died) && !(cause instanceof Refused)) throw cause;
      await Promise.allSettled(sent);
      this.#actor.record(`transaction of ${this.name}: ${cause.name} ${cause.message}`);
      if (mayBeCommitted) operation.unknown(this.#actor.nowMs);
      else this.#fail(operation, work);
      throw cause;
    }
    if (!work.isCommitted) return this.#fail(operation, work);
    work.batches.forEach((batch, at) => batch.committed(offsets[at] ?? -1));
    operation.ok(this.#actor.nowMs);
  }

  /** Rejects as `perform` does. `ask` is told a connection as often as that takes. */
  ask<Res>(ask: (client: Caller) => Promise<Res>): Promise<Res> {
    return this.#insist(ask, () => ErrorCode.NONE);
  }

  /** Whatever of it is still under way has come to its end. */
  async close(): Promise<void> {
    this.#client?.close();
    await Promise.all(this.#echoes);
  }

  #fail(operation: Operation, { batches }: TransactionWork): void {
    for (const batch of batches) batch.aborted();
    operation.fail(this.#actor.nowMs);
  }

  #begin(id: ProducerId, epoch: ProducerEpoch): void {
    if (id !== this.#producerId || epoch !== this.#epoch) this.#sequences.clear();
    this.#producerId = id;
    this.#epoch = epoch;
    this.#added.clear();
    this.#openedMs = null;
  }

  // ── Requests ──

  async #addInTheOldWay({ topic, partition }: Place): Promise<void> {
    const name = `${topic}/${partition}`;
    if (this.#protocol === "new" || this.#added.has(name)) return;
    const answer = await this.#call(
      AddPartitionsToTxn,
      3,
      () => ({
        transactions: [],
        v3AndBelowTransactionalId: this.#id.name,
        v3AndBelowProducerId: this.#producerId,
        v3AndBelowProducerEpoch: this.#epoch,
        v3AndBelowTopics: [{ name: topic, partitions: [partitionIndex(partition)] }],
      }),
      ({ resultsByTopicV3AndBelow: [found] }) => found?.resultsByPartition[0]?.partitionErrorCode,
    );
    this.#judge(
      "AddPartitionsToTxn",
      answer.resultsByTopicV3AndBelow[0]?.resultsByPartition[0]?.partitionErrorCode,
    );
    this.#added.add(name);
  }

  /** The offset of its first record; −1: not told. */
  async #produce(operation: Operation, batch: TransactionBatch): Promise<number> {
    const { topic, partition, records } = batch;
    const name = `${topic}/${partition}`;
    const baseSequence = this.#sequences.get(name) ?? 0;
    this.#sequences.set(name, baseSequence + records.length);
    const bytes = buildBatch(records, {
      producerId: this.#producerId,
      producerEpoch: this.#epoch,
      baseSequence,
      isTransactional: true,
    });
    const steps = batch.tell(operation);
    const answer = await this.#call(
      Produce,
      versions[this.#protocol].produce,
      () => ({
        transactionalId: this.#id.name,
        acks: -1,
        timeoutMs: 30_000,
        topicData: [
          {
            name: topic,
            topicId: NO_TOPIC_ID,
            partitionData: [{ index: partitionIndex(partition), records: [bytes] }],
          },
        ],
      }),
      ({ responses: [found] }) => found?.partitionResponses[0]?.errorCode,
      true,
    );
    const result = answer.responses[0]?.partitionResponses[0];
    this.#judge("Produce", result?.errorCode);
    const base = result?.baseOffset ?? -1;
    if (base >= 0) steps.forEach((step, at) => operation.stored(step, base + at));
    return base;
  }

  async #commitOffsets(operation: Operation, offsets: TransactionOffsets): Promise<void> {
    const { group, topic, progress, memberId, epoch } = offsets;
    offsets.tell(operation);
    if (this.#protocol === "old") {
      const added = await this.#call(
        AddOffsetsToTxn,
        3,
        () => ({
          transactionalId: this.#id.name,
          producerId: this.#producerId,
          producerEpoch: this.#epoch,
          groupId: group,
        }),
        ({ errorCode }) => errorCode,
      );
      this.#judge("AddOffsetsToTxn", added.errorCode);
    }
    const answer = await this.#call(
      TxnOffsetCommit,
      versions[this.#protocol].offsets,
      () => ({
        transactionalId: this.#id.name,
        groupId: group,
        producerId: this.#producerId,
        producerEpoch: this.#epoch,
        generationIdOrMemberEpoch: epoch,
        memberId,
        groupInstanceId: null,
        topics: [
          {
            name: topic,
            topicId: NO_TOPIC_ID,
            partitions: progress.map(([partition, next]) => ({
              partitionIndex: partitionIndex(partition),
              committedOffset: offset(next),
              committedLeaderEpoch: leaderEpoch(-1),
              committedMetadata: null,
            })),
          },
        ],
      }),
      ({ topics: [found] }) => found?.partitions[0]?.errorCode,
      this.#protocol === "new",
    );
    const code = answer.topics[0]?.partitions[0]?.errorCode;
    // A member may be out of its group by now.
    if (memberId !== "" && code !== ErrorCode.NONE) throw new Refused(errorFacts(code ?? -1).name);
    this.#judge("TxnOffsetCommit", code);
  }

  async #end(isCommitted: boolean): Promise<void> {
    const answer = await this.#call(
      EndTxn,
      versions[this.#protocol].end,
      () => ({
        transactionalId: this.#id.name,
        producerId: this.#producerId,
        producerEpoch: this.#epoch,
        committed: isCommitted,
      }),
      ({ errorCode }) => errorCode,
      this.#protocol === "new",
    );
    this.#judge("EndTxn", answer.errorCode);
    if (this.#protocol === "new") this.#begin(answer.producerId, answer.producerEpoch);
    else this.#begin(this.#producerId, this.#epoch);
  }

  /** NONE lets it go on. Anything else ends this life, and is a violation where nobody else could be the cause. */
  #judge(what: string, code: ErrorCode | undefined): void {
    if (code === ErrorCode.NONE) return;
    const isContested = this.#init === null || this.#id.isContested(this.#init, this.#actor);
    const { clock } = this.#actor;
    const openMs = this.#openedMs === null ? 0 : clock.monotonicMs() - this.#openedMs;
    const slackMs = this.#actor.hasSeveralBrokers ? clocksDifferMsMax : 0;
    if (!isContested && openMs + slackMs < this.#timeoutMs)
      this.#violate(`${what} of ${this.#id.name}`, code);
    throw new Refused(`${what}: ${errorFacts(code ?? ErrorCode.UNKNOWN_SERVER_ERROR).name}`);
  }

  #violate(what: string, code: ErrorCode | undefined): void {
    const { name } = errorFacts(code ?? ErrorCode.UNKNOWN_SERVER_ERROR);
    this.#actor.history.violations.push(`${what} was answered with ${name}, and nobody else is at work`);
  }

  // ── Connections ──

  /** Asks until there is an answer that is not to be asked again. `mayEcho`: a second time it does no harm. */
  async #call<Req, Res>(
    api: Api<Req, Res>,
    version: number,
    make: () => Req,
    codeOf: (answer: Res) => ErrorCode | undefined,
    mayEcho = false,
  ): Promise<Res> {
    this.#openedMs ??= this.#actor.clock.monotonicMs();
    return this.#insist((client) => {
      const request = make();
      if (mayEcho && this.#actor.random.below(echoOneIn) === 0) this.#echo(api, version, request);
      return client.call(api, version, request);
    }, codeOf);
  }

  async #insist<Res>(
    ask: (client: Caller) => Promise<Res>,
    codeOf: (answer: Res) => ErrorCode | undefined,
  ): Promise<Res> {
    const { random } = this.#actor;
    for (;;) {
      if (this.#actor.hasDied() || random.below(deathOneIn) === 0) throw new Died();
      try {
        if (this.#client === null || this.#client.closed)
          this.#client = await this.#actor.connect(this.#id.name);
        const answer = await ask(this.#client);
        const code = codeOf(answer) ?? ErrorCode.UNKNOWN_SERVER_ERROR;
        if (!errorFacts(code).retriable) return answer;
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
      }
      await this.#actor.pause(20);
    }
  }

  /** The same request once more, later and on a way of its own; nobody waits for what is said to it. */
  #echo<Req, Res>(api: Api<Req, Res>, version: number, request: Req): void {
    const echoing = async (): Promise<void> => {
      await this.#actor.wait(this.#timeoutMs);
      try {
        const client = await this.#actor.connect("echo");
        try {
          await client.call(api, version, request);
        } finally {
          client.close();
        }
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
      }
    };
    const one = echoing();
    this.#echoes.add(one);
    void one.then(() => this.#echoes.delete(one));
  }
}

function isAlone({ topic, partition }: Place, all: readonly Place[]): boolean {
  return all.filter((each) => each.topic === topic && each.partition === partition).length === 1;
}
