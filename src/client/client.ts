/**
 * The client: one view of a cluster, and the producers, consumers and admins that work with it. Closing it
 * closes them all.
 */
import { Admin } from "./admin.ts";
import { Cluster } from "./cluster.ts";
import { Consumer } from "./consumer.ts";
import type { ConsumerOptions } from "./consumer-options.ts";
import { DeadLetters } from "./dead-letters/dead-letters.ts";
import { GroupConsumer } from "./group/group-consumer.ts";
import type { GroupConsumerOptions } from "./group/options.ts";
import { Once, type OnceOptions } from "./share/once.ts";
import { Queue, type QueueOptions } from "./share/queue.ts";
import type { ShareConsumerOptions } from "./share/options.ts";
import { ShareConsumer } from "./share/share-consumer.ts";
import type { ClientOptions, ProducerOptions, TransactionalProducerOptions } from "./options.ts";
import { Producer } from "./producer.ts";
import { type ClientPorts, clientSettings } from "./settings.ts";
import { TransactionalProducer } from "./transactional-producer.ts";

/** Throws `OptionError`. Connects when first needed, or with `connect`. */
export function createClient(options: ClientOptions, ports: ClientPorts): Client {
  return new Client(new Cluster(clientSettings(options, ports)));
}

export class Client implements AsyncDisposable {
  readonly #cluster: Cluster;
  /** What was made here and is not closed. */
  readonly #open = new Set<{ close(): Promise<void> }>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /**
   * Reaches a broker now, with one attempt at each bootstrap address, so that a wrong address is known at
   * once. Rejects with `NoBrokerError` or `NotKafkaError`.
   */
  connect(): Promise<void> {
    return this.#cluster.connect();
  }

  /** Throws `OptionError`. Connects when the first record is sent, or the first transaction begun. */
  producer(options: TransactionalProducerOptions): TransactionalProducer;
  producer(options?: ProducerOptions): Producer;
  producer(options: ProducerOptions | TransactionalProducerOptions = {}): Producer | TransactionalProducer {
    const onClose = (): void => void this.#open.delete(producer);
    const producer =
      "transactionalId" in options
        ? new TransactionalProducer(this.#cluster, options, onClose)
        : new Producer(this.#cluster, options, onClose);
    this.#open.add(producer);
    return producer;
  }

  /** Throws `OptionError`. Reads, and with `group` joins, from when its first record is asked for. */
  consumer(options: GroupConsumerOptions): GroupConsumer;
  consumer(options: ConsumerOptions): Consumer;
  consumer(options: GroupConsumerOptions | ConsumerOptions): GroupConsumer | Consumer {
    const onClose = (): void => void this.#open.delete(consumer);
    const consumer: GroupConsumer | Consumer =
      "group" in options
        ? new GroupConsumer(this.#cluster, options, onClose)
        : new Consumer(this.#cluster, options, onClose);
    this.#open.add(consumer);
    return consumer;
  }

  /** A worker of a share group. Throws `OptionError`. Joins when its first message is asked for. */
  shareConsumer(options: ShareConsumerOptions): ShareConsumer {
    return this.#worker(options, () => undefined);
  }

  #worker(options: ShareConsumerOptions, onClose: () => void): ShareConsumer {
    const worker: ShareConsumer = new ShareConsumer(this.#cluster, options, () => {
      this.#open.delete(worker);
      onClose();
    });
    this.#open.add(worker);
    return worker;
  }

  /** A queue by name: a topic, the share group that works on it, and what both are configured to. Throws `OptionError`. */
  queue(name: string, options: QueueOptions = {}): Queue {
    const queue = new Queue(
      name,
      options,
      {
        admin: () => this.admin(),
        producer: () => this.producer(),
        worker: (of, onClose) => this.#worker(of, onClose),
        deadLetters: (topic) => this.deadLetters(topic),
      },
      () => this.#open.delete(queue),
    );
    this.#open.add(queue);
    return queue;
  }

  /** For handlers of messages whose effects shall count once. Throws `OptionError`. */
  once(options: OnceOptions): Once {
    const once = new Once(
      this.#cluster,
      options,
      () => this.admin(),
      () => this.#open.delete(once),
    );
    this.#open.add(once);
    return once;
  }

  /** The dead letters in a topic: to look at, send again or drop. */
  deadLetters(topic: string): DeadLetters {
    return new DeadLetters(this.#cluster, topic, () => this.admin());
  }

  admin(): Admin {
    const admin = new Admin(this.#cluster, () => this.#open.delete(admin));
    this.#open.add(admin);
    return admin;
  }

  /** Rejects with what the first of them failed with; all are closed then, too. */
  async close(): Promise<void> {
    const closing = await Promise.allSettled([...this.#open].map((each) => each.close()));
    this.#cluster.close();
    const failed = closing.find((each) => each.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
