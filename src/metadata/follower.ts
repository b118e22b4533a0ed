/**
 * Keeps a view of the journal near its tail: catches up when somebody tells of a newer slot, and else looks
 * for the next one by itself, less and less often while nothing comes. What it believes is proved by
 * `catchUp`; a look of its own is one GET whose answer only says whether to go there. A store that fails is
 * asked again; following never ends a process.
 */
import { HoldfastError } from "../base/errors.ts";
import type { Env, ObjectStore, Timer } from "../base/ports.ts";
import { cutKey, slotKey } from "./slot.ts";
import type { ClusterState } from "./state.ts";

export interface FollowerOptions {
  readonly env: Env;
  readonly store: Pick<ObjectStore, "get">;
  readonly view: () => ClusterState;
  readonly catchUp: () => Promise<void>;
}

const lookDelayMsMin = 250;
/** What an idle broker costs: one GET in so long. */
export const lookDelayMsMax = 5_000;
/** A view whose next slot was truncated would look for it in vain for ever: every so many looks ask for the marker instead. */
const looksPerMarker = 12;

export class Follower {
  readonly #options: FollowerOptions;
  #stopped = false;
  /** A slot of which somebody says that it is decided. */
  #told = -1;
  #looks = 0;
  #waiting: { readonly timer: Timer; readonly resume: () => void } | null = null;

  constructor(options: FollowerOptions) {
    this.#options = options;
    void this.#run();
  }

  /** This slot is decided, says somebody who may be wrong. */
  notice(slot: number): void {
    if (slot < this.#nextSlot) return;
    this.#told = Math.max(this.#told, slot);
    this.#wake();
  }

  /** How many new slots there are, by what was told. */
  get expected(): number {
    return Math.max(0, this.#told + 1 - this.#nextSlot);
  }

  stop(): void {
    this.#stopped = true;
    this.#wake();
  }

  get #nextSlot(): number {
    return this.#options.view().nextSlot;
  }

  async #run(): Promise<void> {
    for (let quiet = 0; !this.#stopped; ) {
      const before = this.#nextSlot;
      await this.#rest(Math.min(lookDelayMsMax, lookDelayMsMin * 2 ** Math.min(quiet, 16)));
      if (this.#stopped) return;
      // Commands of our own went through: the view is as new as they are.
      const isTold = this.#told >= this.#nextSlot;
      if (!isTold && this.#nextSlot > before) quiet = 0;
      else if (isTold || (await this.#isNewer())) quiet = (await this.#catchUp()) ? 0 : quiet + 1;
      else quiet++;
    }
  }

  #rest(delayMs: number): Promise<void> {
    if (this.#stopped || this.#told >= this.#nextSlot) return Promise.resolve();
    return new Promise((resume) => {
      this.#waiting = { timer: this.#options.env.clock.schedule(delayMs, resume), resume };
    });
  }

  #wake(): void {
    this.#waiting?.timer.cancel();
    this.#waiting?.resume();
    this.#waiting = null;
  }

  /** Whether it may be worth to catch up. */
  async #isNewer(): Promise<boolean> {
    const { store, view } = this.#options;
    const { nextSlot, chapterSlots } = view();
    const asksMarker = ++this.#looks % looksPerMarker === 0;
    try {
      const key = asksMarker ? cutKey(Math.floor(nextSlot / chapterSlots)) : slotKey(nextSlot);
      return (await store.get(key)) !== null;
    } catch (error) {
      // What will not get better by itself is told by `catchUp`, in its own words.
      return !isTransient(error);
    }
  }

  /** False: nothing new was there, or nobody answered. */
  async #catchUp(): Promise<boolean> {
    const before = this.#nextSlot;
    const told = this.#told;
    try {
      await this.#options.catchUp();
    } catch (error) {
      // Anything else closed the journal, which says so itself.
      if (!isTransient(error)) this.#stopped = true;
    }
    // Who told of more than there is was wrong; what was told meanwhile is looked for.
    if (this.#told === told) this.#told = -1;
    return this.#nextSlot > before;
  }
}

function isTransient(error: unknown): boolean {
  return error instanceof HoldfastError && error.retriable;
}
