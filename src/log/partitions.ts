/**
 * All partitions that this process owns, by topic and index, and the one who hears the WAL: what became
 * durable is told to each partition in WAL order, and only then are readers woken, once per group. A
 * group finds its partitions through its entries; nothing is looked up on the way.
 */
import { assert } from "../base/assert.ts";
import type { PartitionIndex, TopicId, WalPosition } from "../base/ids.ts";
import { type AppendSession, MemoryTail, type TailBounds } from "./memory-tail.ts";
import { Partition } from "./partition.ts";
import type { PartitionOptions } from "./partition-options.ts";
import { TailEntry } from "./tail-entry.ts";
import type { Wal, WalEntry, WalEvents, WalGroup } from "./wal.ts";

export class Partitions implements WalEvents, Iterable<Partition> {
  readonly tail: MemoryTail;
  /** Sparse: indexes that others own are missing. */
  readonly #topics = new Map<TopicId, (Partition | undefined)[]>();
  #wal: Wal | null = null;
  readonly #onServe = new Set<(partition: Partition) => void>();
  readonly #onStop = new Set<(partition: Partition) => void>();
  #failure: Error | null = null;
  readonly #onFailure: (cause: Error) => void;

  /** `onFailure` hears once that the WAL closed: nothing more will be acknowledged by this process. */
  constructor(bounds: TailBounds, onFailure: (cause: Error) => void) {
    this.tail = new MemoryTail(bounds);
    this.#onFailure = onFailure;
  }

  /** To which WAL appends go. */
  attach(wal: Wal): void {
    assert(this.#wal === null, "partitions write to one WAL");
    this.#wal = wal;
  }

  get failure(): Error | null {
    return this.#failure;
  }

  get(topic: TopicId, index: PartitionIndex): Partition | undefined {
    return this.#topics.get(topic)?.[index];
  }

  /** Owned partitions of a topic, by index. */
  ofTopic(topic: TopicId): readonly Partition[] {
    return (this.#topics.get(topic) ?? []).filter((partition) => partition !== undefined);
  }

  *[Symbol.iterator](): Iterator<Partition> {
    for (const partitions of this.#topics.values()) {
      for (const partition of partitions) if (partition !== undefined) yield partition;
    }
  }

  /** Those that may be read: the others are still being loaded. */
  *serving(): Iterable<Partition> {
    for (const partition of this) if (partition.isServing) yield partition;
  }

  /** Begins to load a partition; `load` entries into it, then `serve` it. */
  open(options: PartitionOptions): Partition {
    const partition = new Partition(options);
    let partitions = this.#topics.get(options.topicId);
    if (partitions === undefined) this.#topics.set(options.topicId, (partitions = []));
    assert(partitions[options.partition] === undefined, "a partition is opened once");
    partitions[options.partition] = partition;
    return partition;
  }

  /** Everything is loaded: it appends and serves from now on. */
  serve(partition: Partition): void {
    partition.serve();
    for (const listener of this.#onServe) listener(partition);
  }

  /** Called when a partition begins to take appends, in the same step. Must not throw. Returns how to stop it. */
  onServe(listener: (partition: Partition) => void): () => void {
    this.#onServe.add(listener);
    return () => this.#onServe.delete(listener);
  }

  /** Called before a partition takes no more appends (paused, dropped, or somebody else's), in the same step. */
  onStop(listener: (partition: Partition) => void): () => void {
    this.#onStop.add(listener);
    return () => this.#onStop.delete(listener);
  }

  /** Before a partition is given to another broker; see `Partition.pause`. */
  pause(partition: Partition): void {
    for (const listener of this.#onStop) listener(partition);
    partition.pause();
  }

  /** It stays with us. */
  resume(partition: Partition): void {
    partition.resume();
    for (const listener of this.#onServe) listener(partition);
  }

  #close(partition: Partition): void {
    if (partition.takesAppends) for (const listener of this.#onStop) listener(partition);
    partition.close();
  }

  /**
   * Gives a group of an older WAL to the partitions that are open; entries of others are passed over.
   * `jumped`: see `Partition.load`.
   */
  load(entries: readonly WalEntry[], { jumped }: { readonly jumped: boolean }): void {
    const loaded: TailEntry[] = [];
    for (const entry of entries) {
      const kept = this.get(entry.topicId, entry.partition)?.load(entry, jumped);
      if (kept !== undefined) loaded.push(kept);
    }
    if (loaded.length > 0) this.tail.load(loaded);
  }

  /** The topic is deleted: its partitions are closed and forgotten. */
  drop(topic: TopicId): void {
    const partitions = this.ofTopic(topic);
    this.#topics.delete(topic);
    for (const partition of partitions) this.#close(partition);
  }

  /** Somebody else owns the partition now. */
  close(topic: TopicId, index: PartitionIndex): void {
    const partition = this.get(topic, index);
    if (partition === undefined) return;
    delete this.#topics.get(topic)?.[index];
    this.#close(partition);
  }

  /** Begins the appends of one request, see `AppendSession`. `admittedBytes`: what `tail.admit` let in for it. */
  begin(admittedBytes = 0): AppendSession {
    assert(this.#wal !== null, "the WAL is open before anything is appended");
    return this.tail.begin(this.#wal, admittedBytes);
  }

  onDurable(group: WalGroup): void {
    const entries = ownEntries(group.entries);
    this.tail.onDurable(entries, group.end);
    const watched = new Set<Partition>();
    for (const entry of entries) if (entry.owner.onDurable(entry)) watched.add(entry.owner);
    for (const partition of watched) partition.wake();
  }

  onFailure(cause: Error): void {
    this.#failure = cause;
    this.#onFailure(cause);
  }

  /** A FLUSH was decided and its rows were told to the partitions: the WAL below this position is not needed any more. */
  release(below: WalPosition): void {
    this.tail.release(below);
  }
}

/** The WAL gives back the objects that it was given. */
function ownEntries(entries: readonly WalEntry[]): readonly TailEntry[] {
  for (const entry of entries) assert(entry instanceof TailEntry, "the WAL holds entries of partitions only");
  return entries as readonly TailEntry[];
}
