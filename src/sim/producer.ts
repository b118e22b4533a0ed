/**
 * A simulated idempotent producer of one partition: sends batches with several in flight, and after any
 * doubt sends all that is not acknowledged again, in order and with the same sequence numbers.
 */
import type { Operation } from "../audit/operation.ts";
import { NO_TOPIC_ID, partitionIndex, producerEpoch, producerId } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { Codec } from "../record/batch.ts";
import { buildBatch } from "../record/builder.ts";
import type { Actor } from "./actor.ts";
import { Disconnected } from "./client.ts";
import { recordFacts, recordName } from "./history.ts";

const produceVersion = 9;
const initVersion = 4;
const inFlightMax = 5;

interface Sent {
  readonly sequence: number;
  readonly values: readonly string[];
  readonly timestampMs: number;
  /** As the checker is told it, with a step for each value; it ends when the batch is acknowledged. */
  readonly operation: Operation;
  readonly steps: readonly number[];
}

export interface ProducerOptions {
  readonly number: number;
  readonly topic: string;
  readonly partition: number;
}

export class SimProducer {
  readonly #actor: Actor;
  readonly #options: ProducerOptions;
  #id = -1;
  #nextSequence = 0;
  #nextOrder = 0;
  /** Not acknowledged, oldest first. */
  #unacked: Sent[] = [];

  constructor(actor: Actor, options: ProducerOptions) {
    this.#actor = actor;
    this.#options = options;
  }

  /** Writes until `isOver`, then until everything is acknowledged. */
  async run(isOver: () => boolean): Promise<void> {
    while (!isOver() || this.#unacked.length > 0) {
      try {
        await this.#session(isOver);
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        await this.#actor.pause(20);
      }
      if (this.#actor.hasDied()) this.#forget();
    }
  }

  /** One batch, until it is acknowledged. */
  writeOnce(): Promise<void> {
    this.#make();
    return this.run(() => true);
  }

  /** Another process takes its place; what it had in flight stays unknown. */
  #forget(): void {
    this.#id = -1;
    this.#nextSequence = 0;
    this.#unacked = [];
  }

  /** One connection: ends when it is cut, or when an answer asks to try again. */
  async #session(isOver: () => boolean): Promise<void> {
    const client = await this.#actor.connect(`producer-${this.#options.number}`);
    try {
      if (this.#id < 0) {
        const answer = await client.call(InitProducerId, initVersion, {
          transactionalId: null,
          transactionTimeoutMs: 60_000,
          producerId: producerId(-1),
          producerEpoch: producerEpoch(-1),
        });
        if (answer.errorCode !== ErrorCode.NONE) return;
        this.#id = answer.producerId;
      }
      const inFlight = new Set<Promise<void>>();
      let broken: unknown = null;
      const send = (sent: Sent): void => {
        const one = this.#send(client, sent).then(
          (again) => {
            if (again) broken ??= new Disconnected("an answer asked to try again");
          },
          (cause: unknown) => {
            broken ??= cause;
          },
        );
        inFlight.add(one);
        void one.finally(() => inFlight.delete(one));
      };
      for (const sent of this.#unacked.slice()) send(sent);
      while (broken === null && (!isOver() || this.#unacked.length > 0)) {
        if (inFlight.size >= inFlightMax || isOver()) await Promise.race(inFlight);
        else send(this.#make());
        if (!isOver() && this.#actor.random.below(3) === 0) await this.#actor.rest(4);
      }
      await Promise.all(inFlight);
      if (broken !== null) throw broken;
    } finally {
      client.close();
    }
  }

  #make(): Sent {
    const { number, topic, partition } = this.#options;
    const count = 1 + this.#actor.random.below(4);
    const values: string[] = [];
    const timestampMs = this.#actor.clock.wallMs();
    const operation = this.#actor.begin("send");
    const place = this.#actor.history.place(topic, partition);
    const steps: number[] = [];
    for (let index = 0; index < count; index++) {
      const order = this.#nextOrder++;
      const filler = "x".repeat(this.#actor.random.below(8) === 0 ? this.#actor.random.below(30_000) : 20);
      const value = `${topic}-${partition}-${number}-${order}-${filler}`;
      values.push(value);
      this.#actor.history.attempted(value, { topic, partition, producer: number, order });
      steps.push(operation.sends(place, recordName(value), recordFacts(value, timestampMs)));
    }
    const sent = { sequence: this.#nextSequence, values, timestampMs, operation, steps };
    this.#nextSequence += count;
    this.#unacked.push(sent);
    return sent;
  }

  /** True: try again on a new connection. */
  async #send(client: Awaited<ReturnType<Actor["connect"]>>, sent: Sent): Promise<boolean> {
    const { topic, partition } = this.#options;
    const batch = buildBatch(
      sent.values.map((value) => ({ value, timestamp: sent.timestampMs })),
      {
        producerId: producerId(this.#id),
        producerEpoch: producerEpoch(0),
        baseSequence: sent.sequence,
        codec: this.#actor.random.below(4) === 0 ? Codec.gzip : Codec.none,
      },
    );
    const answer = await client.call(Produce, produceVersion, {
      transactionalId: null,
      acks: this.#actor.random.below(2) === 0 ? 1 : -1,
      timeoutMs: 30_000,
      topicData: [
        {
          name: topic,
          topicId: NO_TOPIC_ID,
          partitionData: [{ index: partitionIndex(partition), records: [batch] }],
        },
      ],
    });
    const result = answer.responses[0]?.partitionResponses[0];
    if (result === undefined) throw new Error("a Produce answer names the partition that was asked for");
    if (result.errorCode === ErrorCode.NONE) {
      this.#actor.history.acknowledged(sent.values, { topic, partition, offset: result.baseOffset });
      sent.steps.forEach((step, index) => sent.operation.stored(step, result.baseOffset + index));
      sent.operation.ok(this.#actor.nowMs);
      this.#actor.record(`ack ${topic}/${partition}@${result.baseOffset} +${sent.values.length}`);
      this.#unacked = this.#unacked.filter((other) => other !== sent);
      return false;
    }
    const { name, retriable } = errorFacts(result.errorCode);
    this.#actor.record(`refused ${topic}/${partition} ${name}`);
    // A request behind a refused one is out of order; the resend begins with the refused one.
    if (retriable || result.errorCode === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER) return true;
    this.#actor.history.violations.push(
      `a producer that did nothing wrong was refused: ${name} at sequence ${sent.sequence} of ${topic}/${partition} ${String(result.errorMessage)}`,
    );
    this.#unacked = [];
    return true;
  }
}
