/**
 * The shards of one coordinator: its internal topic, made on first use, with a shard for each of its
 * partitions that this broker owns. A key (a group id, a transactional id) has its place by Kafka's hash.
 * A shard is read when its partition begins to serve here, decides while that takes appends, and is given up
 * in the same step in which it no longer does: from then on nothing is decided about its keys, time-outs
 * included, until somebody, perhaps we again, has read it anew. Time-outs are kept here. What is decided, and
 * what else happens, is none of its business.
 */
import { assert } from "../base/assert.ts";
import { Budget } from "../base/budget.ts";
import { type PartitionIndex, partitionIndex } from "../base/ids.ts";
import { type Env, type Timer, within } from "../base/ports.ts";
import { type ProducerIdentity, ShardRuntime } from "../coordinator/runtime.ts";
import type { RecordCodec, Shard } from "../coordinator/shard.ts";
import type { Ticket, Turn } from "../coordinator/turn.ts";
import type { AppendSession } from "../log/memory-tail.ts";
import type { AppendRefusal } from "../log/outcomes.ts";
import type { Partition } from "../log/partition.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Wal } from "../log/wal.ts";
import type { TopicState } from "../metadata/state.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { AwakeClock } from "./awake-clock.ts";
import type { Topics } from "./topics.ts";

export interface ShardsOptions<S extends Shard<R>, R> {
  readonly env: Env;
  readonly topics: Topics;
  readonly partitions: Partitions;
  readonly wal: Wal;
  readonly topic: {
    readonly name: string;
    readonly partitionCount: () => number;
    readonly configs: ReadonlyMap<string, string>;
  };
  readonly codec: RecordCodec<R>;
  readonly makeShard: (partition: Partition) => S;
  /** The shard is read, and decides from now on. */
  readonly onOpen?: (shard: ShardRuntime<S, R>) => void;
  /** After each decision, in the same step: what it wrote is appended. May decide again. */
  readonly onDecided?: (shard: ShardRuntime<S, R>) => void;
  /** A log that cannot be read ends the broker: to serve without the state would lose what it says. */
  readonly onFailure: (cause: Error) => void;
}

/** Why nothing is decided about a key here. Every client tries again, after it looked for the coordinator anew where that moved. */
export type Away =
  | typeof ErrorCode.NOT_COORDINATOR
  | typeof ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
  | typeof ErrorCode.COORDINATOR_NOT_AVAILABLE;

/** A partition of the topic that this broker owns. */
interface Owned<S extends Shard<R>, R> {
  readonly partition: Partition;
  readonly runtime: ShardRuntime<S, R>;
}

/** Shards that are read at a time. */
const loadingMax = 4;
/** A request waits so long for its shard to be read, and those behind it on its connection; then its client asks again. */
const loadWaitMaxMs = 5_000;

export class Shards<S extends Shard<R>, R> {
  readonly #options: ShardsOptions<S, R>;
  readonly #clock: AwakeClock;
  /** By partition; sparse. */
  readonly #owned: (Owned<S, R> | undefined)[] = [];
  /** Those that are read, in the order of their partitions. */
  #open: readonly ShardRuntime<S, R>[] = [];
  /** Those that are being read: the promise settles when one is open, or given up. */
  readonly #reading = new Map<ShardRuntime<S, R>, Promise<void>>();
  readonly #loading = new Budget(loadingMax);
  #making: Promise<void> | null = null;
  /** 0: not known yet. */
  #count = 0;
  #timer: { readonly atMs: number; readonly timer: Timer } | null = null;
  #closed = false;

  constructor(options: ShardsOptions<S, R>) {
    this.#options = options;
    this.#clock = new AwakeClock(options.env.clock);
  }

  /** Begins to read what is there, and follows what this broker owns. */
  start(): void {
    const { partitions } = this.#options;
    partitions.onServe((partition) => this.#take(partition));
    partitions.onStop((partition) => this.#giveUp(partition));
    const topic = this.#topic;
    if (topic === undefined) return;
    for (const partition of partitions.ofTopic(topic.id)) if (partition.takesAppends) this.#take(partition);
  }

  /** Whether every shard that is here is read. */
  get isOpen(): boolean {
    return this.#reading.size === 0;
  }

  /** The broker stops, or its log is closed: what happens by itself waits for the next process. */
  get isOver(): boolean {
    return this.#closed || this.#options.partitions.failure !== null;
  }

  /** Those that are here and read. */
  get all(): readonly ShardRuntime<S, R>[] {
    return this.#open;
  }

  // ── Before a request is decided ──

  /**
   * To be asked before stage one of a request about these keys: undefined is yes; a promise resolves once the
   * topic is made, those of their shards that are here are read, or that takes too long, and there is room for
   * `bytes` of records, which then belong to the decision. Rejects as `Journal.append` does.
   */
  enter(keys: string | readonly string[], bytes = 0): Promise<void> | undefined {
    const { tail } = this.#options.partitions;
    const waiting = this.whenMade()?.then(() => this.#whenReadOf(keys)) ?? this.#whenReadOf(keys);
    return waiting === undefined ? tail.admit(bytes) : waiting.then(() => tail.admit(bytes));
  }

  /** Resolves when the topic is made, by us or by another broker; undefined: it is there. */
  whenMade(): Promise<void> | undefined {
    if (this.#partitionCount > 0) return undefined;
    this.#making ??= this.#make().finally(() => {
      this.#making = null;
    });
    return this.#making;
  }

  /** Resolves when every shard that is here is read or given up, without making the topic; undefined: they are. */
  whenRead(): Promise<void> | undefined {
    if (this.isOpen) return undefined;
    return Promise.all(this.#reading.values()).then(() => this.whenRead());
  }

  /** As `whenRead`, for a request: if that takes too long, what is read is all there is. */
  whenListable(): Promise<void> | undefined {
    const reading = this.whenRead();
    return reading === undefined ? undefined : this.#bounded(reading);
  }

  /** Whether every partition of the topic that is here is read, and none of them is about to go. */
  get isComplete(): boolean {
    const topic = this.#topic;
    if (topic === undefined) return true;
    return this.#options.partitions
      .ofTopic(topic.id)
      .every(({ partition }) => this.awayFrom(partition) === null);
  }

  /** Why nothing can be decided about the key here and now; null: it can. To be asked in the same step. */
  away(key: string): Away | null {
    const count = this.#partitionCount;
    if (count === 0) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    return this.awayFrom(partitionIndex(shardIndex(key, count)));
  }

  /** As `away`, of all keys that have their place in the partition. */
  awayFrom(index: PartitionIndex): Away | null {
    if (this.#owned[index]?.runtime.isOpen === true) return null;
    const topic = this.#topic;
    if (topic === undefined) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    // Also while it is loaded, or given to somebody else: where it will be is not decided yet.
    const isHere = this.#options.partitions.get(topic.id, index) !== undefined;
    return isHere ? ErrorCode.COORDINATOR_LOAD_IN_PROGRESS : ErrorCode.NOT_COORDINATOR;
  }

  /** The partition in which the key has its place, once the topic is made, whoever owns it. */
  partitionOf(key: string): PartitionIndex {
    const count = this.#partitionCount;
    assert(count > 0, "the topic of a coordinator is made before a key has its place");
    return partitionIndex(shardIndex(key, count));
  }

  // ── Decisions, where nothing is away ──

  /** Decides about one key; resolves when what was decided, and all it relies on, is durable. */
  run<T>(key: string, decide: (shard: S, turn: Turn<R>) => T, admittedBytes = 0): Promise<T> {
    return this.#decide(this.shardOf(key), (shard) => shard.run(decide, admittedBytes));
  }

  /** As `run`, with what it writes inside the producer's transaction: it holds once that commits. */
  runIn<T>(
    key: string,
    producer: ProducerIdentity,
    decide: (shard: S, turn: Turn<R>) => T,
    admittedBytes = 0,
  ): Promise<{ readonly kind: "decided"; readonly result: T } | AppendRefusal> {
    return this.#decide(this.shardOf(key), (shard) => shard.runIn(producer, decide, admittedBytes));
  }

  /** As `run`, into a session of the caller's, which see `ShardRuntime.runInto`. */
  runInto<T>(key: string, session: AppendSession, decide: (shard: S, turn: Turn<R>) => T): T {
    return this.#decide(this.shardOf(key), (shard) => shard.runInto(session, decide));
  }

  /** As `run`, for a request that may have to wait for others. */
  ask<Res>(
    key: string,
    decide: (shard: S, turn: Turn<R>, ticket: Ticket<Res>) => void,
    admittedBytes = 0,
  ): Promise<Res> {
    return this.#decide(this.shardOf(key), (shard) => shard.ask(decide, admittedBytes));
  }

  /** Decides in every shard that is here and read; resolves when all that they saw is durable. */
  async runAll<T>(decide: (shard: S, turn: Turn<R>) => T): Promise<readonly T[]> {
    return Promise.all(this.all.map((each) => this.#decide(each, (shard) => shard.run(decide))));
  }

  /** As `runAll`, for what nobody waits for: if the log closes meanwhile, the next start does it again. */
  runAlone(decide: (shard: S, turn: Turn<R>) => void): void {
    for (const each of this.all) this.runAloneIn(each, decide);
  }

  /** As `runAlone`, in one shard. */
  runAloneIn(one: ShardRuntime<S, R>, decide: (shard: S, turn: Turn<R>) => void): void {
    this.#decide(one, (shard) => shard.run(decide)).catch(() => undefined);
  }

  #decide<T>(shard: ShardRuntime<S, R>, decide: (shard: ShardRuntime<S, R>) => T): T {
    const result = decide(shard);
    this.#options.onDecided?.(shard);
    this.#arm(shard.nextDeadlineMs);
    return result;
  }

  /** Where the key is not away. */
  shardOf(key: string): ShardRuntime<S, R> {
    return this.at(this.partitionOf(key));
  }

  /** Where nothing of the partition is away. */
  at(partition: PartitionIndex): ShardRuntime<S, R> {
    const shard = this.#owned[partition]?.runtime;
    assert(shard?.isOpen === true, "whoever decides asks first whether the key is away");
    return shard;
  }

  // ── Shards come and go ──

  get #topic(): TopicState | undefined {
    return this.#options.topics.byName(this.#options.topic.name);
  }

  /** 0: it is not made yet. It never changes, since nobody may delete the topic or give it more partitions. */
  get #partitionCount(): number {
    if (this.#count === 0) this.#count = this.#topic?.partitions.length ?? 0;
    return this.#count;
  }

  async #make(): Promise<void> {
    const { topics, topic } = this.#options;
    const { name, configs } = topic;
    // Where it is refused somebody else was first, or a broker that was to own some of it is gone: then it is tried again.
    await topics.create({ name, partitionCount: topic.partitionCount(), configs });
  }

  /** Synchronous: a partition begins to take appends here. */
  #take(partition: Partition): void {
    if (partition.topicId !== this.#topic?.id) return;
    assert(this.#owned[partition.partition] === undefined, "a partition has one shard at a time");
    const { env, partitions, wal, codec, makeShard, topic } = this.#options;
    const { log } = env;
    const shard = makeShard(partition);
    const runtime = new ShardRuntime({
      shard,
      codec,
      topic: topic.name,
      partition,
      partitions,
      wal,
      clock: this.#clock,
      log,
    });
    this.#owned[partition.partition] = { partition, runtime };
    this.#reading.set(runtime, this.#read(runtime));
  }

  async #read(runtime: ShardRuntime<S, R>): Promise<void> {
    const { onOpen, onFailure } = this.#options;
    await this.#loading.take(1);
    try {
      await runtime.load();
    } catch (cause) {
      // What was given up meanwhile is read by somebody else.
      if (!runtime.isStopped) onFailure(cause as Error);
    }
    this.#loading.give(1);
    this.#reading.delete(runtime);
    if (!runtime.isOpen) return;
    this.#list();
    onOpen?.(runtime);
    this.#arm(runtime.nextDeadlineMs);
  }

  /** Synchronous: a partition is about to take no more appends here. */
  #giveUp(partition: Partition): void {
    const owned = this.#owned[partition.partition];
    if (owned?.partition !== partition) return;
    this.#owned[partition.partition] = undefined;
    owned.runtime.stop();
    this.#list();
  }

  #list(): void {
    this.#open = this.#owned.flatMap((each) => (each?.runtime.isOpen === true ? [each.runtime] : []));
  }

  /** Of the shards of these keys that are here. */
  #whenReadOf(keys: string | readonly string[]): Promise<void> | undefined {
    if (this.#reading.size === 0) return undefined;
    const reading: Promise<void>[] = [];
    for (const key of typeof keys === "string" ? [keys] : keys) {
      const owned = this.#owned[shardIndex(key, this.#partitionCount)];
      const one = owned && this.#reading.get(owned.runtime);
      if (one !== undefined) reading.push(one);
    }
    return reading.length === 0 ? undefined : this.#bounded(Promise.all(reading));
  }

  #bounded(reading: Promise<unknown>): Promise<void> {
    const nothing = (): void => undefined;
    return within(this.#options.env.clock, loadWaitMaxMs, reading.then(nothing), nothing);
  }

  // ── Time ──

  /** Something is due at this time (monotonic), or earlier by what was armed before. */
  #arm(atMs: number): void {
    if (this.isOver || atMs === Infinity || (this.#timer !== null && this.#timer.atMs <= atMs)) return;
    this.#timer?.timer.cancel();
    const delayMs = atMs - this.#clock.monotonicMs();
    this.#timer = { atMs, timer: this.#clock.schedule(delayMs, () => this.#onTime()) };
  }

  #onTime(): void {
    this.#timer = null;
    const nowMs = this.#clock.monotonicMs();
    for (const shard of this.all) {
      if (shard.nextDeadlineMs <= nowMs) this.#decide(shard, () => shard.onTime());
    }
    for (const shard of this.all) this.#arm(shard.nextDeadlineMs);
  }

  /** The broker stops: whoever waits for others is answered. */
  close(): void {
    this.#closed = true;
    this.#timer?.timer.cancel();
    for (const shard of this.all) shard.dismiss();
  }
}

/** As Kafka places groups and transactional ids: Java's hash of the id, made positive, by the number of partitions. */
export function shardIndex(key: string, shardCount: number): number {
  let hash = 0;
  for (let at = 0; at < key.length; at++) hash = (Math.imul(31, hash) + key.charCodeAt(at)) | 0;
  return hash === -2_147_483_648 ? 0 : Math.abs(hash) % shardCount;
}
