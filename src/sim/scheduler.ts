/**
 * Virtual time. Everything that happens later in a simulated world is an event here; the driver takes
 * the earliest, runs it, waits until every promise job it caused has run, and takes the next. Events of
 * the same moment run in an order drawn from the seed, since no program may rely on one.
 */
import { setImmediate as immediately } from "node:timers/promises";
import { assert } from "../base/assert.ts";
import type { Timer } from "../base/ports.ts";
import type { SimRandom } from "./random.ts";

/** A turn of Node's loop is dear, and only there does it see that nobody handles a rejected promise. */
const eventsPerTurn = 16;

interface Event {
  readonly at: number;
  /** Drawn from the seed; decides among events of one moment. */
  readonly tie: number;
  readonly run: () => void;
  cancelled: boolean;
}

export class Scheduler {
  readonly #random: SimRandom;
  /** Binary heap by (at, tie). */
  readonly #heap: Event[] = [];
  #nowMs = 0;
  #events = 0;
  #running = false;
  /** Called after each event, when everything it caused has settled: the place for checks. */
  afterEvent: (() => void) | null = null;

  constructor(random: SimRandom) {
    this.#random = random.fork("scheduler");
  }

  /** Virtual ms since the world began; has fractions. */
  get nowMs(): number {
    return this.#nowMs;
  }
  /** How many events ran. */
  get events(): number {
    return this.#events;
  }
  get pending(): number {
    return this.#heap.length;
  }

  schedule(delayMs: number, run: () => void): Timer {
    const event: Event = {
      at: this.#nowMs + Math.max(0, delayMs),
      tie: this.#random.u32(),
      run,
      cancelled: false,
    };
    this.#push(event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  /** Runs until nothing is left to happen, or `untilMs` is reached; throws after `eventsMax` events. */
  async run(options: { readonly untilMs?: number; readonly eventsMax?: number } = {}): Promise<void> {
    const { untilMs = Number.POSITIVE_INFINITY, eventsMax = 10_000_000 } = options;
    const last = this.#events + eventsMax;
    await this.#drive(() => {
      const next = this.#heap[0];
      assert(this.#events < last, `the simulation settles within ${eventsMax} events`);
      return next !== undefined && next.at <= untilMs;
    });
    if (Number.isFinite(untilMs)) this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** Runs events until the promise settles, and returns what it gave. Fails when nothing is left that could settle it. */
  async runUntil<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const watch = promise.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    await immediately();
    await this.#drive(() => !settled && this.#heap.length > 0);
    assert(settled, "a promise that is waited for settles before the world falls silent");
    await watch;
    return promise;
  }

  async #drive(goOn: () => boolean): Promise<void> {
    assert(!this.#running, "one driver runs the world");
    this.#running = true;
    try {
      while (goOn()) {
        const event = this.#pop();
        if (event.cancelled) continue;
        this.#nowMs = event.at;
        this.#events++;
        event.run();
        await (this.#events % eventsPerTurn === 0 ? immediately() : settled());
        this.afterEvent?.();
      }
    } finally {
      this.#running = false;
    }
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(event, heap[parent] as Event)) break;
      heap[at] = heap[parent] as Event;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): Event {
    const heap = this.#heap;
    const first = heap[0] as Event;
    const moved = heap.pop() as Event;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++;
      if (!before(heap[child] as Event, moved)) break;
      heap[at] = heap[child] as Event;
      at = child;
    }
    heap[at] = moved;
    return first;
  }
}

/** Resolves when no promise job is left: only then does Node take the next tick. */
function settled(): Promise<void> {
  return new Promise((resolve) => queueMicrotask(() => process.nextTick(resolve)));
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.tie < b.tie);
}
