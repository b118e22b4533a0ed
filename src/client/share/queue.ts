/**
 * A queue as somebody uses it who does not want to know of topics and groups: a name to send to and to work on. It makes the
 * topic when it is missing and sees that no message is passed over that was sent before the first worker came.
 */
import type { Admin } from "../admin.ts";
import type { DeadLetters } from "../dead-letters/dead-letters.ts";
import { BrokerRefusedError, ClosedError, OptionError } from "../errors.ts";
import type { Producer } from "../producer.ts";
import type { Bytes, OutgoingHeaders, RecordMetadata } from "../records.ts";
import type { ShareConsumerOptions } from "./options.ts";
import type { ShareConsumer } from "./share-consumer.ts";
import type { ShareHandle, ShareRunOptions } from "./work.ts";

export interface QueueOptions extends Omit<ShareConsumerOptions, "group" | "topic"> {
  /** Who works on it together; default: the queue's name. Each group gets every message. */
  readonly group?: string | undefined;
  /** Of the topic, when it is made; default: the broker's. How many workers there may be does not depend on it. */
  readonly partitions?: number | undefined;
  /**
   * Where messages go that are rejected, or were delivered too often: a topic, made when missing, whose name begins with
   * "dlq." unless the broker is set otherwise; true: "dlq." and the queue's name. Default: nowhere, and the broker
   * counts what it drops. The broker has to know KIP-1191 (Holdfast, Apache Kafka 4.4).
   */
  readonly deadLetters?: string | true | undefined;
  /** How often a message is delivered at most; default: the broker's (5). */
  readonly deliveriesMax?: number | undefined;
  /** How long a message is locked for a worker that does not renew it, in ms; default: the broker's (30,000). */
  readonly lockMs?: number | undefined;
}

export interface QueueMessage {
  readonly value: Bytes | null;
  readonly key?: Bytes | null | undefined;
  readonly headers?: OutgoingHeaders | undefined;
}

export interface QueueRooms {
  readonly admin: () => Admin;
  readonly producer: () => Producer;
  readonly worker: (options: ShareConsumerOptions, onClose: () => void) => ShareConsumer;
  readonly deadLetters: (topic: string) => DeadLetters;
}

export class Queue implements AsyncDisposable {
  readonly name: string;
  readonly group: string;
  readonly #options: QueueOptions;
  readonly #deadLetterTopic: string | undefined;
  readonly #rooms: QueueRooms;
  readonly #onClose: () => void;
  readonly #workers = new Set<ShareConsumer>();
  #producer: Producer | undefined = undefined;
  #topicMade: Promise<void> | undefined = undefined;
  #groupMade: Promise<void> | undefined = undefined;
  #isClosed = false;

  /** Throws `OptionError`. */
  constructor(name: string, options: QueueOptions, rooms: QueueRooms, onClose: () => void) {
    if (typeof name !== "string" || name === "") throw new OptionError("A queue has a name.");
    this.#deadLetterTopic = options.deadLetters === true ? `dlq.${name}` : options.deadLetters;
    if (this.#deadLetterTopic === name) {
      throw new OptionError(`The dead letters of queue "${name}" go to another topic than the queue itself.`);
    }
    this.name = name;
    this.group = options.group ?? name;
    this.#options = options;
    this.#rooms = rooms;
    this.#onClose = onClose;
  }

  /** Resolves when the message is durable. Rejects with `DeliveryError`. */
  async send(message: Bytes | QueueMessage): Promise<RecordMetadata> {
    await this.#makeTopic();
    this.#refuseWhenClosed();
    this.#producer ??= this.#rooms.producer();
    const isPlain = typeof message === "string" || message instanceof Uint8Array;
    return this.#producer.send({ topic: this.name, ...(isPlain ? { value: message } : message) });
  }

  /**
   * Handles messages until the queue is closed: as `ShareConsumer.run`. Several calls, and several processes, share the
   * messages.
   */
  async work(handle: ShareHandle, options: ShareRunOptions = {}): Promise<void> {
    let worker: ShareConsumer;
    try {
      worker = await this.worker();
    } catch (cause) {
      if (this.#isClosed) return;
      throw cause;
    }
    try {
      await worker.run(handle, options);
    } finally {
      await worker.close();
    }
  }

  /** Workers of this object that are not closed. */
  get workerCount(): number {
    return this.#workers.size;
  }

  /** A worker to be used by hand; close it, or the queue. */
  async worker(): Promise<ShareConsumer> {
    await this.#makeGroup();
    // Nobody would close it.
    this.#refuseWhenClosed();
    const { partitions: _p, deadLetters: _d, deliveriesMax: _n, lockMs: _l, ...rest } = this.#options;
    const options = { ...rest, group: this.group, topic: this.name };
    const worker: ShareConsumer = this.#rooms.worker(options, () => this.#workers.delete(worker));
    this.#workers.add(worker);
    return worker;
  }

  /** Throws `OptionError` when the queue was given no `deadLetters`. */
  get deadLetters(): DeadLetters {
    const topic = this.#deadLetterTopic;
    if (topic === undefined) {
      throw new OptionError(`Queue "${this.name}" was given no dead-letter topic (deadLetters).`);
    }
    return this.#rooms.deadLetters(topic);
  }

  /** Its workers finish what they have; see `ShareConsumer.close`. What was sent is delivered before. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#onClose();
    await Promise.all([...this.#workers].map((worker) => worker.close()));
    await this.#producer?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #refuseWhenClosed(): void {
    if (this.#isClosed) throw new ClosedError(`Queue "${this.name}" was closed.`);
  }

  #makeTopic(): Promise<void> {
    const { partitions } = this.#options;
    this.#topicMade ??= this.#withAdmin((admin) =>
      make(admin, { topic: this.name, ...(partitions === undefined ? {} : { partitions }) }),
    ).catch((cause: unknown) => {
      this.#topicMade = undefined;
      throw cause;
    });
    return this.#topicMade;
  }

  #makeGroup(): Promise<void> {
    this.#groupMade ??= this.#configure().catch((cause: unknown) => {
      this.#groupMade = undefined;
      throw cause;
    });
    return this.#groupMade;
  }

  async #configure(): Promise<void> {
    await this.#makeTopic();
    const { deliveriesMax, lockMs } = this.#options;
    const deadLetters = this.#deadLetterTopic;
    const set: { [name: string]: string } = {
      // What was sent before the first worker came is work as well.
      "share.auto.offset.reset": "earliest",
      // Else a worker gets what an aborted transaction left, as when a redrive dies.
      "share.isolation.level": "read_committed",
    };
    if (deliveriesMax !== undefined) set["share.delivery.count.limit"] = String(deliveriesMax);
    if (lockMs !== undefined) set["share.record.lock.duration.ms"] = String(lockMs);
    await this.#withAdmin(async (admin) => {
      if (deadLetters !== undefined) {
        await make(admin, { topic: deadLetters, configs: { "errors.deadletterqueue.group.enable": "true" } });
        set["errors.deadletterqueue.topic.name"] = deadLetters;
        // A letter without its message could not be sent again.
        set["errors.deadletterqueue.copy.record.enable"] = "true";
      }
      await admin.alterConfigs([{ group: this.group, set }]);
    });
  }

  async #withAdmin(work: (admin: Admin) => Promise<void>): Promise<void> {
    await using admin = this.#rooms.admin();
    await work(admin);
  }
}

async function make(admin: Admin, topic: Parameters<Admin["createTopic"]>[0]): Promise<void> {
  try {
    await admin.createTopic(topic);
  } catch (cause) {
    if (!(cause instanceof BrokerRefusedError) || cause.code !== "TOPIC_ALREADY_EXISTS") throw cause;
  }
}
