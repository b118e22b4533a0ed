/**
 * The groups of this broker. Their state lies in `__consumer_offsets` and is decided in `coordinator/`;
 * what happens by itself (offsets that expire, topics that are deleted) is set in motion here.
 */
import { partitionIndex, type PartitionIndex } from "../base/ids.ts";
import type { Counter, Env, Timer } from "../base/ports.ts";
import { type GroupRecord, groupRecords, type GroupTurn } from "../coordinator/group/records.ts";
import type { GroupSettings } from "../coordinator/group/settings.ts";
import { type ExpiredOffset, GroupShard, type Regression } from "../coordinator/group/shard.ts";
import type { ProducerIdentity } from "../coordinator/runtime.ts";
import type { TopicView } from "../coordinator/topic-view.ts";
import type { Ticket } from "../coordinator/turn.ts";
import type { AppendSession } from "../log/memory-tail.ts";
import type { AppendRefusal, MarkerWish, MarkOutcome } from "../log/outcomes.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Wal } from "../log/wal.ts";
import type { Journal } from "../metadata/journal.ts";
import { isInternalTopic } from "./cluster-view.ts";
import type { BrokerConfig } from "./config.ts";
import { heartbeatMs, sessionTimeoutMs } from "./group-config.ts";
import { memoryShares } from "./memory.ts";
import { Shards } from "./shards.ts";
import type { Topics } from "./topics.ts";

export const offsetsTopic = "__consumer_offsets";
const offsetsConfigs = new Map([
  ["cleanup.policy", "compact"],
  ["compression.type", "producer"],
  ["segment.bytes", "104857600"],
]);

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

const minuteMs = 60_000;

export class Groups {
  readonly #options: GroupsOptions;
  readonly #settings: GroupSettings;
  readonly #view: TopicView & { version: number };
  readonly #shards: Shards<GroupShard, GroupRecord>;
  #expiryTimer: Timer | null = null;
  readonly #expired: Counter;
  readonly #backward: Counter;

  constructor(options: GroupsOptions) {
    this.#options = options;
    const { groupBytesMax } = memoryShares(options.config);
    const mayGrow = (bytes: number): boolean => this.bytes + bytes <= groupBytesMax;
    this.#settings = { ...groupSettings(options), mayGrow };
    this.#view = viewOf(options.topics);
    const { env, topics, partitions, wal, config, onFailure } = options;
    this.#shards = new Shards({
      env,
      topics,
      partitions,
      wal,
      topic: {
        name: offsetsTopic,
        partitionCount: () => config.get("offsets.topic.num.partitions"),
        configs: offsetsConfigs,
      },
      codec: groupRecords,
      makeShard: () => new GroupShard(this.#settings, this.#view, (each) => this.#noteBackward(each)),
      // What was deleted between the last record and the end of the former process.
      onOpen: () => this.#forgetDeleted(),
      onFailure,
    });
    const { meter } = env;
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
    this.#shards.start();
    this.#options.journal.onApplied((event) => {
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
  consumerHeartbeatMs(groupId: string): number {
    return heartbeatMs(groupId, this.#options.journal.state, this.#options.config);
  }

  /** About what they take in memory. */
  get bytes(): number {
    let bytes = 0;
    for (const { shard } of this.#shards.all) bytes += shard.bytes;
    return bytes;
  }
  get count(): number {
    return this.#shards.all.reduce((sum, { shard }) => sum + shard.groupCount, 0);
  }

  /**
   * To be asked before stage one of every request about groups: undefined is yes; a promise resolves once
   * the topic is made, all groups are read, and there is room for `bytes` of records, which then belong to
   * the decision. Rejects as `Journal.append` does.
   */
  enter(bytes = 0): Promise<void> | undefined {
    return this.#shards.enter(bytes);
  }

  /** Resolves when every group is read, without making the topic. */
  whenRead(): Promise<void> | undefined {
    return this.#shards.whenRead();
  }

  /** Decides about one group, after `enter`; resolves when what was decided, and all it relies on, is durable. */
  run<T>(groupId: string, decide: (shard: GroupShard, turn: GroupTurn) => T, admittedBytes = 0): Promise<T> {
    return this.#shards.run(groupId, decide, admittedBytes);
  }

  /** As `run`, with what it writes inside a producer's transaction: it holds once that commits. */
  runIn<T>(
    groupId: string,
    producer: ProducerIdentity,
    decide: (shard: GroupShard, turn: GroupTurn) => T,
    admittedBytes = 0,
  ): Promise<{ readonly kind: "decided"; readonly result: T } | AppendRefusal> {
    return this.#shards.runIn(groupId, producer, decide, admittedBytes);
  }

  /** The partition of `__consumer_offsets` in which the group's offsets lie, after `enter`. */
  partitionOf(groupId: string): PartitionIndex {
    return this.#shards.partitionOf(groupId);
  }

  /**
   * Ends a producer's transaction in one partition of `__consumer_offsets`: writes its marker and in the same
   * step lets the offsets that it holds count, or go. After `enter` or `whenRead`. Into `session`, whose
   * `commit` must follow in the same step; null: into one of its own.
   */
  mark(partition: PartitionIndex, wish: MarkerWish, session: AppendSession | null = null): MarkOutcome {
    return this.#shards.at(partition).mark(wish, session);
  }

  /** As `run`, for a request that may have to wait for other members. */
  ask<Res>(
    groupId: string,
    decide: (shard: GroupShard, turn: GroupTurn, ticket: Ticket<Res>) => void,
    admittedBytes = 0,
  ): Promise<Res> {
    return this.#shards.ask(groupId, decide, admittedBytes);
  }

  /** Looks at every group, where the topic is made; resolves when all that it saw is durable. */
  async runAll<T>(decide: (shard: GroupShard, turn: GroupTurn) => T): Promise<readonly T[]> {
    return this.#shards.runAll(decide);
  }

  // ── What happens by itself ──

  #armExpiry(): void {
    if (this.#shards.isOver) return;
    const { env, config } = this.#options;
    this.#expiryTimer = env.clock.schedule(config.get("offsets.retention.check.interval.ms"), () => {
      if (this.#shards.isOpen && !this.#shards.isOver) this.#expire();
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
    this.#shards.runAlone((shard, turn) => this.#noteExpired(shard.expire(turn, data)));
  }

  #noteExpired(gone: readonly ExpiredOffset[]): void {
    for (const { group, topic, partition, committed } of gone) {
      this.#expired.add(1);
      const { offset } = committed;
      this.#options.env.log.info("group.offset-expired", { group, topic, partition, offset });
    }
  }

  #forgetDeleted(): void {
    if (!this.#shards.isOpen || this.#shards.isOver) return;
    const { topics } = this.#options;
    this.#shards.runAlone((shard, turn) => shard.forgetTopics(turn, (id) => !topics.has(id)));
  }

  #noteBackward({ group, topic, partition, from, to }: Regression): void {
    this.#backward.add(1);
    this.#options.env.log.info("group.commit-backward", { group, topic, partition, from, to });
  }

  /** The broker stops: whoever waits for other members is answered. */
  close(): void {
    this.#expiryTimer?.cancel();
    this.#shards.close();
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

function groupSettings({ config, journal }: GroupsOptions): Omit<GroupSettings, "mayGrow"> {
  return {
    sessionTimeoutMinMs: config.get("group.min.session.timeout.ms"),
    sessionTimeoutMaxMs: config.get("group.max.session.timeout.ms"),
    initialRebalanceDelayMs: config.get("group.initial.rebalance.delay.ms"),
    membersMax: config.get("group.max.size"),
    consumersMax: config.get("group.consumer.max.size"),
    consumerSessionTimeoutMs: (groupId) => sessionTimeoutMs(groupId, journal.state, config),
    mayUpgrade: ["bidirectional", "upgrade"].includes(config.get("group.consumer.migration.policy")),
    mayDowngrade: ["bidirectional", "downgrade"].includes(config.get("group.consumer.migration.policy")),
    metadataBytesMax: config.get("offset.metadata.max.bytes"),
    offsetsRetentionMs: config.get("offsets.retention.minutes") * minuteMs,
  };
}
