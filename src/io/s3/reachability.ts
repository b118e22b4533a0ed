/**
 * Whether the bucket answers: a circuit breaker whose state can be seen. After a run of failures only one request at a
 * time asks whether it is back; the others wait, so that an outage costs no storm of retries and its end is noticed
 * by all at once. It decides when to ask, never what an answer means.
 */
import type { Clock, Logger, Random, Timer } from "../../base/ports.ts";
import { OutcomeUnknownError } from "../../store/errors.ts";

/** A run of so many failures without one success, over at least so long, is an outage. */
const failuresMin = 5;
const failingMsMin = 1_000;
const probeMsFirst = 250;
const probeMsMax = 1_000;
/** How long a request waits for the bucket before its caller is told that the outcome is unknown. */
const waitMsMax = 5_000;

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly timer: Timer;
}

export class Reachability {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Logger;
  readonly #name: string;
  readonly #waiters = new Set<Waiter>();
  #failures = 0;
  #failingSinceMs: number | null = null;
  #isOpen = false;
  #why = "";
  #probeDelayMs = probeMsFirst;
  #nextProbeMs = 0;
  #probeTimer: Timer | null = null;

  constructor(name: string, ports: { readonly clock: Clock; readonly random: Random; readonly log: Logger }) {
    this.#name = name;
    this.#clock = ports.clock;
    this.#random = ports.random;
    this.#log = ports.log;
  }

  /** 0: the bucket answers, as far as is known. */
  get unreachableMs(): number {
    return this.#isOpen ? this.#clock.monotonicMs() - (this.#failingSinceMs ?? 0) : 0;
  }

  /** The last thing that went wrong. */
  get why(): string {
    return this.#why;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** Resolves at once while the bucket answers, else when this request may ask; true: it is the one that finds out. */
  async enter(): Promise<boolean> {
    if (!this.#isOpen) return false;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#nextProbeMs) {
      this.#planProbe(nowMs);
      return true;
    }
    await new Promise<void>((resolve, reject) => {
      const timer = this.#clock.schedule(waitMsMax, () => {
        this.#waiters.delete(waiter);
        reject(new OutcomeUnknownError(this.#sentence()));
      });
      const waiter: Waiter = { resolve, reject, timer };
      this.#waiters.add(waiter);
      this.#armProbe();
    });
    return this.#isOpen;
  }

  /** The store answered, whatever it said. */
  succeeded(): void {
    if (this.#isOpen) {
      this.#log.info("s3.reachable-again", { bucket: this.#name, afterMs: Math.round(this.unreachableMs) });
    }
    this.#failures = 0;
    this.#failingSinceMs = null;
    this.#isOpen = false;
    this.#probeDelayMs = probeMsFirst;
    this.#probeTimer?.cancel();
    this.#probeTimer = null;
    for (const waiter of this.#waiters) this.#let(waiter);
  }

  failed(why: string): void {
    const nowMs = this.#clock.monotonicMs();
    this.#why = why;
    this.#failures++;
    this.#failingSinceMs ??= nowMs;
    if (this.#isOpen || this.#failures < failuresMin || nowMs - this.#failingSinceMs < failingMsMin) return;
    this.#isOpen = true;
    this.#planProbe(nowMs);
    this.#log.warn("s3.unreachable", { bucket: this.#name, cause: why });
  }

  #sentence(): string {
    return `The bucket ${this.#name} has been unreachable for ${Math.round(this.unreachableMs / 1000)} s (${this.#why})`;
  }

  #planProbe(nowMs: number): void {
    const chance = 0.5 + this.#random.u32() / 0x2_0000_0000;
    this.#nextProbeMs = nowMs + this.#probeDelayMs * chance;
    this.#probeDelayMs = Math.min(probeMsMax, this.#probeDelayMs * 2);
  }

  /** One of those who wait asks when it is time. */
  #armProbe(): void {
    if (this.#probeTimer !== null) return;
    const delayMs = Math.max(0, this.#nextProbeMs - this.#clock.monotonicMs());
    this.#probeTimer = this.#clock.schedule(delayMs, () => {
      this.#probeTimer = null;
      const [first] = this.#waiters;
      if (first === undefined) return;
      this.#planProbe(this.#clock.monotonicMs());
      this.#let(first);
      if (this.#waiters.size > 0) this.#armProbe();
    });
  }

  #let(waiter: Waiter): void {
    waiter.timer.cancel();
    this.#waiters.delete(waiter);
    waiter.resolve();
  }
}
