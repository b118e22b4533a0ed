/**
 * Topics as clients name them, and the changes to them that go through the journal. A topic is visible
 * from the moment it can be written: its partitions are opened in the same step in which the journal's
 * command is applied.
 */
import { type NodeId, partitionIndex, type TopicId } from "../base/ids.ts";
import type { Logger, Random } from "../base/ports.ts";
import type { ColdReader } from "../log/cold-reader.ts";
import type { LogConfig } from "../log/log-config.ts";
import type { Partition } from "../log/partition.ts";
import type { Partitions } from "../log/partitions.ts";
import type { PartitionSegments } from "../log/segment-list.ts";
import { assignTopic } from "../metadata/assignment.ts";
import type { Assignment, Command } from "../metadata/commands.ts";
import type { Journal } from "../metadata/journal.ts";
import type { JournalEvent, VoidReason } from "../metadata/outcomes.ts";
import type { PartitionState, TopicState } from "../metadata/state.ts";
import { alone, type Peers, whenToldToAll } from "./cluster/cluster.ts";
import type { BrokerConfig } from "./config.ts";
import { randomShortUuid } from "./random-uuid.ts";
import { logConfigOf } from "./topic-config.ts";

export type TopicChange =
  | { readonly kind: "done"; readonly topic: TopicState }
  | { readonly kind: "refused"; readonly reason: VoidReason };

export interface WantedTopic {
  readonly name: string;
  readonly partitionCount: number;
  readonly configs: ReadonlyMap<string, string>;
  /** By partition, the node that shall own it; absent: whoever has least. */
  readonly owners?: readonly NodeId[];
}

/** A broker that is named as an owner may be fenced before the journal takes the command: another one is named then. */
const assignTriesMax = 5;

export interface TopicsOptions {
  readonly journal: Journal;
  readonly partitions: Partitions;
  readonly cold: ColdReader;
  readonly config: BrokerConfig;
  readonly random: Random;
  readonly log: Logger;
}

export class Topics {
  readonly #journal: Journal;
  readonly #partitions: Partitions;
  readonly #cold: ColdReader;
  readonly #config: BrokerConfig;
  readonly #random: Random;
  readonly #log: Logger;
  readonly #creating = new Map<string, Promise<TopicChange>>();
  #peers: Peers = alone.peers;

  constructor(options: TopicsOptions) {
    this.#journal = options.journal;
    this.#partitions = options.partitions;
    this.#cold = options.cold;
    this.#config = options.config;
    this.#random = options.random;
    this.#log = options.log;
  }

  /** From now on new partitions are spread over the brokers of a cluster, and changes are told to them before they are answered. */
  spreadOver(peers: Peers): void {
    this.#peers = peers;
  }

  /** From now on partitions follow the journal. */
  follow(): void {
    this.#journal.onApplied((event) => this.#onApplied(event));
    this.#config.onChange(() => this.#configureAll());
  }

  byName(name: string): TopicState | undefined {
    const id = this.idOf(name);
    return id === undefined ? undefined : this.#journal.state.topics.get(id);
  }
  byId(id: TopicId): TopicState | undefined {
    return this.#journal.state.topics.get(id);
  }
  idOf(name: string): TopicId | undefined {
    return this.#journal.state.topicIds.get(name);
  }
  has(id: TopicId): boolean {
    return this.#journal.state.topics.has(id);
  }
  all(): Iterable<TopicState> {
    return this.#journal.state.topics.values();
  }

  /** What the log obeys in a topic with these settings of its own. */
  logConfig(own: ReadonlyMap<string, string>): LogConfig {
    return logConfigOf(own, this.#config);
  }

  /**
   * Name, count and settings were checked. Resolves when the topic can be written; two callers that name
   * one topic at the same time share one command. Rejects as `Journal.append` does.
   */
  create(wanted: WantedTopic): Promise<TopicChange> {
    const running = this.#creating.get(wanted.name);
    if (running !== undefined)
      return running.then((): TopicChange => ({ kind: "refused", reason: "name-taken" }));
    const created = this.#create(wanted).finally(() => this.#creating.delete(wanted.name));
    this.#creating.set(wanted.name, created);
    return created;
  }

  /** On first use by a client that only named it; whoever comes second gets the same topic. */
  async createOnUse(name: string): Promise<TopicState | undefined> {
    const partitionCount = this.#config.get("num.partitions");
    await (this.#creating.get(name) ?? this.create({ name, partitionCount, configs: new Map() }));
    const topic = this.byName(name);
    if (topic !== undefined)
      this.#log.info("topic.created-on-use", { topic: name, partitions: partitionCount });
    return topic;
  }

  async #create(wanted: WantedTopic): Promise<TopicChange> {
    const id = this.#drawId();
    const { name, partitionCount, owners = [] } = wanted;
    const configs = Array.from(wanted.configs, ([key, value]) => ({ name: key, value }));
    return this.#assigned(id, 0, partitionCount, owners, (assignment) => {
      return { kind: "topic", id, name, partitionCount, assignment, configs };
    });
  }

  /** `owners`: of the added ones. */
  async addPartitions(
    id: TopicId,
    partitionCount: number,
    owners: readonly NodeId[] = [],
  ): Promise<TopicChange> {
    const from = this.byId(id)?.partitions.length ?? 0;
    return this.#assigned(id, from, partitionCount - from, owners, (assignment) => {
      return { kind: "partitions", id, partitionCount, assignment };
    });
  }

  /** Gives the new partitions [from, from + count) to brokers, and writes down who shall own them in any case. */
  async #assigned(
    id: TopicId,
    from: number,
    count: number,
    wanted: readonly NodeId[],
    command: (assignment: Assignment) => Command,
  ): Promise<TopicChange> {
    const owners = this.#journal.state.walKind === "file" ? [] : wanted;
    for (let tries = 1; ; tries++) {
      const made = this.#journal.append(command(this.#assign(id, from, count, owners)));
      // Given in the same step, so that they stand behind it in the same slot.
      const preferred = owners.map((nodeId, at) =>
        this.#journal.append({ kind: "prefer", topicId: id, partition: partitionIndex(from + at), nodeId }),
      );
      const [outcome] = await Promise.all([made, ...preferred]);
      const isLate = outcome.kind === "void" && outcome.reason === "owner-not-live";
      if (!isLate || tries === assignTriesMax) return this.#changed(id, outcome);
    }
  }

  #assign(id: TopicId, from: number, count: number, owners: readonly NodeId[]): Assignment {
    const own = this.#epoch;
    const answering = this.#peers.answering();
    // One broker has everything, and need not count what it has.
    if (answering.size === 0) return { owner: own, exceptions: [] };
    const { state } = this.#journal;
    const mayOwn = new Set([...answering, own]);
    const assignment = assignTopic(state, mayOwn, id, from, count);
    if (owners.length === 0) return assignment;
    const assigned = new Map(assignment.exceptions.map((each) => [each.partition, each.owner]));
    owners.forEach((wanted, at) => {
      // Epochs ascend: the newest life of the node.
      const node = [...state.brokers.values()].findLast(
        ({ nodeId, epoch, status }) => nodeId === wanted && status === "live" && mayOwn.has(epoch),
      );
      // One that does not answer gets it later, as it is preferred.
      if (node !== undefined) assigned.set(partitionIndex(from + at), node.epoch);
    });
    const exceptions = Array.from(assigned, ([partition, owner]) => ({ topicId: id, partition, owner }));
    return { ...assignment, exceptions };
  }

  /** Null: the topic was not there. */
  async delete(id: TopicId): Promise<"deleted" | VoidReason> {
    const outcome = await this.#journal.append({ kind: "drop", id });
    if (outcome.kind === "void") return outcome.reason;
    await whenToldToAll(this.#peers, this.#journal);
    return "deleted";
  }

  /** The settings were checked. A null value goes back to the default; `replace` drops the keys that are not named. */
  async configure(
    id: TopicId,
    edits: ReadonlyMap<string, string | null>,
    replace: boolean,
  ): Promise<TopicChange> {
    const outcome = await this.#journal.append({
      kind: "topicConfig",
      id,
      replace,
      edits: Array.from(edits, ([name, value]) => ({ name, value })),
    });
    return this.#changed(id, outcome);
  }

  async #changed(id: TopicId, outcome: Awaited<ReturnType<Journal["append"]>>): Promise<TopicChange> {
    if (outcome.kind === "void") return { kind: "refused", reason: outcome.reason };
    await whenToldToAll(this.#peers, this.#journal);
    const topic = this.byId(id);
    return topic === undefined ? { kind: "refused", reason: "unknown-topic" } : { kind: "done", topic };
  }

  get #epoch() {
    const { epoch } = this.#journal;
    if (epoch === null) throw new Error("a broker registers before it changes topics");
    return epoch;
  }

  #drawId(): TopicId {
    for (;;) {
      const id = randomShortUuid(this.#random);
      if (!this.has(id)) return id;
    }
  }

  // ── Following the journal ──

  #onApplied(event: JournalEvent): void {
    if (event.kind === "reloaded") return;
    for (const { command, outcome } of event.commands) {
      if (outcome.kind === "void") continue;
      switch (command.kind) {
        case "topic":
        case "partitions":
          this.#openNew(command.id);
          break;
        case "drop":
          this.#partitions.drop(command.id);
          break;
        case "topicConfig":
          this.#configure(command.id);
          break;
        case "brokerConfig":
          this.#adoptBrokerConfig();
          break;
        case "trim":
          this.#partitions.get(command.topicId, command.partition)?.startPublished(command.start);
          break;
        default:
      }
    }
  }

  #openNew(id: TopicId): void {
    const topic = this.byId(id);
    if (topic === undefined) return;
    for (const state of topic.partitions) {
      if (state.owner !== this.#epoch || this.#partitions.get(id, state.index) !== undefined) continue;
      // One that had another owner is loaded first (cluster/ownership.ts): empty it would give offsets away again.
      if (state.leaderEpoch > 0) continue;
      this.#partitions.serve(this.open(topic, state, { state: undefined, holes: [] }));
    }
  }

  /** A partition that this process owns, to be loaded and then served. */
  open(
    topic: TopicState,
    partition: PartitionState,
    found: Pick<Parameters<Partitions["open"]>[0], "state" | "holes">,
  ): Partition {
    const { id } = topic;
    return this.#partitions.open({
      topicId: id,
      partition: partition.index,
      leaderEpoch: partition.leaderEpoch,
      config: this.logConfig(topic.configs),
      logStart: partition.start,
      flushedEnd: partition.flushed,
      isDependent: partition.dependencies.length > 0,
      segments: () => this.#segments(id, partition.index),
      cold: this.#cold,
      producerBounds: {
        producersMax: this.#config.get("holdfast.partition.producers.max"),
        expirationMs: this.#config.get("producer.id.expiration.ms"),
      },
      ...found,
    });
  }

  /** As the journal has them at this moment; of a topic that is gone, none. */
  #segments(id: TopicId, index: number): PartitionSegments {
    return this.byId(id)?.partitions[partitionIndex(index)] ?? noSegments;
  }

  #configure(id: TopicId): void {
    const topic = this.byId(id);
    if (topic === undefined) return;
    const config = this.logConfig(topic.configs);
    for (const partition of this.#partitions.ofTopic(id)) partition.configure(config);
  }

  #configureAll(): void {
    for (const topic of this.all()) this.#configure(topic.id);
  }

  #adoptBrokerConfig(): void {
    adoptBrokerConfig(this.#config, this.#journal);
  }
}

/** The settings that were changed at run time live in the journal. */
export function adoptBrokerConfig(config: BrokerConfig, journal: Journal): void {
  const { brokerConfigs } = journal.state;
  const none: ReadonlyMap<string, string> = new Map();
  config.setDynamic(brokerConfigs.get("") ?? none, brokerConfigs.get(String(config.get("node.id"))) ?? none);
}

const noSegments: PartitionSegments = { folded: null, recent: [] };

/** Kafka's rule for names of topics; null when the name is fine, else what is wrong with it. */
export function refuseTopicName(name: string): string | null {
  if (name === "") return "the empty string is not allowed";
  if (name === "." || name === "..") return "'.' or '..' is not allowed";
  if (name.length > 249) return `the length of '${name}' is longer than the max allowed length 249`;
  if (!/^[a-zA-Z0-9._-]+$/.test(name)) {
    return `'${name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'`;
  }
  return null;
}
