/**
 * Handlers whose effects count once though their messages may come more than once. A handling is a transaction that
 * begins with a claim: the message's id, in a topic of its own. Claims of one id have an order, the log's, and the
 * first that is committed wins; a later one waits until earlier ones are decided, and gives up when one of them counts.
 * It promises: what handlers send by `send` for one id, readers of committed records see once, as long as the id is within
 * the window, whatever dies. It cannot promise anything of what a handler does elsewhere: that may happen more than once.
 */
import type { Admin } from "../admin.ts";
import type { Cluster } from "../cluster.ts";
import { BrokerRefusedError, OptionError } from "../errors.ts";
import type { OutgoingRecord, RecordMetadata } from "../records.ts";
import { atLeast } from "../settings.ts";
import { TransactionAbortedError } from "../transaction-errors.ts";
import { TransactionalProducer } from "../transactional-producer.ts";
import { claimPartition, DoneWindow } from "./done-window.ts";
import type { Message } from "./message.ts";
import type { ShareHandle, ShareHandlerContext } from "./work.ts";

export interface OnceOptions {
  /**
   * Where ids are kept, all in its first partition; made when it is missing: compacted, and without what is older than
   * `windowMs`.
   */
  readonly topic: string;
  /**
   * What makes two messages the same; at most 1,024 bytes. Default: the place in the topic, which tells redeliveries of a
   * message, and not that somebody sent it twice.
   */
  readonly id?: ((message: Message) => string) | undefined;
  /** How long an id is remembered; default a day. */
  readonly windowMs?: number | undefined;
  /** How many ids are remembered; default 100,000. */
  readonly windowIds?: number | undefined;
  /** How long a handler may take; after that the broker aborts what it did. Default 60,000. */
  readonly handlerTimeoutMs?: number | undefined;
}

export interface OnceContext extends ShareHandlerContext {
  /** In the transaction of the handling: seen when that is committed. */
  readonly send: (record: OutgoingRecord) => Promise<RecordMetadata>;
}

const idBytesMax = 1_024;

/** Somebody else's handling of the same id counts. */
class AlreadyDone extends Error {
  override readonly name = "AlreadyDone";
}

export class Once implements AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #admin: () => Admin;
  readonly #onClose: () => void;
  readonly #topic: string;
  readonly #id: (message: Message) => string;
  readonly #windowMs: number;
  readonly #windowIds: number;
  readonly #handlerTimeoutMs: number;
  readonly #name: string;
  readonly #producers = new Set<TransactionalProducer>();
  /** Those that have no transaction. */
  readonly #idle: TransactionalProducer[] = [];
  #window: Promise<DoneWindow> | undefined = undefined;
  #skipped = 0;

  /** Throws `OptionError`. */
  constructor(cluster: Cluster, options: OnceOptions, admin: () => Admin, onClose: () => void) {
    const { topic, windowMs = 86_400_000, windowIds = 100_000, handlerTimeoutMs = 60_000 } = options;
    if (typeof topic !== "string" || topic === "") throw new OptionError("once names a topic for ids.");
    this.#cluster = cluster;
    this.#admin = admin;
    this.#onClose = onClose;
    this.#topic = topic;
    this.#id = options.id ?? (({ topicId, partition, offset }) => `${topicId}/${partition}/${offset}`);
    this.#windowMs = atLeast("windowMs", windowMs, 1_000);
    this.#windowIds = atLeast("windowIds", windowIds, 1);
    this.#handlerTimeoutMs = atLeast("handlerTimeoutMs", handlerTimeoutMs, 100);
    // No other process may have it, or the two would put each other out.
    this.#name = `${topic}.${Buffer.from(cluster.settings.random.bytes(9)).toString("base64url")}`;
  }

  /** Messages whose handler was not called, since their ids were done. */
  get skipped(): number {
    return this.#skipped;
  }

  /** For `run` and `work`: calls `handle` unless the message's id is done, and returns when it is. */
  handler(handle: (message: Message, context: OnceContext) => unknown): ShareHandle {
    return async (message, context) => {
      const id = this.#id(message);
      if (typeof id !== "string" || id === "" || Buffer.byteLength(id) > idBytesMax) {
        throw new OptionError(`The id of a message has 1 to ${idBytesMax} bytes.`);
      }
      const window = await this.#current();
      if (window.isDone(id)) this.#skipped++;
      else await this.#handleOnce(window, id, message, context, handle);
    };
  }

  async close(): Promise<void> {
    this.#onClose();
    await Promise.allSettled([...this.#producers].map((producer) => producer.close()));
    await (await this.#window?.catch(() => undefined))?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #current(): Promise<DoneWindow> {
    const known = this.#window;
    const before = await known;
    if (before?.hasFailed === true && this.#window === known) {
      // Else every message would fail until none may be delivered any more.
      this.#window = undefined;
      await before.close();
    }
    this.#window ??= this.#open().catch((cause: unknown) => {
      this.#window = undefined;
      throw cause;
    });
    return this.#window;
  }

  async #handleOnce(
    window: DoneWindow,
    id: string,
    message: Message,
    context: ShareHandlerContext,
    handle: (message: Message, context: OnceContext) => unknown,
  ): Promise<void> {
    const producer = this.#idle.pop() ?? this.#make();
    try {
      await producer.transaction(async (tx) => {
        const claim = await tx.send({ topic: this.#topic, partition: claimPartition, key: id, value: "" });
        if (await window.isTaken(id, claim.offset, this.#handlerTimeoutMs)) throw new AlreadyDone();
        await handle(message, { ...context, send: (record) => tx.send(record) });
        // Another worker may have the message by now: let it be the one.
        context.signal.throwIfAborted();
      });
    } catch (cause) {
      if (!(cause instanceof TransactionAbortedError)) throw cause;
      if (!(cause.cause instanceof AlreadyDone)) throw cause.cause instanceof Error ? cause.cause : cause;
      this.#skipped++;
    } finally {
      this.#idle.push(producer);
    }
  }

  #make(): TransactionalProducer {
    const producer = new TransactionalProducer(this.#cluster, {
      transactionalId: `${this.#name}.${this.#producers.size}`,
      transactionTimeoutMs: this.#handlerTimeoutMs,
    });
    this.#producers.add(producer);
    return producer;
  }

  async #open(): Promise<DoneWindow> {
    await using admin = this.#admin();
    const configs = { "cleanup.policy": "compact,delete", "retention.ms": String(this.#windowMs) };
    try {
      await admin.createTopic({ topic: this.#topic, partitions: 1, configs });
    } catch (cause) {
      if (!(cause instanceof BrokerRefusedError) || cause.code !== "TOPIC_ALREADY_EXISTS") throw cause;
    }
    await this.#cluster.askTopic(this.#topic, { searchMs: 10_000 });
    const window = new DoneWindow(this.#cluster, this.#topic, {
      idsMax: this.#windowIds,
      ms: this.#windowMs,
    });
    await window.start();
    return window;
  }
}
