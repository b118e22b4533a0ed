/**
 * Deletes objects that nobody needs: those that no reference names, of an author that can never name
 * them again (it is fenced, or it said that it is done with that number). Both are facts of the journal
 * that stay true, so an old view is as good as a fresh one (F9); age alone never makes garbage. First
 * comes a tombstone, then a delay, then the delete, which waits for readers that are under way. As long as
 * one list cannot be read nothing is deleted, since it may name anything (I11).
 */
import { DamageError } from "../base/errors.ts";
import { type Env, type ObjectStore, sleep, type Timer } from "../base/ports.ts";
import { objectPrefix, parseObjectKey, type SectionIdentity } from "./segment-format.ts";
import type { SegmentIndex } from "./segment-index.ts";
import type { PartitionSegments } from "./segment-list.ts";

/** The journal at one position: it is asked in one synchronous step and not kept. */
export interface GarbageView {
  readonly partitions: Iterable<SectionIdentity & PartitionSegments>;
  /** Whether object `counter` of `author` can never be referenced again, if it is not now. */
  isSettled(author: number, counter: number): boolean;
}

export interface GarbageOptions {
  readonly env: Env;
  readonly store: ObjectStore;
  readonly index: SegmentIndex;
  readonly view: () => GarbageView;
  /** From the tombstone to the delete: for so long an object can be brought back by hand. */
  readonly graceMs: number;
  readonly intervalMs: number;
  /** Whether space is so short that nothing waits for its delay. */
  readonly isUrgent: () => boolean;
  /** The store failed for good. */
  readonly onFailure: (cause: Error) => void;
}

/** How often it is asked whether it is urgent. */
const urgencyMs = 2_000;
/** So many are deleted in one round; the rest waits for the next. */
const deletesPerRoundMax = 10_000;

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
          (cause: unknown) => {
            this.#closed = true;
            this.#options.onFailure(cause as Error);
          },
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

  /** One sweep; how many objects were deleted. Rejects with what the store rejects with. */
  async round(): Promise<number> {
    const { store, env } = this.#options;
    const listed = await store.list(objectPrefix);
    const garbage = await this.#garbage(listed.map(({ key }) => key));
    if (garbage === null) return 0;
    const nowMs = env.clock.monotonicMs();
    const graceMs = this.#options.isUrgent() ? 0 : this.#options.graceMs;
    this.#bury(garbage, nowMs);
    let deleted = 0;
    for (const [key, sinceMs] of this.#tombstones) {
      if (this.#closed || deleted === deletesPerRoundMax) break;
      if (nowMs - sinceMs < graceMs || this.#options.index.inUse.has(key)) continue;
      await store.delete(key);
      this.#tombstones.delete(key);
      this.#deleted.add(1);
      if (++deleted % 64 === 0) await sleep(env.clock, 0);
    }
    return deleted;
  }

  async #garbage(keys: readonly string[]): Promise<readonly string[] | null> {
    const view = this.#options.view();
    // No await between these two: a number that is settled by a later FLUSH may be referenced by it.
    const settled = settledKeys(keys, (author, counter) => view.isSettled(author, counter));
    const partitions = Array.from(view.partitions, ({ topicId, partition, folded, recent }): Segments => {
      return { topicId, partition, folded, recent };
    });
    try {
      const referenced = await referencedObjects(partitions, this.#options.index);
      return settled.filter((key) => !referenced.has(key));
    } catch (cause) {
      if (!(cause instanceof DamageError)) throw cause;
      this.#options.env.log.error("garbage.stopped", { cause });
      this.#tombstones.clear();
      return null;
    }
  }

  /** New garbage gets its tombstone; what is none any more loses it. */
  #bury(garbage: readonly string[], nowMs: number): void {
    const current = new Set(garbage);
    for (const key of this.#tombstones.keys()) if (!current.has(key)) this.#tombstones.delete(key);
    for (const key of garbage) if (!this.#tombstones.has(key)) this.#tombstones.set(key, nowMs);
  }
}
