/**
 * A transactional id as the world sees it: who has asked to be its producer, and when. So it is known whether a
 * producer may be fenced, or has been refused although it is the only one.
 */
import type { Actor } from "./actor.ts";

/** One request that was sent. */
export interface InitAttempt {
  readonly sentMs: number;
  /** Infinite: it is not. */
  answeredMs: number;
}

export class TransactionalId {
  readonly name: string;
  readonly #attempts: InitAttempt[] = [];
  /** Some producer was given it. */
  isKnown = false;

  constructor(name: string) {
    this.name = name;
  }

  sends(actor: Actor): InitAttempt {
    const attempt = { sentMs: actor.clock.monotonicMs(), answeredMs: Number.POSITIVE_INFINITY };
    this.#attempts.push(attempt);
    return attempt;
  }

  /** Whether another attempt than this may have been decided after it. */
  isContested(own: InitAttempt, actor: Actor): boolean {
    return this.#attempts.some((each) => {
      if (each === own) return false;
      const isLost = each.answeredMs === Number.POSITIVE_INFINITY;
      return isLost ? each.sentMs > own.sentMs - actor.pace.settleMs : each.answeredMs > own.sentMs;
    });
  }
}
