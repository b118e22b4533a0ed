/**
 * Everything that reaches a process from outside comes through its gate: timers, sockets, answers of the store.
 * While it is closed the process stands still, as under SIGSTOP; what happens meanwhile is waiting when it goes
 * on, in order, and its clock has moved. A process that ended hears of nothing any more.
 */
import type { Clock, Timer } from "../base/ports.ts";
import type { LifeClock } from "./clock.ts";

const immediately = globalThis.setImmediate;

export class Gate {
  readonly #held: (() => void)[] = [];
  readonly #watchers = new Set<(isOpen: boolean) => void>();
  #state: "open" | "closed" | "opening" | "ended" = "open";

  get hasEnded(): boolean {
    return this.#state === "ended";
  }

  /** Runs it now, or when the process goes on. */
  pass(run: () => void): void {
    if (this.#state === "open") run();
    else if (this.#state !== "ended") this.#held.push(run);
  }

  /** Called when it closes and when it opens. Returns how to stop it. */
  watch(watcher: (isOpen: boolean) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  close(): void {
    if (this.#state !== "open" && this.#state !== "opening") return;
    this.#state = "closed";
    for (const watcher of this.#watchers) watcher(false);
  }

  open(): void {
    if (this.#state !== "closed") return;
    this.#state = "opening";
    this.#next();
  }

  end(): void {
    this.#state = "ended";
    this.#held.length = 0;
    this.#watchers.clear();
  }

  /** One at a time, as the event loop of a process would; what comes meanwhile waits behind. */
  #next(): void {
    if (this.#state !== "opening") return;
    const run = this.#held.shift();
    if (run !== undefined) {
      run();
      immediately(() => this.#next());
      return;
    }
    this.#state = "open";
    for (const watcher of this.#watchers) watcher(true);
  }
}

export class GatedClock implements Clock {
  readonly #inner: LifeClock;
  readonly #gate: Gate;

  constructor(inner: LifeClock, gate: Gate) {
    this.#inner = inner;
    this.#gate = gate;
  }

  wallMs(): number {
    return this.#inner.wallMs();
  }
  monotonicMs(): number {
    return this.#inner.monotonicMs();
  }
  schedule(delayMs: number, run: () => void): Timer {
    let isCancelled = false;
    const timer = this.#inner.schedule(delayMs, () =>
      this.#gate.pass(() => {
        if (!isCancelled) run();
      }),
    );
    return {
      cancel: () => {
        isCancelled = true;
        timer.cancel();
      },
    };
  }
}
