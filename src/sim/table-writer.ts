/** The one writer of a compacted topic of one partition: values and tombstones for few keys, one batch at a time. */
import { NO_TOPIC_ID, partitionIndex, producerEpoch, producerId } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { buildBatch } from "../record/builder.ts";
import type { Actor } from "./actor.ts";
import { Disconnected, type Caller } from "./client.ts";
import { recordFacts } from "./history.ts";
import type { TableHistory } from "./table-history.ts";

const keyCount = 12;

interface Batch {
  readonly sequence: number;
  readonly count: number;
  readonly bytesFor: (id: number) => Uint8Array;
  readonly acknowledged: (baseOffset: number) => void;
}

export class TableWriter {
  readonly #actor: Actor;
  readonly #topic: string;
  readonly #history: TableHistory;
  #id = -1;
  #nextSequence = 0;
  #unacked: Batch | null = null;

  constructor(actor: Actor, topic: string, history: TableHistory) {
    this.#actor = actor;
    this.#topic = topic;
    this.#history = history;
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver() || this.#unacked !== null) {
      try {
        await this.#session(isOver);
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        await this.#actor.pause(20);
      }
      if (!this.#actor.hasDied()) continue;
      // What was under way comes before whatever the next process writes, or never.
      await this.#actor.settle(15_000);
      this.#id = -1;
      this.#nextSequence = 0;
      this.#unacked = null;
    }
  }

  async #session(isOver: () => boolean): Promise<void> {
    const client = await this.#actor.connect("table-writer");
    try {
      if (this.#id < 0) {
        const answer = await client.call(InitProducerId, 4, {
          transactionalId: null,
          transactionTimeoutMs: 60_000,
          producerId: producerId(-1),
          producerEpoch: producerEpoch(-1),
        });
        if (answer.errorCode !== ErrorCode.NONE) throw new Disconnected("there is no id yet");
        this.#id = answer.producerId;
      }
      for (;;) {
        if (this.#unacked === null && isOver()) return;
        this.#unacked ??= this.#make();
        await this.#send(client, this.#unacked);
        this.#unacked = null;
        if (!isOver()) await this.#actor.rest(2);
      }
    } finally {
      client.close();
    }
  }

  #make(): Batch {
    const { random, history } = this.#actor;
    const count = random.between(1, 4);
    const timestamp = this.#actor.clock.wallMs();
    const operation = this.#actor.begin("send");
    const place = history.place(this.#topic, 0);
    const written = Array.from({ length: count }, () => {
      const key = `k${random.below(keyCount)}`;
      const write = this.#history.attempt(key, random.below(4) === 0);
      const name = `${this.#topic}-${write.order}`;
      const value = write.isTombstone ? null : `${name}-${"x".repeat(random.below(200))}`;
      const facts = { ...recordFacts(value ?? "", timestamp, key), isTombstone: write.isTombstone };
      const step = operation.sends(place, name, facts);
      return {
        write,
        step,
        record: { key, value, timestamp, headers: [{ key: "n", value: Buffer.from(name) }] },
      };
    });
    const sequence = this.#nextSequence;
    this.#nextSequence += count;
    return {
      sequence,
      count,
      bytesFor: (id) =>
        buildBatch(
          written.map(({ record }) => record),
          { producerId: producerId(id), producerEpoch: producerEpoch(0), baseSequence: sequence },
        ),
      acknowledged: (baseOffset) => {
        written.forEach(({ write, step }, index) => {
          this.#history.acknowledged(write);
          // −1: a retry of what the broker took so long ago that it does not know where.
          if (baseOffset >= 0) operation.stored(step, baseOffset + index);
        });
        operation.ok(this.#actor.nowMs);
      },
    };
  }

  async #send(client: Caller, batch: Batch): Promise<void> {
    const answer = await client.call(Produce, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [
        {
          name: this.#topic,
          topicId: NO_TOPIC_ID,
          partitionData: [{ index: partitionIndex(0), records: [batch.bytesFor(this.#id)] }],
        },
      ],
    });
    const result = answer.responses[0]?.partitionResponses[0];
    const code = result?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
    if (result !== undefined && code === ErrorCode.NONE) return batch.acknowledged(result.baseOffset);
    const { name, retriable } = errorFacts(code);
    if (!retriable) this.#actor.history.violations.push(`the writer of ${this.#topic} was refused: ${name}`);
    throw new Disconnected(`an answer asked to try again: ${name}`);
  }
}
