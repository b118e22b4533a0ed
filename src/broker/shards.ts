/**
 * The shards of one coordinator: its internal topic, made on first use, with a shard per partition. A key
 * (a group id, a transactional id) has its place by Kafka's hash. Every shard is read when the broker
 * starts, and a request waits until they are. Time-outs of the shards are kept here. What is decided, and
 * what else happens, is none of its business.
 */
import { assert } from "../base/assert.ts";
import { partitionIndex, type PartitionIndex } from "../base/ids.ts";
import type { Env, Timer } from "../base/ports.ts";
import { type ProducerIdentity, ShardRuntime } from "../coordinator/runtime.ts";
import type { RecordCodec, Shard } from "../coordinator/shard.ts";
import type { Ticket, Turn } from "../coordinator/turn.ts";
import type { AppendRefusal } from "../log/outcomes.ts";
import type { Partition } from "../log/partition.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Wal } from "../log/wal.ts";
import type { TopicState } from "../metadata/state.ts";
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
  /** Every shard is read, and from now on decides. */
  readonly onOpen?: () => void;
  /** After each decision, in the same step: what it wrote is appended. May decide again. */
  readonly onDecided?: (shard: ShardRuntime<S, R>) => void;
  /** A log that cannot be read ends the broker: to serve without the state would lose what it says. */
  readonly onFailure: (cause: Error) => void;
}

/** Shards that are read at a time. */
const loadingMax = 4;
/** Longest delay of a timer: later deadlines are looked at again. */
const timerMaxMs = 60_000;

export class Shards<S extends Shard<R>, R> {
  readonly #options: ShardsOptions<S, R>;
  /** By partition; empty until the topic is there. */
  #shards: readonly ShardRuntime<S, R>[] = [];
  #opened: Promise<void> | null = null;
  #isOpen = false;
  #making: Promise<unknown> | null = null;
  #timer: { readonly atMs: number; readonly timer: Timer } | null = null;
  #closed = false;

  constructor(options: ShardsOptions<S, R>) {
    this.#options = options;
  }

  /** Begins to read what is there. */
  start(): void {
    const topic = this.#options.topics.byName(this.#options.topic.name);
    if (topic !== undefined) this.#open(topic);
  }

  /** Whether every shard is read. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** The broker stops, or its log is closed: what happens by itself waits for the next process. */
  get isOver(): boolean {
    return this.#closed || this.#options.partitions.failure !== null;
  }

  /** By partition; empty until the topic is there. */
  get all(): readonly ShardRuntime<S, R>[] {
    return this.#shards;
  }

  /**
   * To be asked before stage one of every request: undefined is yes; a promise resolves once the topic is
   * made, all of it is read, and there is room for `bytes` of records, which then belong to the decision.
   * Rejects as `Journal.append` does.
   */
  enter(bytes = 0): Promise<void> | undefined {
    const { tail } = this.#options.partitions;
    if (this.#isOpen) return tail.admit(bytes);
    return this.#whenOpen().then(() => tail.admit(bytes));
  }

  /** Resolves when everything that is there is read, without making the topic; undefined: it is, or there is none. */
  whenRead(): Promise<void> | undefined {
    if (this.#isOpen) return undefined;
    const { topics, topic } = this.#options;
    // A user may have made the topic.
    const isThere = this.#opened !== null || this.#making !== null || topics.byName(topic.name) !== undefined;
    return isThere ? this.#whenOpen() : undefined;
  }

  /** Decides about one key, after `enter`; resolves when what was decided, and all it relies on, is durable. */
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

  /** As `run`, for a request that may have to wait for others. */
  ask<Res>(
    key: string,
    decide: (shard: S, turn: Turn<R>, ticket: Ticket<Res>) => void,
    admittedBytes = 0,
  ): Promise<Res> {
    return this.#decide(this.shardOf(key), (shard) => shard.ask(decide, admittedBytes));
  }

  /** Decides in every shard, where the topic is made; resolves when all that they saw is durable. */
  async runAll<T>(decide: (shard: S, turn: Turn<R>) => T): Promise<readonly T[]> {
    return Promise.all(this.#shards.map((each) => this.#decide(each, (shard) => shard.run(decide))));
  }

  /** As `runAll`, for what nobody waits for: if the log closes meanwhile, the next start does it again. */
  runAlone(decide: (shard: S, turn: Turn<R>) => void): void {
    for (const each of this.#shards) {
      this.#decide(each, (shard) => shard.run(decide)).catch(() => undefined);
    }
  }

  #decide<T>(shard: ShardRuntime<S, R>, decide: (shard: ShardRuntime<S, R>) => T): T {
    const result = decide(shard);
    this.#options.onDecided?.(shard);
    this.#arm(shard.nextDeadlineMs);
    return result;
  }

  /** After `enter`. */
  shardOf(key: string): ShardRuntime<S, R> {
    return this.at(this.partitionOf(key));
  }

  /** The partition in which the key has its place, after `enter`. */
  partitionOf(key: string): PartitionIndex {
    return partitionIndex(shardIndex(key, this.#shards.length));
  }

  /** After `enter` or `whenRead`. */
  at(partition: PartitionIndex): ShardRuntime<S, R> {
    const shard = this.#shards[partition];
    assert(shard !== undefined && this.#isOpen, "a request enters before it decides");
    return shard;
  }

  async #whenOpen(): Promise<void> {
    if (this.#opened === null) {
      this.#making ??= this.#make().finally(() => {
        this.#making = null;
      });
      await this.#making;
    }
    await this.#opened;
  }

  async #make(): Promise<void> {
    const { topics, topic } = this.#options;
    const { name, configs } = topic;
    if (topics.byName(name) === undefined) {
      await topics.create({ name, partitionCount: topic.partitionCount(), configs });
    }
    const made = topics.byName(name);
    assert(made !== undefined, "the topic of a coordinator stays once it is made");
    if (this.#opened === null) this.#open(made);
  }

  #open(topic: TopicState): void {
    const { env, partitions, wal, codec, makeShard, onOpen, onFailure } = this.#options;
    this.#shards = topic.partitions.map(({ index }) => {
      const partition = partitions.get(topic.id, index);
      assert(partition !== undefined, "one broker owns every partition of a coordinator's topic");
      const { clock, log } = env;
      return new ShardRuntime({
        shard: makeShard(partition),
        codec,
        topic: topic.name,
        partition,
        partitions,
        wal,
        clock,
        log,
      });
    });
    this.#opened = this.#loadAll().then(() => {
      this.#isOpen = true;
      onOpen?.();
      this.#armAll();
    });
    this.#opened.catch((cause: unknown) => onFailure(cause as Error));
  }

  async #loadAll(): Promise<void> {
    let next = 0;
    const loadSome = async (): Promise<void> => {
      for (let one = this.#shards[next++]; one !== undefined; one = this.#shards[next++]) await one.load();
    };
    await Promise.all(Array.from({ length: loadingMax }, loadSome));
  }

  // ── Time ──

  /** Something is due at this time (monotonic), or earlier by what was armed before. */
  #arm(atMs: number): void {
    if (this.isOver || atMs === Infinity || (this.#timer !== null && this.#timer.atMs <= atMs)) return;
    this.#timer?.timer.cancel();
    const { clock } = this.#options.env;
    const delayMs = Math.min(Math.max(0, atMs - clock.monotonicMs()), timerMaxMs);
    this.#timer = { atMs, timer: clock.schedule(delayMs, () => this.#onTime()) };
  }

  #onTime(): void {
    this.#timer = null;
    const nowMs = this.#options.env.clock.monotonicMs();
    for (const shard of this.#shards) {
      if (shard.nextDeadlineMs <= nowMs) this.#decide(shard, () => shard.onTime());
    }
    this.#armAll();
  }

  #armAll(): void {
    for (const shard of this.#shards) this.#arm(shard.nextDeadlineMs);
  }

  /** The broker stops: whoever waits for others is answered. */
  close(): void {
    this.#closed = true;
    this.#timer?.timer.cancel();
    for (const shard of this.#shards) shard.dismiss();
  }
}

/** As Kafka places groups and transactional ids: Java's hash of the id, made positive, by the number of partitions. */
export function shardIndex(key: string, shardCount: number): number {
  let hash = 0;
  for (let at = 0; at < key.length; at++) hash = (Math.imul(31, hash) + key.charCodeAt(at)) | 0;
  return hash === -2_147_483_648 ? 0 : Math.abs(hash) % shardCount;
}
