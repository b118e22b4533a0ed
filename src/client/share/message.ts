/**
 * One message as a worker has it: the record, how often it was delivered, and what may be said of it. It is locked for
 * this worker for a while; who says nothing in time loses the lock, and the message is delivered again.
 */
import type { IncomingHeader } from "../incoming-record.ts";
import type { Delivery } from "./delivery.ts";

export interface ReleaseOptions {
  /**
   * How long it stays here before it may be delivered again, at most 15 minutes; default 0. The protocol has no delay:
   * this process keeps the lock until then. When it ends before, the message comes back early.
   */
  readonly delayMs?: number | undefined;
}

/** Where the words of a message go. */
export interface Desk {
  say(delivery: Delivery, word: "accept" | "release" | "reject", delayMs?: number): Promise<void>;
  renew(delivery: Delivery): Promise<void>;
}

export class Message {
  readonly #delivery: Delivery;
  readonly #desk: Desk;

  constructor(delivery: Delivery, desk: Desk) {
    this.#delivery = delivery;
    this.#desk = desk;
  }

  get topic(): string {
    return this.#delivery.record.topic;
  }
  /** Another one for a topic that was deleted and made again under its name. */
  get topicId(): string {
    return this.#delivery.place.topicId;
  }
  get partition(): number {
    return this.#delivery.record.partition;
  }
  get offset(): number {
    return this.#delivery.record.offset;
  }
  /** Ms since 1970; −1: none. */
  get timestampMs(): number {
    return this.#delivery.record.timestampMs;
  }
  get key(): Buffer | null {
    return this.#delivery.record.key;
  }
  get value(): Buffer | null {
    return this.#delivery.record.value;
  }
  get headers(): readonly IncomingHeader[] {
    return this.#delivery.record.headers;
  }
  /** 1: this is the first delivery, as far as the broker knows; it counts those that nobody handled as well. */
  get deliveryCount(): number {
    return this.#delivery.deliveryCount;
  }
  /** Aborted when the lock is lost, so that another worker may be handling the message. */
  get signal(): AbortSignal {
    return this.#delivery.signal;
  }

  /**
   * It is done and is not delivered again. Resolves when the broker has that durably; rejects with `AcknowledgeError`
   * when it does not count, or nobody knows whether it does.
   */
  accept(): Promise<void> {
    return this.#desk.say(this.#delivery, "accept");
  }

  /** It shall be delivered again, as often as the group's limit allows. Resolves and rejects as `accept`. */
  release({ delayMs = 0 }: ReleaseOptions = {}): Promise<void> {
    return this.#desk.say(this.#delivery, "release", delayMs);
  }

  /**
   * It can never be handled: it is not delivered again, and becomes a dead letter where the group has a topic for those.
   * The protocol carries no reason; `reason` is logged here. Resolves and rejects as `accept`.
   */
  reject(reason?: string): Promise<void> {
    this.#delivery.rejectReason = reason;
    return this.#desk.say(this.#delivery, "reject");
  }

  /** The lock begins anew. `run` does so by itself. Rejects with `AcknowledgeError` when it was lost already. */
  renew(): Promise<void> {
    return this.#desk.renew(this.#delivery);
  }

  toJSON(): unknown {
    return { ...(this.#delivery.record.toJSON() as object), deliveryCount: this.deliveryCount };
  }

  /** How `console.log` shows it. */
  [Symbol.for("nodejs.util.inspect.custom")](): unknown {
    return this.toJSON();
  }
}
