/**
 * One process of a simulated cluster. Everything that reaches it (timers, bytes, answers of the store) comes
 * through `deliver`, so that it can be stopped as a debugger or a hypervisor stops one: nothing runs in it for
 * any time, and then everything that came meanwhile, in order, one event at a time, with the clock far ahead. It
 * may be stopped again between any two of these events. A dead process gets nothing, and sends nothing.
 */
import type { Clock, Timer } from "../base/ports.ts";
import { beginMs } from "./clock.ts";
import type { Scheduler } from "./scheduler.ts";

/** Who sends into the simulated world, and gets what arrives. */
export interface Host {
  readonly name: string;
  readonly isDead: boolean;
  deliver(run: () => void): void;
}

/** Who can be neither stopped nor killed: clients, where nobody wishes to, and the story. */
export const outside: Host = { name: "outside", isDead: false, deliver: (run) => run() };

export class SimProcess implements Host {
  readonly name: string;
  readonly clock: Clock;
  readonly #scheduler: Scheduler;
  /** What came while it was stopped. Bounded by what others send without an answer. */
  #waiting: (() => void)[] = [];
  #state: "running" | "paused" | "dead" = "running";
  #isDraining = false;

  /** `wallOffsetMs`: how wrong the machine's wall clock is. */
  constructor(name: string, scheduler: Scheduler, wallOffsetMs = 0) {
    this.name = name;
    this.#scheduler = scheduler;
    this.clock = {
      wallMs: () => Math.floor(beginMs + wallOffsetMs + scheduler.nowMs),
      monotonicMs: () => scheduler.nowMs,
      schedule: (delayMs, run) => this.#schedule(delayMs, run),
    };
  }

  get isDead(): boolean {
    return this.#state === "dead";
  }
  get isPaused(): boolean {
    return this.#state === "paused";
  }

  #schedule(delayMs: number, run: () => void): Timer {
    let isCancelled = false;
    const timer = this.#scheduler.schedule(delayMs, () => this.deliver(() => isCancelled || run()));
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }

  deliver(run: () => void): void {
    if (this.#state === "dead") return;
    if (this.#state === "running" && this.#waiting.length === 0) run();
    else this.#waiting.push(run);
  }

  pause(): void {
    if (this.#state === "running") this.#state = "paused";
  }

  resume(): void {
    if (this.#state !== "paused") return;
    this.#state = "running";
    this.#drain();
  }

  kill(): void {
    this.#state = "dead";
    this.#waiting = [];
  }

  /** One event at a time, since what a promise makes of one comes before the next. */
  #drain(): void {
    if (this.#isDraining || this.#waiting.length === 0) return;
    this.#isDraining = true;
    this.#scheduler.schedule(0, () => {
      this.#isDraining = false;
      if (this.#state !== "running") return;
      this.#waiting.shift()?.();
      this.#drain();
    });
  }
}
