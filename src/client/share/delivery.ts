/**
 * One delivery of a message to this worker: from its acquisition until something was said of it and answered, or until
 * the lock is lost. A message that comes again is another delivery, so that nothing said of the first counts for the second.
 */
import type { IncomingRecord } from "../incoming-record.ts";
import { LockLostError } from "./errors.ts";
import type { SharePlace } from "./membership.ts";
import type { ShareSession } from "./session.ts";

/**
 * "buffered": nobody has it yet. "open": somebody does, and has said nothing. "delayed": released, and kept here until a
 * time. "said": on its way to the broker. "over": answered, or lost.
 */
export type DeliveryState = "buffered" | "open" | "delayed" | "said" | "over";

export class Delivery {
  readonly place: SharePlace;
  readonly record: IncomingRecord;
  readonly deliveryCount: number;
  /** Over which it came; what is said of it goes the same way. */
  readonly session: ShareSession;
  /** On the monotonic clock; the broker's lock ends no earlier. */
  lockedUntilMs: number;
  state: DeliveryState = "buffered";
  /** The lock is renewed by itself while it is open. */
  keepsLock = false;
  rejectReason: string | undefined = undefined;
  /** The same message, which came again while a word about this one was on its way: the word counts for it, too. */
  successor: Delivery | undefined = undefined;
  #ending: AbortController | undefined = undefined;

  constructor(facts: {
    readonly place: SharePlace;
    readonly record: IncomingRecord;
    readonly deliveryCount: number;
    readonly session: ShareSession;
    readonly lockedUntilMs: number;
  }) {
    this.place = facts.place;
    this.record = facts.record;
    this.deliveryCount = facts.deliveryCount;
    this.session = facts.session;
    this.lockedUntilMs = facts.lockedUntilMs;
  }

  get signal(): AbortSignal {
    this.#ending ??= new AbortController();
    return this.#ending.signal;
  }

  /** The lock is lost: whoever handles it is told. */
  lose(why: string): void {
    this.state = "over";
    this.abort(new LockLostError(`The lock of offset ${this.record.offset} was lost: ${why}.`));
  }

  abort(reason: Error): void {
    this.#ending ??= new AbortController();
    this.#ending.abort(reason);
  }
}
