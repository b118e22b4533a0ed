/**
 * The groups of this broker: which partition of `__consumer_offsets` a group's state lies in, and who runs
 * it. The topic is made on first use. Every shard is read when the broker starts, and a request for a
 * group waits until its shard is. What happens by itself (sessions that end, offsets that expire, topics
 * that are deleted) is set in motion here and decided in `coordinator/`.
 */
import { assert } from "../base/assert.ts";
import { partitionIndex } from "../base/ids.ts";
import type { Counter, Env, Timer } from "../base/ports.ts";
import type { GroupSettings } from "../coordinator/group/settings.ts";
import { ShardRuntime } from "../coordinator/runtime.ts";
import { type ExpiredOffset, GroupShard, type Regression } from "../coordinator/shard.ts";
import type { TopicView } from "../coordinator/topic-view.ts";
import type { Ticket, Turn } from "../coordinator/turn.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Wal } from "../log/wal.ts";
import type { Journal } from "../metadata/journal.ts";
import type { TopicState } from "../metadata/state.ts";
import { isInternalTopic } from "./cluster-view.ts";
import type { BrokerConfig } from "./config.ts";
import { memoryShares } from "./memory.ts";
import type { Topics } from "./topics.ts";

export const offsetsTopic = "__consumer_offsets";

export interface GroupsOptions {
  readonly env: Env;
  readonly config: BrokerConfig;
  readonly topics: Topics;
  readonly partitions: Partitions;
  readonly journal: Journal;
  readonly wal: Wal;
  /** A log that cannot be read ends the broker: to serve groups without their offsets would skip records. */
  readonly onFailure: (cause: Error) => void;
}

/** Shards that are read at a time. */
const loadingMax = 4;
const minuteMs = 60_000;
/** Longest delay of a timer: later deadlines are looked at again. */
const timerMaxMs = 60_000;

export class Groups {
  readonly #options: GroupsOptions;
  readonly #settings: GroupSettings;
  readonly #view: TopicView & { version: number };
  /** By partition; empty until the topic is there. */
  #shards: readonly ShardRuntime[] = [];
  #opened: Promise<void> | null = null;
  #isOpen = false;
  #making: Promise<unknown> | null = null;
  #timer: { readonly atMs: number; readonly timer: Timer } | null = null;
  #expiryTimer: Timer | null = null;
  #closed = false;
  readonly #expired: Counter;
  readonly #backward: Counter;

  constructor(options: GroupsOptions) {
    this.#options = options;
    const { groupBytesMax } = memoryShares(options.config);
    const mayGrow = (bytes: number): boolean => this.bytes + bytes <= groupBytesMax;
    this.#settings = { ...groupSettings(options.config), mayGrow };
    this.#view = viewOf(options.topics);
    const { meter } = options.env;
    this.#expired = meter.counter(
      "holdfast_groups_offsets_expired_total",
      "Committed offsets that expired because nobody used them for offsets.retention.minutes.",
    );
    this.#backward = meter.counter(
      "holdfast_groups_commits_backward_total",
      "Commits that moved a group back: what lies between is read again.",
    );
    meter.gauge("holdfast_groups_bytes", "About what groups take in memory.", () => this.bytes);
    meter.gauge("holdfast_groups_count", "Groups with members or committed offsets.", () => this.count);
  }

  /** Begins to read what is there, and follows the journal. */
  start(): void {
    const { topics, journal } = this.#options;
    const topic = topics.byName(offsetsTopic);
    if (topic !== undefined) this.#open(topic);
    journal.onApplied((event) => {
      if (event.kind === "reloaded") return;
      for (const { command, outcome } of event.commands) {
        if (outcome.kind === "void") continue;
        if (command.kind === "topic" || command.kind === "partitions") this.#view.version++;
        if (command.kind !== "drop") continue;
        this.#view.version++;
        this.#forgetDeleted();
      }
    });
    this.#armExpiry();
  }

  /** How often a member of KIP-848 says that it is alive, in ms. */
  get consumerHeartbeatMs(): number {
    return this.#settings.consumerHeartbeatMs;
  }

  /** About what they take in memory. */
  get bytes(): number {
    let bytes = 0;
    for (const { shard } of this.#shards) bytes += shard.bytes;
    return bytes;
  }
  get count(): number {
    return this.#shards.reduce((sum, { shard }) => sum + shard.groupCount, 0);
  }

  /**
   * To be asked before stage one of every request about groups: undefined is yes; a promise resolves once
   * the topic is made, all groups are read, and there is room for `bytes` of records, which then belong to
   * the decision. Rejects as `Journal.append` does.
   */
  enter(bytes = 0): Promise<void> | undefined {
    const { tail } = this.#options.partitions;
    if (this.#isOpen) return tail.admit(bytes);
    return this.#whenOpen().then(() => tail.admit(bytes));
  }

  /** Resolves when every group is read, without making the topic. */
  whenRead(): Promise<void> | undefined {
    return this.#isOpen || this.#opened === null ? undefined : this.#opened;
  }

  /** Decides about one group, after `enter`; resolves when what was decided, and all it relies on, is durable. */
  run<T>(groupId: string, decide: (shard: GroupShard, turn: Turn) => T, admittedBytes = 0): Promise<T> {
    const shard = this.#shardOf(groupId);
    const result = shard.run(decide, admittedBytes);
    this.#arm(shard.nextDeadlineMs);
    return result;
  }

  /** As `run`, for a request that may have to wait for other members. */
  ask<Res>(
    groupId: string,
    decide: (shard: GroupShard, turn: Turn, ticket: Ticket<Res>) => void,
    admittedBytes = 0,
  ): Promise<Res> {
    const shard = this.#shardOf(groupId);
    const answer = shard.ask(decide, admittedBytes);
    this.#arm(shard.nextDeadlineMs);
    return answer;
  }

  /** Looks at every group, where the topic is made; resolves when all that it saw is durable. */
  async runAll<T>(decide: (shard: GroupShard, turn: Turn) => T): Promise<readonly T[]> {
    return Promise.all(this.#shards.map((shard) => shard.run(decide)));
  }

  #shardOf(groupId: string): ShardRuntime {
    const shard = this.#shards[shardIndex(groupId, this.#shards.length)];
    assert(shard !== undefined && this.#isOpen, "a request about groups enters before it decides");
    return shard;
  }

  async #whenOpen(): Promise<void> {
    if (this.#opened === null) {
      this.#making ??= this.#make().finally(() => {
        this.#making = null;
      });
      await this.#making;
      const topic = this.#options.topics.byName(offsetsTopic);
      assert(topic !== undefined, "the topic of groups stays once it is made");
      if (this.#opened === null) this.#open(topic);
    }
    await this.#opened;
  }

  async #make(): Promise<void> {
    const { topics, config } = this.#options;
    if (topics.byName(offsetsTopic) !== undefined) return;
    const partitionCount = config.get("offsets.topic.num.partitions");
    const configs = new Map([
      ["cleanup.policy", "compact"],
      ["compression.type", "producer"],
      ["segment.bytes", "104857600"],
    ]);
    await topics.create({ name: offsetsTopic, partitionCount, configs });
  }

  #open(topic: TopicState): void {
    const { env, partitions, wal, onFailure } = this.#options;
    this.#shards = topic.partitions.map(({ index }) => {
      const partition = partitions.get(topic.id, index);
      assert(partition !== undefined, "one broker owns every partition of the groups' topic");
      const shard = new GroupShard(this.#settings, this.#view);
      return new ShardRuntime({ shard, partition, partitions, wal, clock: env.clock, log: env.log });
    });
    this.#opened = this.#loadAll().then(() => {
      this.#isOpen = true;
      // What was deleted between the last record and the end of the former process.
      this.#forgetDeleted();
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

  // ── What happens by itself ──

  /** Something is due at this time (monotonic), or earlier by what was armed before. */
  #arm(atMs: number): void {
    if (this.#isOver || atMs === Infinity || (this.#timer !== null && this.#timer.atMs <= atMs)) return;
    this.#timer?.timer.cancel();
    const { clock } = this.#options.env;
    const delayMs = Math.min(Math.max(0, atMs - clock.monotonicMs()), timerMaxMs);
    this.#timer = { atMs, timer: clock.schedule(delayMs, () => this.#onTime()) };
  }

  /** The broker stops, or its log is closed: what happens by itself waits for the next process. */
  get #isOver(): boolean {
    return this.#closed || this.#options.partitions.failure !== null;
  }

  #onTime(): void {
    this.#timer = null;
    const nowMs = this.#options.env.clock.monotonicMs();
    for (const shard of this.#shards) if (shard.nextDeadlineMs <= nowMs) shard.onTime();
    this.#armAll();
  }

  #armAll(): void {
    for (const shard of this.#shards) this.#arm(shard.nextDeadlineMs);
  }

  #armExpiry(): void {
    if (this.#isOver) return;
    const { env, config } = this.#options;
    this.#expiryTimer = env.clock.schedule(config.get("offsets.retention.check.interval.ms"), () => {
      if (this.#isOpen && !this.#isOver) this.#expire();
      this.#armExpiry();
    });
  }

  #expire(): void {
    const { topics, partitions, config } = this.#options;
    const isHolding = config.get("offsets.retention.hold");
    const data = {
      holds: ({ topic, partition }: { topic: string; partition: number }): boolean => {
        const id = isHolding ? topics.idOf(topic) : undefined;
        const log = id === undefined ? undefined : partitions.get(id, partitionIndex(partition));
        return log !== undefined && log.logStart < log.logEnd;
      },
    };
    for (const runtime of this.#shards) {
      let gone: readonly ExpiredOffset[] = [];
      this.#runAlone(runtime.run((shard, turn) => (gone = shard.expire(turn, data))));
      for (const { group, topic, partition, committed } of gone) {
        this.#expired.add(1);
        this.#options.env.log.info("group.offset-expired", {
          group,
          topic,
          partition,
          offset: committed.offset,
        });
      }
    }
  }

  #forgetDeleted(): void {
    if (!this.#isOpen || this.#isOver) return;
    const { topics } = this.#options;
    for (const runtime of this.#shards) {
      this.#runAlone(runtime.run((shard, turn) => shard.forgetTopics(turn, (id) => !topics.has(id))));
    }
  }

  /** Nobody waits for it; if the log closes meanwhile, the broker ends, and the next start does it again. */
  #runAlone(done: Promise<unknown>): void {
    done.catch(() => undefined);
  }

  /** Tells of commits that moved a group back: legal, and worth to be seen. */
  noteRegressions(regressions: readonly Regression[]): void {
    for (const { group, topic, partition, from, to } of regressions) {
      this.#backward.add(1);
      this.#options.env.log.info("group.commit-backward", { group, topic, partition, from, to });
    }
  }

  /** The broker stops: whoever waits for other members is answered. */
  close(): void {
    this.#closed = true;
    this.#timer?.timer.cancel();
    this.#expiryTimer?.cancel();
    for (const shard of this.#shards) shard.dismiss();
  }
}

function viewOf(topics: Topics): TopicView & { version: number } {
  return {
    version: 0,
    find(name) {
      const topic = topics.byName(name);
      return topic && { id: topic.id, name, partitionCount: topic.partitions.length };
    },
    nameOf: (id) => topics.byId(id)?.name,
    *names() {
      for (const { name } of topics.all()) yield name;
    },
    isInternal: isInternalTopic,
  };
}

function groupSettings(config: BrokerConfig): Omit<GroupSettings, "mayGrow"> {
  return {
    sessionTimeoutMinMs: config.get("group.min.session.timeout.ms"),
    sessionTimeoutMaxMs: config.get("group.max.session.timeout.ms"),
    initialRebalanceDelayMs: config.get("group.initial.rebalance.delay.ms"),
    membersMax: config.get("group.max.size"),
    consumersMax: config.get("group.consumer.max.size"),
    consumerSessionTimeoutMs: config.get("group.consumer.session.timeout.ms"),
    consumerHeartbeatMs: config.get("group.consumer.heartbeat.interval.ms"),
    mayUpgrade: ["bidirectional", "upgrade"].includes(config.get("group.consumer.migration.policy")),
    mayDowngrade: ["bidirectional", "downgrade"].includes(config.get("group.consumer.migration.policy")),
    metadataBytesMax: config.get("offset.metadata.max.bytes"),
    offsetsRetentionMs: config.get("offsets.retention.minutes") * minuteMs,
  };
}

/** As Kafka places groups: Java's hash of the id, made positive, by the number of partitions. */
export function shardIndex(groupId: string, shardCount: number): number {
  let hash = 0;
  for (let at = 0; at < groupId.length; at++) hash = (Math.imul(31, hash) + groupId.charCodeAt(at)) | 0;
  return hash === -2_147_483_648 ? 0 : Math.abs(hash) % shardCount;
}
