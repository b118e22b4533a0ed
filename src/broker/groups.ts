/**
 * The groups of this broker: those whose partition of `__consumer_offsets` it owns. Their state lies there and
 * is decided in `coordinator/`; what happens by itself (offsets that expire, topics that are deleted) is set in
 * motion here. About a group that is somewhere else nothing is told but that.
 */
import { partitionIndex, type PartitionIndex } from "../base/ids.ts";
import type { Counter, Env, Timer } from "../base/ports.ts";
import { type GroupRecord, groupRecords, type GroupTurn } from "../coordinator/group/records.ts";
import type { GroupSettings } from "../coordinator/group/settings.ts";
import { type ExpiredOffset, GroupShard, type Regression } from "../coordinator/group/shard.ts";
import type { ShareGroup } from "../coordinator/group/share.ts";
import type { ProducerIdentity } from "../coordinator/runtime.ts";
import type { TopicView } from "../coordinator/topic-view.ts";
import type { Ticket } from "../coordinator/turn.ts";
import type { AppendSession } from "../log/memory-tail.ts";
import type { AppendRefusal, MarkerWish, MarkOutcome } from "../log/outcomes.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Wal } from "../log/wal.ts";
import type { Journal } from "../metadata/journal.ts";
import type { JournalEvent } from "../metadata/outcomes.ts";
import { isInternalTopic } from "./cluster-view.ts";
import type { BrokerConfig } from "./config.ts";
import { heartbeatMs, sessionTimeoutMs } from "./group-config.ts";
import { memoryShares } from "./memory.ts";
import { shareSettingsOf } from "./share/settings.ts";
import { type Away, Shards } from "./shards.ts";
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

/** The group's partition is not here, or not read yet. */
export interface Elsewhere {
  readonly kind: "elsewhere";
  readonly errorCode: Away;
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
      // What was deleted between its last record and now.
      onOpen: (shard) => this.#shards.runAloneIn(shard, (each, turn) => this.#forgetDeleted(each, turn)),
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
    meter.gauge("holdfast_share_groups_count", "Share groups, with members or without.", () => {
      return this.#shareGroups().length;
    });
    meter.gauge("holdfast_share_group_members_count", "Members of all share groups.", () => {
      return this.#shareGroups().reduce((sum, group) => sum + group.memberCount, 0);
    });
  }

  /** Begins to read what is there, and follows the journal. */
  start(): void {
    this.#shards.start();
    this.#options.journal.onApplied((event) => this.#onApplied(event));
    this.#armExpiry();
  }

  /** How often a member of KIP-848 says that it is alive, in ms. */
  consumerHeartbeatMs(groupId: string): number {
    return heartbeatMs(groupId, this.#options.journal.state, this.#options.config);
  }

  /** After so many ms without a sign of life a member of KIP-848 is out. */
  consumerSessionMs(groupId: string): number {
    return this.#settings.consumerSessionTimeoutMs(groupId);
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

  #shareGroups(): readonly ShareGroup[] {
    const groups = this.#shards.all.flatMap(({ shard }) => [...shard.groups()]);
    return groups.flatMap(({ share }) => (share === null ? [] : [share]));
  }

  // ── Before a request is decided ──

  /**
   * To be asked before stage one of every request about these groups: undefined is yes; a promise resolves once
   * the topic is made, the groups are read where they are here, and there is room for `bytes` of records, which
   * then belong to the decision. Rejects as `Journal.append` does.
   */
  enter(groupIds: string | readonly string[], bytes = 0): Promise<void> | undefined {
    return this.#shards.enter(groupIds, bytes);
  }

  /** Resolves when their topic is made, by us or by another broker; undefined: it is there. */
  whenMade(): Promise<void> | undefined {
    return this.#shards.whenMade();
  }

  /** Resolves when every group that is here is read, without making the topic. */
  whenRead(): Promise<void> | undefined {
    return this.#shards.whenRead();
  }

  /** As `whenRead`, for a request: if that takes too long, `isComplete` tells. */
  whenListable(): Promise<void> | undefined {
    return this.#shards.whenListable();
  }

  /** Whether every group that is here is read. */
  get isComplete(): boolean {
    return this.#shards.isComplete;
  }

  /** Why nothing can be decided about the group here and now; null: it can. */
  away(groupId: string): Away | null {
    return this.#shards.away(groupId);
  }

  /** The partition of `__consumer_offsets` in which the group's offsets lie, whoever owns it; once the topic is made. */
  partitionOf(groupId: string): PartitionIndex {
    return this.#shards.partitionOf(groupId);
  }

  // ── Decisions ──

  /**
   * Decides about one group, after `enter`; resolves when what was decided, and all it relies on, is durable.
   * `elsewhere`: the answer where the group is not here.
   */
  run<T>(
    groupId: string,
    decide: (shard: GroupShard, turn: GroupTurn) => T,
    elsewhere: (errorCode: Away) => T,
    admittedBytes = 0,
  ): Promise<T> {
    const away = this.#refuse(groupId, admittedBytes);
    if (away !== null) return Promise.resolve(elsewhere(away));
    return this.#shards.run(groupId, decide, admittedBytes);
  }

  /** As `run`, for a request that may have to wait for other members. */
  ask<Res>(
    groupId: string,
    decide: (shard: GroupShard, turn: GroupTurn, ticket: Ticket<Res>) => void,
    elsewhere: (errorCode: Away) => Res,
    admittedBytes = 0,
  ): Promise<Res> {
    const away = this.#refuse(groupId, admittedBytes);
    if (away !== null) return Promise.resolve(elsewhere(away));
    return this.#shards.ask(groupId, decide, admittedBytes);
  }

  /** As `run`, with what it writes inside a producer's transaction: it holds once that commits. */
  runIn<T>(
    groupId: string,
    producer: ProducerIdentity,
    decide: (shard: GroupShard, turn: GroupTurn) => T,
    admittedBytes = 0,
  ): Promise<{ readonly kind: "decided"; readonly result: T } | AppendRefusal | Elsewhere> {
    const away = this.#refuse(groupId, admittedBytes);
    if (away !== null) return Promise.resolve({ kind: "elsewhere", errorCode: away });
    return this.#shards.runIn(groupId, producer, decide, admittedBytes);
  }

  #refuse(groupId: string, admittedBytes: number): Away | null {
    const away = this.#shards.away(groupId);
    if (away !== null && admittedBytes > 0) this.#options.partitions.tail.dismiss(admittedBytes);
    return away;
  }

  /**
   * Ends a producer's transaction in one partition of `__consumer_offsets`: writes its marker and in the same
   * step lets the offsets that it holds count, or go. Into `session`, whose `commit` must follow in the same
   * step; null: into one of its own.
   */
  mark(
    partition: PartitionIndex,
    wish: MarkerWish,
    session: AppendSession | null = null,
  ): MarkOutcome | Elsewhere {
    const away = this.#shards.awayFrom(partition);
    if (away !== null) return { kind: "elsewhere", errorCode: away };
    return this.#shards.at(partition).mark(wish, session);
  }

  /** Looks at every group that is here, after `whenRead`; resolves when all that it saw is durable. */
  async runAll<T>(decide: (shard: GroupShard, turn: GroupTurn) => T): Promise<readonly T[]> {
    return this.#shards.runAll(decide);
  }

  // ── What happens by itself ──

  #armExpiry(): void {
    if (this.#shards.isOver) return;
    const { env, config } = this.#options;
    this.#expiryTimer = env.clock.schedule(config.get("offsets.retention.check.interval.ms"), () => {
      if (!this.#shards.isOver) this.#expire();
      this.#armExpiry();
    });
  }

  #expire(): void {
    const { topics, partitions, config } = this.#options;
    const isHolding = config.get("offsets.retention.hold");
    const data = {
      holds: ({ topic, partition }: { topic: string; partition: number }): boolean => {
        const known = isHolding ? topics.byName(topic) : undefined;
        const state = known?.partitions[partitionIndex(partition)];
        if (known === undefined || state === undefined) return false;
        const log = partitions.get(known.id, state.index);
        if (log?.isServing === true) return log.logStart < log.logEnd;
        // Somebody else has it: of records that are in no segment yet the journal knows only those of dead brokers.
        return state.start < state.flushed || state.dependencies.length > 0;
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

  #onApplied(event: JournalEvent): void {
    const changes = event.kind === "reloaded" ? [] : event.commands;
    const done = changes.flatMap(({ command, outcome }) => (outcome.kind === "void" ? [] : [command.kind]));
    const isGone = event.kind === "reloaded" || done.includes("drop");
    if (isGone || done.includes("topic") || done.includes("partitions")) this.#view.version++;
    if (isGone && !this.#shards.isOver)
      this.#shards.runAlone((shard, turn) => this.#forgetDeleted(shard, turn));
  }

  #forgetDeleted(shard: GroupShard, turn: GroupTurn): void {
    const { topics } = this.#options;
    shard.forgetTopics(turn, (id) => !topics.has(id));
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
    shareMembersMax: config.get("group.share.max.size"),
    shareSessionTimeoutMs: (groupId) => shareSettingsOf(groupId, journal.state, config).sessionTimeoutMs,
    mayUpgrade: ["bidirectional", "upgrade"].includes(config.get("group.consumer.migration.policy")),
    mayDowngrade: ["bidirectional", "downgrade"].includes(config.get("group.consumer.migration.policy")),
    metadataBytesMax: config.get("offset.metadata.max.bytes"),
    offsetsRetentionMs: config.get("offsets.retention.minutes") * minuteMs,
  };
}
