/**
 * The whole state as bytes and back. Canonical: equal states give equal bytes whoever writes them, so two
 * brokers that write the snapshot of one position write one object, and a difference proves that their
 * states have parted. Maps are written in order of their keys; nothing is written that the slots below
 * the position do not determine.
 *
 *   version uint16 · `Snapshot` in its flexible encoding
 */
import { Reader, Writer } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import {
  type BrokerEpoch,
  brokerEpoch,
  type LeaderEpoch,
  type NodeId,
  type Offset,
  type PartitionIndex,
  partitionIndex,
  type ProducerId,
  producerId,
  type WalPosition,
  walPosition,
} from "../base/ids.ts";
import { Compacted, ListPointer, SegmentRef } from "../log/segment-ref.ts";
import { compile } from "../schema/compile.ts";
import {
  array,
  bool,
  branded,
  bytes,
  type Decoded,
  from,
  int16,
  int32,
  int64,
  int8,
  nullable,
  orElse,
  string,
  struct,
  uuid,
} from "../schema/types.ts";
import { WalKind } from "./commands.ts";
import { ClusterImage } from "./image.ts";
import { type CommandOutcome, voidReasons } from "./outcomes.ts";
import { type BrokerState, type ClusterState, NO_NODE, type PartitionState } from "./state.ts";

const configs = array(struct({ name: string, value: string }));
const epoch = branded<BrokerEpoch>(int64);
const position = branded<WalPosition>(int64);
const recordOffset = branded<Offset>(int64);
const partitionNumber = branded<PartitionIndex>(int32);

const statuses = ["live", "fenced", "sealed"] as const;

/** reason −1: applied. effect 0: none, 1: registered (first), 2: producers (first, count). */
const Outcome = struct({ reason: int8, effect: int8, first: int64, count: int32 });
interface Outcome extends Decoded<typeof Outcome> {}

const Broker = struct({
  epoch,
  nonce: string,
  nodeId: branded<NodeId>(int32),
  rack: nullable(string),
  listeners: array(struct({ name: string, host: string, port: int32 })),
  window: int32,
  levelMax: int16,
  software: string,
  /** Index in `statuses`. */
  status: int8,
  released: position,
  /** −1: not sealed. */
  end: position,
  holes: array(struct({ topicId: uuid, partition: partitionNumber, from: recordOffset, to: recordOffset })),
  jumped: bool,
  recoveryHash: bytes,
  below: int64,
  lastList: nullable(struct({ number: int64, outcomes: array(Outcome) })),
  name: orElse(null, from(2, nullable(string))),
  draining: orElse(false, from(2, bool)),
});
interface Broker extends Decoded<typeof Broker> {}

const Partition = struct({
  owner: epoch,
  leaderEpoch: branded<LeaderEpoch>(int32),
  start: recordOffset,
  flushed: recordOffset,
  folded: nullable(ListPointer),
  recent: array(SegmentRef),
  compacted: orElse(null, from(1, nullable(Compacted))),
  dependencies: array(struct({ epoch, from: position, to: position })),
  /** −1: whoever. */
  preferred: orElse(NO_NODE, from(2, branded<NodeId>(int32))),
});
interface Partition extends Decoded<typeof Partition> {}

export const Snapshot = struct({
  nextSlot: int64,
  clusterId: string,
  level: int16,
  walKind: int8,
  chapterSlots: int32,
  nextProducerId: branded<ProducerId>(int64),
  previousHash: bytes,
  brokers: array(Broker),
  topics: array(struct({ id: uuid, name: string, configs, partitions: array(Partition) })),
  brokerConfigs: array(struct({ resource: string, configs })),
});

/** All up to it are read. */
const VERSION = 2;
const codecs = Array.from({ length: VERSION + 1 }, (_, version) =>
  compile(Snapshot, version, { flexible: true }),
);
/** What is written: at format level 1 the version that its oldest software reads; nothing there has what later ones add. */
const versionAt = (level: number): number => (level < 2 ? 1 : VERSION);

export function encodeSnapshot(state: ClusterState): Uint8Array {
  const to = new Writer(4096);
  const version = versionAt(state.level);
  to.int16(version);
  (codecs[version] as (typeof codecs)[number]).write(to, {
    nextSlot: state.nextSlot,
    clusterId: state.clusterId,
    level: state.level,
    walKind: WalKind[state.walKind],
    chapterSlots: state.chapterSlots,
    nextProducerId: state.nextProducerId,
    previousHash: state.previousHash,
    brokers: [...state.brokers.values()].sort((a, b) => a.epoch - b.epoch).map(brokerRow),
    topics: [...state.topics.values()]
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .map((topic) => ({
        ...topic,
        configs: configRows(topic.configs),
        partitions: topic.partitions.map(partitionRow),
      })),
    brokerConfigs: sorted(state.brokerConfigs).map(([resource, values]) => ({
      resource,
      configs: configRows(values),
    })),
  });
  return to.finishFlat();
}

/** Throws `MalformedError`. The result shares no bytes with the input. */
export function decodeSnapshot(snapshot: Uint8Array): ClusterImage {
  const reader = new Reader(snapshot);
  const version = reader.uint16();
  const codec = codecs[version];
  if (codec === undefined) throw new MalformedError(`its version ${version} is not known`);
  const read = codec.read(reader);
  if (reader.remaining !== 0) throw new MalformedError(`it has ${reader.remaining} bytes too many`);
  const image = new ClusterImage();
  image.nextSlot = read.nextSlot;
  image.clusterId = read.clusterId;
  image.level = read.level;
  image.walKind = read.walKind === WalKind.file ? "file" : "object";
  image.chapterSlots = read.chapterSlots;
  image.nextProducerId = read.nextProducerId;
  image.previousHash = new Uint8Array(read.previousHash);
  for (const row of read.brokers) image.brokers.set(row.epoch, brokerOf(row));
  for (const topic of read.topics) {
    const partitions = topic.partitions.map(partitionOf);
    image.topics.set(topic.id, {
      id: topic.id,
      name: topic.name,
      configs: configMap(topic.configs),
      partitions,
    });
    image.topicIds.set(topic.name, topic.id);
  }
  for (const { resource, configs: rows } of read.brokerConfigs)
    image.brokerConfigs.set(resource, configMap(rows));
  return image;
}

function brokerRow(broker: BrokerState): Broker {
  const { lastList } = broker;
  return {
    ...broker,
    status: statuses.indexOf(broker.status),
    end: broker.end ?? NOT_SEALED,
    lastList: lastList === null ? null : { ...lastList, outcomes: lastList.outcomes.map(outcomeRow) },
  };
}

function partitionRow(partition: PartitionState): Partition {
  return { ...partition, preferred: partition.preferred ?? NO_NODE };
}

function partitionOf(row: Partition, index: number): PartitionState {
  const preferred = row.preferred === NO_NODE ? null : row.preferred;
  return { ...row, index: partitionIndex(index), preferred };
}

const NOT_SEALED = walPosition(-1);

function brokerOf(row: Broker): BrokerState {
  const status = statuses[row.status];
  if (status === undefined) throw new MalformedError(`broker ${row.epoch} has the status ${row.status}`);
  const { lastList } = row;
  return {
    ...row,
    status,
    end: row.end === NOT_SEALED ? null : row.end,
    recoveryHash: new Uint8Array(row.recoveryHash),
    lastList: lastList === null ? null : { ...lastList, outcomes: lastList.outcomes.map(outcomeOf) },
  };
}

function outcomeRow(outcome: CommandOutcome): Outcome {
  if (outcome.kind === "void") {
    return { reason: voidReasons.indexOf(outcome.reason), effect: 0, first: 0, count: 0 };
  }
  const { effect } = outcome;
  if (effect.kind === "registered") return { reason: -1, effect: 1, first: effect.epoch, count: 0 };
  if (effect.kind === "producers") return { reason: -1, effect: 2, first: effect.first, count: effect.count };
  return { reason: -1, effect: 0, first: 0, count: 0 };
}

function outcomeOf(row: Outcome): CommandOutcome {
  if (row.reason >= 0) {
    const reason = voidReasons[row.reason];
    if (reason === undefined) throw new MalformedError(`an outcome has the reason ${row.reason}`);
    return { kind: "void", reason };
  }
  if (row.effect === 1) {
    return { kind: "applied", effect: { kind: "registered", epoch: brokerEpoch(row.first) } };
  }
  if (row.effect === 2) {
    return {
      kind: "applied",
      effect: { kind: "producers", first: producerId(row.first), count: row.count },
    };
  }
  if (row.effect !== 0) throw new MalformedError(`an outcome has the effect ${row.effect}`);
  return { kind: "applied", effect: { kind: "none" } };
}

function sorted<T>(map: ReadonlyMap<string, T>): (readonly [string, T])[] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

function configRows(map: ReadonlyMap<string, string>): { name: string; value: string }[] {
  return sorted(map).map(([name, value]) => ({ name, value }));
}

function configMap(rows: readonly { readonly name: string; readonly value: string }[]): Map<string, string> {
  return new Map(rows.map(({ name, value }) => [name, value]));
}
