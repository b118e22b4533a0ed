/**
 * What is said of messages, on its way to their brokers: each is said once, each promise settles with what became of it, and
 * a release that has to wait keeps its lock until then.
 */
import type { Timer } from "../../base/ports.ts";
import { ConsumerUsageError } from "../consumer-errors.ts";
import { OptionError } from "../errors.ts";
import type { ClientSettings } from "../settings.ts";
import { AcknowledgeType, type Wish } from "./acknowledgements.ts";
import type { Range } from "./acquired.ts";
import type { Delivery } from "./delivery.ts";
import { AcknowledgeError, type AcknowledgeWord } from "./errors.ts";
import type { SharePlace } from "./membership.ts";
import type { Desk } from "./message.ts";
import { delayMsMax, orLogged, type ShareSettings } from "./options.ts";
import type { ShareSession } from "./session.ts";

export interface WordCounts {
  /** Acknowledgements that the broker has durably. */
  accepted: number;
  released: number;
  rejected: number;
  /** Acknowledgements that did not count, or may not have. */
  failed: number;
}

export interface WordsAccess {
  readonly client: ClientSettings;
  readonly settings: ShareSettings;
  readonly counts: WordCounts;
  readonly isClosing: () => boolean;
  /** Nobody handles the message any more. */
  readonly onSaid: (delivery: Delivery) => void;
  readonly onLost: (delivery: Delivery, why: string) => void;
  /** The broker has it. */
  readonly onDone: (delivery: Delivery) => void;
  /** It is answered. */
  readonly onOver: (delivery: Delivery) => void;
}

type LastWord = Exclude<AcknowledgeWord, "renew">;
const countOf = { accept: "accepted", release: "released", reject: "rejected" } as const;

interface Delay {
  readonly timer: Timer;
  readonly done: PromiseWithResolvers<void>;
}

export class Words implements Desk {
  readonly #access: WordsAccess;
  readonly #delays = new Map<Delivery, Delay>();

  constructor(access: WordsAccess) {
    this.#access = access;
  }

  say(delivery: Delivery, word: LastWord, delayMs = 0): Promise<void> {
    return this.#told(this.#say(delivery, word, delayMs));
  }

  renew(delivery: Delivery): Promise<void> {
    if (delivery.state !== "open") return this.#told(Promise.reject(tooLate(delivery, "renew")));
    return this.#told(this.#renew(delivery));
  }

  /** By the clock, and nobody waits: what fails ends in a lock that is lost, and that is told. */
  renewQuietly(delivery: Delivery): void {
    this.#renew(delivery).catch((cause: unknown) => {
      this.#access.client.log.debug("client.share.renew.failed", { cause: (cause as Error).message });
    });
  }

  /** Of offsets that nobody handles. When it fails the lock runs out, which comes to the same. */
  sayOfRange(
    session: ShareSession,
    place: SharePlace,
    { first, last }: Range,
    what: "gap" | "release",
  ): void {
    const ignore = (): void => undefined;
    session.say({
      place,
      first,
      last,
      type: AcknowledgeType[what],
      delivery: undefined,
      giveUpMs: this.#nowMs + this.#access.settings.acknowledgeTimeoutMs,
      onDone: ignore,
      onFailed: ignore,
      isDoubtful: false,
      together: Number.POSITIVE_INFINITY,
    });
  }

  /** What waits is released now. */
  releaseDelayed(): void {
    for (const delivery of this.#delays.keys()) this.endDelay(delivery);
  }

  /** It is released now, unless its lock was lost. */
  endDelay(delivery: Delivery): void {
    const delay = this.#delays.get(delivery);
    if (delay === undefined) return;
    delay.timer.cancel();
    this.#delays.delete(delivery);
    const { resolve, reject } = delay.done;
    if (delivery.state === "delayed") this.#send(delivery, "release").then(resolve, reject);
    else reject(tooLate(delivery, "release"));
  }

  /** Who hears of failures in one place need not wait for each promise. */
  #told(promise: Promise<void>): Promise<void> {
    const { onAcknowledgeFailed } = this.#access.settings;
    if (onAcknowledgeFailed === undefined) return promise;
    promise.catch((cause: unknown) => {
      if (!(cause instanceof AcknowledgeError)) return;
      orLogged(this.#access.client.log, "onAcknowledgeFailed", () => onAcknowledgeFailed(cause));
    });
    return promise;
  }

  #say(delivery: Delivery, word: LastWord, delayMs: number): Promise<void> {
    if (!(delayMs >= 0 && delayMs <= delayMsMax)) {
      return Promise.reject(
        new OptionError(`delayMs is from 0 to ${delayMsMax} (15 minutes), not ${String(delayMs)}.`),
      );
    }
    if (delivery.state !== "open") return Promise.reject(tooLate(delivery, word));
    const { settings, isClosing, onSaid } = this.#access;
    const waits = delayMs > 0 && this.#delays.size < settings.delayedMax && !isClosing();
    const promise = waits ? this.#delay(delivery, delayMs) : this.#send(delivery, word);
    onSaid(delivery);
    return promise;
  }

  #delay(delivery: Delivery, delayMs: number): Promise<void> {
    delivery.state = "delayed";
    const done = Promise.withResolvers<void>();
    const timer = this.#access.client.clock.schedule(delayMs, () => this.endDelay(delivery));
    this.#delays.set(delivery, { timer, done });
    return done.promise;
  }

  #send(delivery: Delivery, word: LastWord): Promise<void> {
    const { session, record } = delivery;
    const { counts, onDone: onHeard, onOver, client } = this.#access;
    delivery.state = "said";
    session.wishes.dropRenewal(delivery);
    if (word === "reject" && delivery.rejectReason !== undefined) {
      const { topic, partition, offset } = record;
      client.log.info("client.share.rejected", { topic, partition, offset, reason: delivery.rejectReason });
    }
    return new Promise<void>((resolve, reject) => {
      const onDone = (): void => {
        counts[countOf[word]]++;
        onHeard(delivery);
        onOver(delivery);
        resolve();
      };
      const onFailed: Wish["onFailed"] = (cause, fate) => {
        counts.failed++;
        onOver(delivery);
        reject(new AcknowledgeError(word, record, fate, cause));
      };
      session.say(this.#wish(delivery, word, { onDone, onFailed }));
    });
  }

  #renew(delivery: Delivery): Promise<void> {
    const { session, record } = delivery;
    if (!session.canRenew) {
      const cause = new Error("the broker cannot renew locks (it serves ShareAcknowledge below version 2)");
      return Promise.reject(new AcknowledgeError("renew", record, "not-acknowledged", cause));
    }
    return new Promise<void>((resolve, reject) => {
      const onDone = (sentMs: number, lockMs: number): void => {
        delivery.lockedUntilMs = Math.max(delivery.lockedUntilMs, sentMs + lockMs);
        resolve();
      };
      const onFailed: Wish["onFailed"] = (cause, fate) => {
        if (fate === "not-acknowledged" && delivery.state !== "said")
          this.#access.onLost(delivery, cause.message);
        reject(new AcknowledgeError("renew", record, fate, cause));
      };
      session.say(this.#wish(delivery, "renew", { onDone, onFailed }));
    });
  }

  #wish(delivery: Delivery, word: AcknowledgeWord, then: Pick<Wish, "onDone" | "onFailed">): Wish {
    const nowMs = this.#nowMs;
    const { place, record, lockedUntilMs } = delivery;
    return {
      place,
      first: record.offset,
      last: record.offset,
      type: AcknowledgeType[word],
      delivery,
      giveUpMs: nowMs + this.#access.settings.acknowledgeTimeoutMs,
      ...then,
      isDoubtful: false,
      // One that will be refused, by the look of it, would take others with it.
      together: lockedUntilMs <= nowMs ? 1 : Number.POSITIVE_INFINITY,
    };
  }

  get #nowMs(): number {
    return this.#access.client.clock.monotonicMs();
  }
}

function tooLate(delivery: Delivery, word: AcknowledgeWord): AcknowledgeError {
  const isLost = delivery.state === "over" && delivery.signal.aborted;
  const why = isLost
    ? (delivery.signal.reason as Error)
    : new ConsumerUsageError("something was said of it already");
  return new AcknowledgeError(word, delivery.record, "not-acknowledged", why);
}
