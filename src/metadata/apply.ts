/**
 * What each command of the journal requires and does. A pure function of the state and the slot: every
 * broker that replays the same slots has the same state, so nothing here may look at time, chance, or the
 * broker it runs in. A command whose conditions do not hold is void and changes nothing; each command of a
 * list is judged by itself, in order. Costs what the command names, never the size of the cluster, except
 * RECOVER and the rare pruning of dead epochs.
 */
import { assert, unreachable } from "../base/assert.ts";
import {
  type BrokerEpoch,
  leaderEpoch,
  type PartitionIndex,
  partitionIndex,
  partitionKey,
  producerId,
  type TopicId,
  type WalPosition,
  walPosition,
  ZERO_OFFSET,
} from "../base/ids.ts";
import { drain, fence, raiseLevel, register } from "./brokers.ts";
import type * as commands from "./commands.ts";
import { levelNeeded } from "./commands.ts";
import type { ClusterImage, TopicImage } from "./image.ts";
import type { CommandOutcome, Effect, VoidReason } from "./outcomes.ts";
import { type BrokerState, isLive, NO_BROKER, NO_NODE, type PartitionState } from "./state.ts";
import {
  type Change,
  dependingOn,
  flushPartition,
  foldPartition,
  movePartition,
  replacePartition,
  trimPartition,
} from "./partition.ts";

/** A list of commands as one slot holds it. */
export interface SlotContent {
  readonly author: BrokerEpoch;
  /** Rises by one with each list of an author, from 1; 0 for INIT and REGISTER. */
  readonly list: number;
  readonly commands: readonly commands.Command[];
}

/** A topic has at most so many partitions. */
export const partitionCountMax = 100_000;
/** Producer ids fit into 2^53 for as long as one command takes at most so many. */
export const producerBlockMax = 1_000_000;

const applied: CommandOutcome = { kind: "applied", effect: { kind: "none" } };
const voided = (reason: VoidReason): CommandOutcome => ({ kind: "void", reason });
const outcomeOf = (reason: VoidReason | null): CommandOutcome => (reason === null ? applied : voided(reason));

/** Applies the next slot and returns one outcome per command. */
export function applySlot(
  image: ClusterImage,
  slot: SlotContent,
  hash: Uint8Array,
): readonly CommandOutcome[] {
  const outcomes = judge(image, slot);
  const author = image.brokers.get(slot.author);
  if (author !== undefined && author.status !== "sealed" && slot.list > (author.lastList?.number ?? 0)) {
    image.brokers.set(slot.author, { ...author, lastList: { number: slot.list, outcomes } });
  }
  image.nextSlot++;
  image.previousHash = hash;
  return outcomes;
}

function judge(image: ClusterImage, slot: SlotContent): readonly CommandOutcome[] {
  const judgedBefore = slot.list <= (image.brokers.get(slot.author)?.lastList?.number ?? 0);
  return slot.commands.map((command) => {
    const alone = slot.commands.length === 1 && slot.author === NO_BROKER;
    if (command.kind === "init") return alone ? init(image, command) : voided("misplaced");
    if (command.kind === "register") return alone ? registered(image, command) : voided("misplaced");
    if (!isLive(image, slot.author)) return voided("author-not-live");
    if (judgedBefore) return voided("judged-before");
    // Snapshots of a lower level could not tell what it did.
    if (image.level < levelNeeded(command.kind)) return voided("level");
    return apply(image, slot.author, command);
  });
}

function apply(
  image: ClusterImage,
  author: BrokerEpoch,
  command: Exclude<commands.Command, { kind: "init" | "register" }>,
): CommandOutcome {
  switch (command.kind) {
    case "level":
      return outcomeOf(raiseLevel(image, command));
    case "fence":
      return outcomeOf(fence(image, command));
    case "recover":
      return outcomeOf(recover(image, command));
    case "flush":
      return outcomeOf(flush(image, author, command));
    case "move":
      return outcomeOf(move(image, author, command));
    case "prefer":
      return outcomeOf(prefer(image, command));
    case "drain":
      return outcomeOf(drain(image, command));
    case "replace":
      return outcomeOf(replace(image, author, command));
    case "topic":
      return outcomeOf(addTopic(image, command));
    case "partitions":
      return outcomeOf(addPartitions(image, command));
    case "drop":
      return outcomeOf(drop(image, command));
    case "trim":
      return outcomeOf(
        changePartition(image, author, command, (partition) => trimPartition(partition, command)),
      );
    case "fold":
      return outcomeOf(
        changePartition(image, author, command, (partition) => foldPartition(partition, command)),
      );
    case "producers":
      return producers(image, command);
    case "topicConfig":
      return outcomeOf(topicConfig(image, command));
    case "brokerConfig":
      return outcomeOf(brokerConfig(image, command));
    default:
      return unreachable(command);
  }
}

function init(image: ClusterImage, command: commands.Init): CommandOutcome {
  if (image.nextSlot !== 0 || command.chapterSlots < 1) return voided("misplaced");
  image.clusterId = command.clusterId;
  image.level = command.level;
  image.chapterSlots = command.chapterSlots;
  image.walKind = command.walKind === 0 ? "file" : "object";
  return applied;
}

function registered(image: ClusterImage, command: commands.Register): CommandOutcome {
  const effect: Effect = { kind: "registered", epoch: register(image, command) };
  return { kind: "applied", effect };
}

function recover(image: ClusterImage, command: commands.Recover): VoidReason | null {
  const broker = image.brokers.get(command.epoch);
  if (broker?.status !== "fenced") return "epoch-not-fenced";
  if (command.end < broker.released) return "below-released";
  if (!ownersLive(image, command.assignment)) return "owner-not-live";
  const sealed: BrokerState = {
    ...broker,
    status: "sealed",
    end: command.end,
    holes: command.holes,
    jumped: command.jumped,
    recoveryHash: new Uint8Array(command.hash),
    lastList: null,
  };
  image.brokers.set(broker.epoch, sealed);
  const owners = new Owners(command.assignment);
  const dependency = { epoch: broker.epoch, from: broker.released, to: command.end };
  for (const topic of image.topics.values()) {
    topic.partitions.forEach((partition, at) => {
      if (partition.owner !== broker.epoch) return;
      topic.partitions[at] = {
        ...partition,
        owner: owners.of(topic.id, partition.index),
        leaderEpoch: leaderEpoch(partition.leaderEpoch + 1),
        // A jump is told through the dependency, so it needs one even where nothing is left to read.
        dependencies: dependingOn(partition, dependency, command.jumped),
      };
    });
  }
  return null;
}

function move(image: ClusterImage, author: BrokerEpoch, command: commands.Move): VoidReason | null {
  if (!isLive(image, command.to)) return "owner-not-live";
  const released = image.brokers.get(author)?.released ?? walPosition(0);
  return changePartition(image, author, command, (partition) => movePartition(partition, command, released));
}

function prefer(image: ClusterImage, command: commands.Prefer): VoidReason | null {
  const topic = image.topics.get(command.topicId);
  if (topic === undefined) return "unknown-topic";
  const partition = topic.partitions[command.partition];
  if (partition === undefined) return "unknown-partition";
  if (command.nodeId < NO_NODE) return "node-id";
  const preferred = command.nodeId === NO_NODE ? null : command.nodeId;
  topic.partitions[partition.index] = { ...partition, preferred };
  return null;
}

function flush(image: ClusterImage, author: BrokerEpoch, command: commands.FlushCommand): VoidReason | null {
  const reason = changeRows(image, author, command.rows, flushPartition);
  if (reason !== null) return reason;
  settle(image, author, command);
  return null;
}

function replace(image: ClusterImage, author: BrokerEpoch, command: commands.Replace): VoidReason | null {
  const reason = changeRows(image, author, command.rows, replacePartition);
  if (reason !== null) return reason;
  settle(image, author, command);
  return null;
}

/** All rows are judged before one takes effect; a second row of a partition builds on the first. */
function changeRows<Row extends Pick<commands.Trim, "topicId" | "partition" | "leaderEpoch">>(
  image: ClusterImage,
  author: BrokerEpoch,
  rows: readonly Row[],
  change: (before: PartitionState, row: Row) => Change,
): VoidReason | null {
  /** By what the partition was before the command, which nothing else is. */
  const staged = new Map<PartitionState, { readonly topic: TopicImage; partition: PartitionState }>();
  for (const row of rows) {
    const topic = image.topics.get(row.topicId);
    // Dropped while the objects were written: they become garbage, the other rows still hold.
    if (topic === undefined) continue;
    const original = topic.partitions[row.partition];
    if (original === undefined) return "unknown-partition";
    const earlier = staged.get(original);
    const before = earlier?.partition ?? original;
    const refusal = mayChange(before, author, row.leaderEpoch);
    if (refusal !== null) return refusal;
    const changed = change(before, row);
    if (changed.kind === "void") return changed.reason;
    if (earlier === undefined) staged.set(original, { topic, partition: changed.partition });
    else earlier.partition = changed.partition;
  }
  for (const { topic, partition } of staged.values()) topic.partitions[partition.index] = partition;
  return null;
}

/** What the author needs no more: its WAL below `release`, and the numbers of its objects below `below`. */
function settle(
  image: ClusterImage,
  author: BrokerEpoch,
  { release = walPosition(0), below }: { readonly release?: WalPosition; readonly below: number },
): void {
  const broker = image.brokers.get(author);
  assert(broker !== undefined, "the author of a command that is judged is known");
  image.brokers.set(author, {
    ...broker,
    released: walPosition(Math.max(broker.released, release)),
    below: Math.max(broker.below, below),
  });
}

function addTopic(image: ClusterImage, command: commands.Topic): VoidReason | null {
  if (image.topicIds.has(command.name) || image.topics.has(command.id)) return "name-taken";
  if (command.partitionCount < 1 || command.partitionCount > partitionCountMax) return "partition-count";
  if (!ownersLive(image, command.assignment)) return "owner-not-live";
  const topic: TopicImage = {
    id: command.id,
    name: command.name,
    partitions: [],
    configs: new Map(command.configs.map(({ name, value }) => [name, value])),
  };
  extend(topic, command.partitionCount, command.assignment);
  image.topics.set(topic.id, topic);
  image.topicIds.set(topic.name, topic.id);
  return null;
}

function addPartitions(image: ClusterImage, command: commands.Partitions): VoidReason | null {
  const topic = image.topics.get(command.id);
  if (topic === undefined) return "unknown-topic";
  if (command.partitionCount <= topic.partitions.length || command.partitionCount > partitionCountMax) {
    return "partition-count";
  }
  if (!ownersLive(image, command.assignment)) return "owner-not-live";
  extend(topic, command.partitionCount, command.assignment);
  return null;
}

function extend(topic: TopicImage, count: number, assignment: commands.Assignment): void {
  const owners = new Owners(assignment);
  while (topic.partitions.length < count) {
    const index = partitionIndex(topic.partitions.length);
    topic.partitions.push({
      index,
      owner: owners.of(topic.id, index),
      leaderEpoch: leaderEpoch(0),
      preferred: null,
      start: ZERO_OFFSET,
      flushed: ZERO_OFFSET,
      folded: null,
      recent: [],
      compacted: null,
      dependencies: [],
    });
  }
}

function drop(image: ClusterImage, command: commands.Drop): VoidReason | null {
  const topic = image.topics.get(command.id);
  if (topic === undefined) return "unknown-topic";
  image.topics.delete(topic.id);
  image.topicIds.delete(topic.name);
  return null;
}

function changePartition(
  image: ClusterImage,
  author: BrokerEpoch,
  command: Pick<commands.Trim, "topicId" | "partition" | "leaderEpoch">,
  change: (partition: PartitionState) => Change,
): VoidReason | null {
  const topic = image.topics.get(command.topicId);
  if (topic === undefined) return "unknown-topic";
  const partition = topic.partitions[command.partition];
  if (partition === undefined) return "unknown-partition";
  const refusal = mayChange(partition, author, command.leaderEpoch);
  if (refusal !== null) return refusal;
  const outcome = change(partition);
  if (outcome.kind === "void") return outcome.reason;
  topic.partitions[command.partition] = outcome.partition;
  return null;
}

/** The leader epoch keeps out what an owner prepared in an earlier ownership of the same partition. */
function mayChange(partition: PartitionState, author: BrokerEpoch, epoch: number): VoidReason | null {
  if (partition.owner !== author) return "not-owner";
  return partition.leaderEpoch === epoch ? null : "leader-epoch";
}

function producers(image: ClusterImage, command: commands.Producers): CommandOutcome {
  if (command.count < 1 || command.count > producerBlockMax) return voided("offsets");
  const first = image.nextProducerId;
  image.nextProducerId = producerId(first + command.count);
  return { kind: "applied", effect: { kind: "producers", first, count: command.count } };
}

function topicConfig(image: ClusterImage, command: commands.TopicConfig): VoidReason | null {
  const topic = image.topics.get(command.id);
  if (topic === undefined) return "unknown-topic";
  image.topics.set(topic.id, { ...topic, configs: edited(topic.configs, command) });
  return null;
}

function brokerConfig(image: ClusterImage, command: commands.BrokerConfig): null {
  const configs = edited(image.brokerConfigs.get(command.resource) ?? new Map(), command);
  if (configs.size === 0) image.brokerConfigs.delete(command.resource);
  else image.brokerConfigs.set(command.resource, configs);
  return null;
}

function edited(
  before: ReadonlyMap<string, string>,
  command: Pick<commands.TopicConfig, "replace" | "edits">,
): ReadonlyMap<string, string> {
  const after = new Map(command.replace ? [] : before);
  for (const { name, value } of command.edits) {
    if (value === null) after.delete(name);
    else after.set(name, value);
  }
  return after;
}

/** A partition given to a broker that is not live would have no owner for ever. */
function ownersLive(image: ClusterImage, assignment: commands.Assignment): boolean {
  return isLive(image, assignment.owner) && assignment.exceptions.every(({ owner }) => isLive(image, owner));
}

class Owners {
  readonly #byDefault: BrokerEpoch;
  readonly #exceptions: ReadonlyMap<string, BrokerEpoch>;

  constructor(assignment: commands.Assignment) {
    this.#byDefault = assignment.owner;
    this.#exceptions = new Map(
      assignment.exceptions.map(({ topicId, partition, owner }) => [partitionKey(topicId, partition), owner]),
    );
  }

  of(topic: TopicId, index: PartitionIndex): BrokerEpoch {
    return this.#exceptions.get(partitionKey(topic, index)) ?? this.#byDefault;
  }
}
