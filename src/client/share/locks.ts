/**
 * Which messages are locked for this worker, and until when. Locks of messages that wait here or are handled by `run` are
 * renewed when a third of their time is over; one that ran out is told, and its message is not handed out any more.
 */
import type { Clock, Timer } from "../../base/ports.ts";
import type { Delivery } from "./delivery.ts";

export interface LocksAccess {
  readonly clock: Clock;
  readonly renew: (delivery: Delivery) => void;
  readonly onLost: (delivery: Delivery) => void;
}

/** Of the lock's time, between two looks. */
const part = 1 / 6;

/** More than a broker waits with an answer. */
const graceMs = 1_000;

export class Locks {
  readonly #access: LocksAccess;
  readonly #held = new Map<string, Delivery>();
  #lockMs: number | undefined = undefined;
  #timer: Timer | undefined = undefined;
  /** When the renewal that is under way was asked for, by delivery. */
  readonly #askedMs = new WeakMap<Delivery, number>();
  #isClosed = false;

  constructor(access: LocksAccess) {
    this.#access = access;
  }

  /** As the broker says. */
  lasts(lockMs: number): void {
    this.#lockMs = lockMs;
  }

  /** `onReplaced`: the same message was here already. */
  hold(delivery: Delivery, onReplaced: (before: Delivery) => void): void {
    const name = nameOf(delivery);
    const before = this.#held.get(name);
    if (before !== undefined) onReplaced(before);
    this.#held.set(name, delivery);
    this.look();
  }

  drop(delivery: Delivery): void {
    const name = nameOf(delivery);
    if (this.#held.get(name) === delivery) this.#held.delete(name);
  }

  /** Begins to watch, if it does not. */
  look(): void {
    if (this.#timer !== undefined || this.#isClosed || this.#lockMs === undefined) return;
    this.#timer = this.#access.clock.schedule(Math.max(1, this.#lockMs * part), () => {
      this.#timer = undefined;
      this.#round();
      if (this.#held.size > 0) this.look();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#held.clear();
  }

  #round(): void {
    const { clock, renew, onLost } = this.#access;
    const nowMs = clock.monotonicMs();
    const lockMs = this.#lockMs ?? 0;
    for (const delivery of this.#held.values()) {
      const { state, keepsLock, lockedUntilMs } = delivery;
      if (state === "said" || state === "over") continue;
      // What is handled may still be in time for the broker, whose lock began a little later.
      if (lockedUntilMs + (state === "open" ? graceMs : 0) <= nowMs) onLost(delivery);
      else if (
        (state === "buffered" || state === "delayed" || keepsLock) &&
        lockedUntilMs - nowMs < lockMs * (2 / 3) &&
        nowMs - (this.#askedMs.get(delivery) ?? Number.NEGATIVE_INFINITY) > lockMs * part
      ) {
        this.#askedMs.set(delivery, nowMs);
        renew(delivery);
      }
    }
  }
}

const nameOf = ({ place, record }: Delivery): string =>
  `${place.topicId}/${place.partition}/${record.offset}`;
