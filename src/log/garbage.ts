/**
 * Deletes objects that nobody needs: those that no reference names, of an author that can never name
 * them again (it is fenced, or it said that it is done with that number). Both are facts of the journal
 * that stay true, so an old view is as good as a fresh one (F9); age alone never makes garbage. First
 * comes a tombstone, then a delay, then the delete, which waits for readers that are under way. As long as
 * one list cannot be read nothing is deleted, since it may name anything (I11).
 */
import { DamageError } from "../base/errors.ts";
import { type Env, type ObjectStore, sleep, type Timer } from "../base/ports.ts";
import { tookNoEffect } from "./object-writer.ts";
import { objectPrefix, parseObjectKey, type SectionIdentity } from "./segment-format.ts";
import { ObjectGoneError, type SegmentIndex } from "./segment-index.ts";
import type { PartitionSegments } from "./segment-list.ts";

/** The journal at one position: it is asked in one synchronous step and not kept. */
export interface GarbageView {
  readonly partitions: Iterable<SectionIdentity & PartitionSegments>;
  /** Whether object `counter` of `author` can never be referenced again, if it is not now. */
  isSettled(author: number, counter: number): boolean;
}

/** When the store is listed, which costs money in a bucket, and need be done by one broker only. */
export interface Listings {
  /** `isUrgent`: space is short, so that money is not looked at. */
  isDue(isUrgent: boolean): boolean;
  /** One was read, with so many objects. */
  done(objects: number): void;
}

export interface GarbageOptions {
  readonly env: Env;
  readonly store: ObjectStore;
  readonly index: SegmentIndex;
  readonly view: () => GarbageView;
  /** From the tombstone to the delete: for so long an object can be brought back by hand. */
  readonly graceMs: number;
  readonly intervalMs: number;
  /** Default: at each interval. */
  readonly listings?: Listings;
  /** Brings the view up to date, where others change the journal as well. */
  readonly refresh?: () => Promise<void>;
  /** Whether space is so short that nothing waits for its delay. */
  readonly isUrgent: () => boolean;
  /** The store failed for good. */
  readonly onFailure: (cause: Error) => void;
}

/** How often it is asked whether it is urgent. */
const urgencyMs = 2_000;
/** So many are deleted in one round; the rest waits for the next. */
const deletesPerRoundMax = 10_000;
const deletesAtOnce = 16;

const always: Listings = { isDue: () => true, done: () => undefined };

type Segments = SectionIdentity & PartitionSegments;

/** Keys of all objects that are named: segments and lists. Throws `DamageError` when a list cannot be read. */
export async function referencedObjects(
  partitions: readonly Segments[],
  index: SegmentIndex,
): Promise<ReadonlySet<string>> {
  const referenced = new Set<string>();
  for (const partition of partitions) {
    for (const ref of partition.recent) referenced.add(ref.object);
    for (let pointer = partition.folded; pointer !== null; ) {
      referenced.add(pointer.object);
      const list = await index.list(partition, pointer);
      for (const ref of list.segments) referenced.add(ref.object);
      pointer = list.previous;
    }
  }
  return referenced;
}

/** Those of the keys that nobody can begin to refer to. What does not look like an object of ours is left alone. */
export function settledKeys(keys: readonly string[], isSettled: GarbageView["isSettled"]): readonly string[] {
  return keys.filter((key) => {
    const name = parseObjectKey(key);
    return name !== null && isSettled(name.epoch, name.counter);
  });
}

export class Garbage {
  readonly #options: GarbageOptions;
  /** Key → when it was found to be garbage, monotonic ms. Forgotten by a restart, which only begins the delay again. */
  readonly #tombstones = new Map<string, number>();
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;
  #closed = false;
  readonly #deleted;

  constructor(options: GarbageOptions) {
    this.#options = options;
    this.#deleted = options.env.meter.counter(
      "holdfast_garbage_deleted_objects",
      "Objects deleted as garbage",
    );
  }

  /** Objects that wait for their delay. */
  get tombstones(): number {
    return this.#tombstones.size;
  }

  start(): void {
    this.#arm(this.#options.env.clock.monotonicMs() + this.#options.intervalMs);
  }

  #arm(atMs: number): void {
    if (this.#closed) return;
    const { env, isUrgent } = this.#options;
    const delayMs = Math.min(urgencyMs, Math.max(0, atMs - env.clock.monotonicMs()));
    this.#timer = env.clock.schedule(delayMs, () => {
      if (env.clock.monotonicMs() < atMs && !isUrgent()) return this.#arm(atMs);
      this.#running = this.round()
        .then(
          () => this.start(),
          (cause: unknown) => this.#failed(cause as Error),
        )
        .finally(() => {
          this.#running = null;
        });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#running;
  }

  #failed(cause: Error): void {
    const { env, onFailure } = this.#options;
    if (tookNoEffect(cause)) {
      env.log.warn("garbage.retried", { cause });
      return this.start();
    }
    this.#closed = true;
    onFailure(cause);
  }

  /** One sweep; how many objects were deleted. Rejects with what the store rejects with. */
  async round(): Promise<number> {
    const { env, isUrgent } = this.#options;
    const keys = await this.#candidates();
    const garbage = await this.#garbage(keys);
    if (garbage === null) return 0;
    const nowMs = env.clock.monotonicMs();
    const graceMs = isUrgent() ? 0 : this.#options.graceMs;
    this.#bury(garbage, nowMs);
    const due: string[] = [];
    for (const [key, sinceMs] of this.#tombstones) {
      if (due.length === deletesPerRoundMax) break;
      if (nowMs - sinceMs >= graceMs) due.push(key);
    }
    let deleted = 0;
    for (let at = 0; at < due.length && !this.#closed; at += deletesAtOnce) {
      const those = due.slice(at, at + deletesAtOnce).map((key) => this.#delete(key));
      for (const isDeleted of await Promise.all(those)) if (isDeleted) deleted++;
      await sleep(env.clock, 0);
    }
    return deleted;
  }

  /** What may be garbage: all there is, or between two listings, what was found to be garbage. */
  async #candidates(): Promise<readonly string[]> {
    const { store, listings = always, isUrgent } = this.#options;
    if (!listings.isDue(isUrgent())) return [...this.#tombstones.keys()];
    const listed = await store.list(objectPrefix);
    listings.done(listed.length);
    return listed.map(({ key }) => key);
  }

  async #delete(key: string): Promise<boolean> {
    const { store, index } = this.#options;
    if (index.inUse.has(key)) return false;
    await store.delete(key);
    this.#tombstones.delete(key);
    this.#deleted.add(1);
    return true;
  }

  /** Null: it cannot be told, because a list cannot be read. */
  async #garbage(keys: readonly string[]): Promise<readonly string[] | null> {
    const { refresh, env } = this.#options;
    try {
      return await this.#unreferenced(keys).catch(async (cause: unknown) => {
        // By an old view: a list that is not named any more may be gone.
        if (!(cause instanceof ObjectGoneError) || refresh === undefined) throw cause;
        await refresh();
        return this.#unreferenced(keys);
      });
    } catch (cause) {
      if (!(cause instanceof DamageError)) throw cause;
      env.log.error("garbage.stopped", { cause });
      this.#tombstones.clear();
      return null;
    }
  }

  async #unreferenced(keys: readonly string[]): Promise<readonly string[]> {
    const view = this.#options.view();
    // No await between these two: a number that is settled by a later FLUSH may be referenced by it.
    const settled = settledKeys(keys, (author, counter) => view.isSettled(author, counter));
    if (settled.length === 0) return [];
    const partitions = Array.from(view.partitions, ({ topicId, partition, folded, recent }): Segments => {
      return { topicId, partition, folded, recent };
    });
    const referenced = await referencedObjects(partitions, this.#options.index);
    return settled.filter((key) => !referenced.has(key));
  }

  /** New garbage gets its tombstone; what is none any more loses it. */
  #bury(garbage: readonly string[], nowMs: number): void {
    const current = new Set(garbage);
    for (const key of this.#tombstones.keys()) if (!current.has(key)) this.#tombstones.delete(key);
    for (const key of garbage) if (!this.#tombstones.has(key)) this.#tombstones.set(key, nowMs);
  }
}
