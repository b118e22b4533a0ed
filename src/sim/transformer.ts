/**
 * Consume, transform, produce: what it reads in one partition becomes one record each in others, and how far it
 * has read is committed with them. Whatever happens, each record of its input is in the output once.
 */
import type { GroupNumber } from "../audit/words.ts";
import { NO_TOPIC_ID, offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { AddOffsetsToTxn } from "../protocol/messages/add-offsets-to-txn.ts";
import { ListedOffset } from "../protocol/messages/list-offsets.ts";
import { OffsetFetch } from "../protocol/messages/offset-fetch.ts";
import { TxnOffsetCommit } from "../protocol/messages/txn-offset-commit.ts";
import type { Actor } from "./actor.ts";
import { Disconnected, type Caller } from "./client.ts";
import { SimConsumer } from "./consumer.ts";
import { recordName } from "./history.ts";
import type { TransactionalId } from "./transactional-id.ts";
import type { Place, TransactionalProducer, TransactionProtocol } from "./transactional-producer.ts";
import { outputBatches, TransactionalActor } from "./transactor.ts";

const recordsMax = 20;

export class Transformer extends TransactionalActor {
  readonly #source: Place;
  readonly #targets: readonly Place[];
  readonly #group: string;
  readonly #number: number;
  readonly #mayExpire: boolean;
  readonly #consumer: SimConsumer;
  #nextOrder = 0;
  /** Where it goes on; what is committed may be further, where an answer was lost. */
  #position = 0;
  /** Nothing more is written to the source from here on. */
  #end: number | null = null;

  constructor(
    actor: Actor,
    options: {
      readonly id: TransactionalId;
      readonly protocol: TransactionProtocol;
      readonly group: string;
      readonly source: Place;
      readonly targets: readonly Place[];
      /** Names its records; no other producer has it. */
      readonly number: number;
      /** The source may be without records, and then what its group committed expires. */
      readonly mayExpire: boolean;
    },
  ) {
    super(actor, options);
    this.#source = options.source;
    this.#targets = options.targets;
    this.#group = options.group;
    this.#number = options.number;
    this.#mayExpire = options.mayExpire;
    const { topic, partition } = options.source;
    this.#consumer = new SimConsumer(actor, topic, partition, actor.pace.memberPollMs);
  }

  /** Nothing more is written to the source; it ends when it has transformed everything. */
  finish(end: number): void {
    this.#end = end;
    this.nap.wake();
  }

  protected override isDone(isOver: () => boolean): boolean {
    return isOver() && this.#end !== null && this.#position >= this.#end;
  }

  get #groupNumber(): GroupNumber {
    return this.actor.history.audit.group(this.#group);
  }

  protected override async live(producer: TransactionalProducer, isOver: () => boolean): Promise<void> {
    const { random } = this.actor;
    for (;;) {
      this.#position = await producer.ask((client) => this.#committed(client, producer.name));
      if (this.isDone(isOver)) return;
      // Without a doubt about the last one it knows where it is.
      for (let left = random.between(1, 5); left > 0; left--) {
        if (!(await this.#transform(producer))) break;
        if (this.isDone(isOver)) return;
        if (!isOver()) await this.nap.rest(3);
      }
    }
  }

  /** Where the group is, once no transaction of its own is open. */
  async #committed(client: Caller, name: string): Promise<number> {
    const { topic, partition } = this.#source;
    const { history } = this.actor;
    const fetch = this.actor.begin("fetch-offsets", name).inGroup(this.#groupNumber);
    const wanted = [{ name: topic, topicId: NO_TOPIC_ID, partitionIndexes: [partitionIndex(partition)] }];
    const { groups } = await client.call(OffsetFetch, 9, {
      groupId: "",
      topics: [],
      groups: [{ groupId: this.#group, memberId: null, memberEpoch: -1, topics: wanted }],
      requireStable: true,
    });
    const found = groups[0]?.topics[0]?.partitions[0];
    if (groups[0]?.errorCode !== ErrorCode.NONE || found?.errorCode !== ErrorCode.NONE)
      throw new Disconnected("the group's offsets are not told");
    const place = history.place(topic, partition);
    if (found.committedOffset < 0 && this.#mayExpire) {
      const reset = this.actor.begin("reset", name).inGroup(this.#groupNumber);
      reset.resets(place, 0);
      reset.ok(this.actor.nowMs);
    }
    fetch.committed(place, found.committedOffset);
    fetch.ok(this.actor.nowMs);
    const start = await this.#consumer.end(client, ListedOffset.earliest);
    history.startSeen(topic, partition, start);
    return Math.max(found.committedOffset, start);
  }

  /** What there is, in one transaction. False: where the group is now must be asked. */
  async #transform(producer: TransactionalProducer): Promise<boolean> {
    const { random, history } = this.actor;
    const { topic, partition } = this.#source;
    const from = this.#position;
    const seen: { readonly at: number; readonly value: string }[] = [];
    const next = await producer.ask((client) => {
      seen.length = 0;
      return this.#consumer.fetch(client, offset(from), (value, at) => {
        if (seen.length >= recordsMax) return;
        history.observed(value, { topic, partition, offset: at });
        seen.push({ at, value });
      });
    });
    const last = seen.at(-1);
    if (next === null) return false;
    const position = seen.length < recordsMax ? next : (last?.at ?? from) + 1;
    const isWanted = this.actor.isWanted(TxnOffsetCommit) || this.actor.isWanted(AddOffsetsToTxn);
    if (position === from && !isWanted) return true;
    const place = history.place(topic, partition);
    const isCommitted = random.chance(0.8);
    const isPerformed = await this.perform(producer, {
      batches: outputBatches(this.actor, seen.length, {
        targets: this.#targets,
        number: this.#number,
        nextOrder: () => this.#nextOrder++,
      }),
      offsets: {
        group: this.#group,
        topic,
        progress: [[partition, position]],
        memberId: "",
        epoch: -1,
        tell: (operation) => {
          operation.inGroup(this.#groupNumber);
          for (const { at, value } of seen) operation.handled(place, at, recordName(value));
          operation.commits(place, position);
        },
      },
      isCommitted,
    });
    if (isPerformed && isCommitted) this.#position = position;
    return isPerformed;
  }
}
