/**
 * Handlers of a worker, several at once. What one returns accepts its message and what it throws releases it; nothing is
 * accepted whose handler did not return. A handler that says something of its message by itself has the last word.
 */
import type { Timer } from "../../base/ports.ts";
import { OptionError } from "../errors.ts";
import type { ClientSettings } from "../settings.ts";
import { atLeast } from "../settings.ts";
import type { Delivery } from "./delivery.ts";
import { type AcknowledgeError, Reject } from "./errors.ts";
import type { Message } from "./message.ts";
import { delayMsMax, orLogged } from "./options.ts";

export interface ShareHandlerContext {
  /** Aborted when the lock is lost, so that another worker may be handling the message, and at the end of `closeTimeoutMs`. */
  readonly signal: AbortSignal;
}

export type ShareHandle = (message: Message, context: ShareHandlerContext) => unknown;

/** A handler threw, and what became of its message. */
export interface HandlerFailure {
  readonly message: Message;
  readonly cause: unknown;
  readonly fate: "released" | "rejected";
}

export interface ShareRunOptions {
  /** How many handlers at once; default 1. */
  readonly concurrency?: number | undefined;
  /**
   * How long a message whose handler threw waits before it may be delivered again, in ms, or how long for which delivery;
   * at most 15 minutes. It waits in this process. Default 0.
   */
  readonly retryDelayMs?: number | ((deliveryCount: number) => number) | undefined;
  /** A message whose handler throws at this delivery is rejected; default: the limit of the group, at the broker. */
  readonly deliveriesMax?: number | undefined;
  /** Told of each handler that threw; default: the client's log. */
  readonly onFailed?: ((failure: HandlerFailure) => void) | undefined;
  /** How long the lock of one message is renewed; after that another worker may get it. Default an hour. */
  readonly renewMsMax?: number | undefined;
}

export interface WorkAccess {
  readonly settings: ClientSettings;
  /** A handling begins; returns what to call at its end. */
  readonly begin: () => () => void;
}

interface Running {
  readonly delivery: Delivery;
  readonly message: Message;
}

export class Work {
  readonly concurrency: number;
  readonly #handle: ShareHandle;
  readonly #options: ShareRunOptions;
  readonly #renewMsMax: number;
  readonly #access: WorkAccess;
  readonly #running = new Set<Running>();
  #waiters: (() => void)[] = [];

  /** Throws `OptionError`. */
  constructor(handle: ShareHandle, options: ShareRunOptions, access: WorkAccess) {
    const { concurrency = 1, deliveriesMax, renewMsMax = 3_600_000, retryDelayMs = 0 } = options;
    if (typeof handle !== "function")
      throw new OptionError("run is given a function that handles a message.");
    if (!Number.isInteger(concurrency) || concurrency < 1) {
      throw new OptionError(`concurrency is a whole number from 1 on, not ${String(concurrency)}.`);
    }
    if (deliveriesMax !== undefined) atLeast("deliveriesMax", deliveriesMax, 1);
    if (typeof retryDelayMs === "number" && !(retryDelayMs >= 0 && retryDelayMs <= delayMsMax)) {
      throw new OptionError(
        `retryDelayMs is from 0 to ${delayMsMax} (15 minutes), not ${String(retryDelayMs)}.`,
      );
    }
    this.#handle = handle;
    this.#options = options;
    this.#access = access;
    this.#renewMsMax = atLeast("renewMsMax", renewMsMax, 0);
    this.concurrency = concurrency;
  }

  /** Resolves when another may be started. */
  async room(): Promise<void> {
    while (this.#running.size >= this.concurrency) await this.#change();
  }

  start(delivery: Delivery, message: Message): void {
    const running = { delivery, message };
    this.#running.add(running);
    void this.#settle(running);
  }

  /** Resolves when all have come to an end. */
  async end(): Promise<void> {
    while (this.#running.size > 0) await this.#change();
  }

  /** As `end`, for so long; what has not finished then is released, and told so. */
  async endWithin(limitMs: number, reason: Error): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = this.#access.settings.clock.schedule(limitMs, late.resolve);
    await Promise.race([this.end(), late.promise]);
    timer.cancel();
    this.#giveUp(reason);
  }

  #giveUp(reason: Error): void {
    for (const { delivery, message } of this.#running) {
      if (delivery.state === "open") this.#quietly(message.release());
      delivery.abort(reason);
    }
    this.#running.clear();
    this.#tell();
  }

  async #settle(running: Running): Promise<void> {
    const { delivery, message } = running;
    const { clock } = this.#access.settings;
    const end = this.#access.begin();
    const timer: Timer = clock.schedule(this.#renewMsMax, () => {
      delivery.keepsLock = false;
    });
    try {
      await this.#handle(message, { signal: delivery.signal });
      if (delivery.state === "open") this.#quietly(message.accept());
    } catch (cause) {
      this.#failed(running, cause);
    } finally {
      timer.cancel();
      end();
      this.#running.delete(running);
      this.#tell();
    }
  }

  #failed({ delivery, message }: Running, cause: unknown): void {
    // What fails because it was told to stop, or after it had its say, changes nothing.
    if (delivery.state !== "open") return;
    const { deliveriesMax = Number.POSITIVE_INFINITY, onFailed } = this.#options;
    const isRejected = cause instanceof Reject || delivery.deliveryCount >= deliveriesMax;
    const why = cause instanceof Error ? cause.message : String(cause);
    if (isRejected) this.#quietly(message.reject(why));
    else this.#quietly(message.release({ delayMs: this.#delayFor(delivery.deliveryCount) }));
    const fate = isRejected ? "rejected" : "released";
    const { log } = this.#access.settings;
    if (onFailed !== undefined) orLogged(log, "onFailed", () => onFailed({ message, cause, fate }));
    else {
      const { topic, partition, offset, deliveryCount } = message;
      const facts = { topic, partition, offset, deliveryCount, fate, cause: why };
      log.warn("client.share.handler.failed", facts);
    }
  }

  #delayFor(deliveryCount: number): number {
    const { retryDelayMs = 0 } = this.#options;
    if (typeof retryDelayMs === "number") return retryDelayMs;
    const { log } = this.#access.settings;
    const delayMs = orLogged(log, "retryDelayMs", () => retryDelayMs(deliveryCount));
    return Math.min(delayMsMax, Math.max(0, Number(delayMs) || 0));
  }

  /** It is counted, told to `onAcknowledgeFailed`, and logged; the message comes again. */
  #quietly(said: Promise<void>): void {
    said.catch((cause: unknown) => {
      const { message } = cause as AcknowledgeError;
      this.#access.settings.log.warn("client.share.acknowledge.failed", { cause: message });
    });
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #tell(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
}
