/**
 * Every command of the metadata journal: its number on disk, its versions, its fields. A slot of the
 * journal holds a list of them by one author. A command or version that is not known here stops the
 * process (I14): a state that skipped a command would no longer be the cluster's. Therefore each version
 * has a format level, and is not written into a cluster below it.
 */
import { assert } from "../base/assert.ts";
import { Reader, Writer } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import type { BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionIndex, WalPosition } from "../base/ids.ts";
import { FlushRow, ListPointer, ReplaceRow, SegmentRef } from "../log/segment-ref.ts";
import { type Codec, compile } from "../schema/compile.ts";
import {
  array,
  bool,
  branded,
  bytes,
  type Decoded,
  int16,
  int32,
  int64,
  int8,
  from as since,
  nullable,
  orElse,
  string,
  struct,
  type Type,
  uuid,
} from "../schema/types.ts";
import { UnknownCommandError } from "./errors.ts";

const epoch = branded<BrokerEpoch>(int64);
const partition = branded<PartitionIndex>(int32);
const currentEpoch = branded<LeaderEpoch>(int32);
const position = branded<WalPosition>(int64);
const recordOffset = branded<Offset>(int64);

/** int8 on disk. */
export const WalKind = { file: 0, object: 1 } as const;

/** Slot 0 only: a store without it is empty. `chapterSlots`: so many slots are truncated together. */
export const Init = struct({ clusterId: string, level: int16, walKind: int8, chapterSlots: int32 });
export interface Init extends Decoded<typeof Init> {}

/** Brokers write only what the level allows. */
export const Level = struct({ level: int16 });
export interface Level extends Decoded<typeof Level> {}

/** The slot that holds it is the epoch of the process. Always alone in its slot. */
export const Register = struct({
  /** 16 random bytes as hex. */
  nonce: string,
  /** −1: the one that `name` had before, else the smallest that nobody has. */
  nodeId: branded<NodeId>(int32),
  rack: nullable(string),
  listeners: array(struct({ name: string, host: string, port: int32 })),
  /** W, see `BrokerState.window`. */
  window: int32,
  levelMax: int16,
  /** For people. */
  software: string,
  /** What stays the same when its process starts again: the advertised host:port. */
  name: orElse(null, since(1, nullable(string))),
});
export interface Register extends Decoded<typeof Register> {}

/** Ends the effect of all later commands of an epoch and freezes what it released. */
export const Fence = struct({ epoch });
export interface Fence extends Decoded<typeof Fence> {}

/** One owner for all partitions except those that are listed. */
export const Assignment = struct({
  owner: epoch,
  exceptions: array(struct({ topicId: uuid, partition, owner: epoch })),
});
export interface Assignment extends Decoded<typeof Assignment> {}

/** Fixes the end of a fenced epoch's WAL for ever and gives its partitions to live brokers. */
export const Recover = struct({
  epoch,
  end: position,
  assignment: Assignment,
  holes: array(struct({ topicId: uuid, partition, from: recordOffset, to: recordOffset })),
  jumped: bool,
  hash: bytes,
});
export interface Recover extends Decoded<typeof Recover> {}

/** Publishes segments and releases the author's WAL below `release`. One row that does not hold voids all. */
export const FlushCommand = struct({
  rows: array(FlushRow),
  release: position,
  /** Objects of the author with a lower counter are published or garbage. */
  below: int64,
});
export interface FlushCommand extends Decoded<typeof FlushCommand> {}

/** Gives a partition of the author to another live broker without a seal; the author appended none of it at or above `end`. */
export const Move = struct({
  topicId: uuid,
  partition,
  leaderEpoch: currentEpoch,
  /** The new owner. */
  to: epoch,
  /** In the author's WAL: everything of the partition lies below, and is durable. */
  end: position,
});
export interface Move extends Decoded<typeof Move> {}

const configEdits = array(struct({ name: string, value: nullable(string) }));

/** Partitions 0 … count − 1, leader epoch 0. */
export const Topic = struct({
  id: uuid,
  name: string,
  partitionCount: int32,
  assignment: Assignment,
  configs: array(struct({ name: string, value: string })),
});
export interface Topic extends Decoded<typeof Topic> {}

/** Raises the number of partitions; the assignment is that of the added ones. */
export const Partitions = struct({ id: uuid, partitionCount: int32, assignment: Assignment });
export interface Partitions extends Decoded<typeof Partitions> {}

export const Drop = struct({ id: uuid });
export interface Drop extends Decoded<typeof Drop> {}

/** Moves the log start (retention). `footer`: replaces the newest segment when none of its records stays. */
export const Trim = struct({
  topicId: uuid,
  partition,
  leaderEpoch: currentEpoch,
  start: recordOffset,
  footer: nullable(SegmentRef),
});
export interface Trim extends Decoded<typeof Trim> {}

/** Exchanges the pointer to the list of older references; references below `next.end` leave the journal. */
export const Fold = struct({
  topicId: uuid,
  partition,
  leaderEpoch: currentEpoch,
  previous: nullable(ListPointer),
  next: nullable(ListPointer),
});
export interface Fold extends Decoded<typeof Fold> {}

/** Exchanges segments for compacted ones. One row that does not hold voids all; rows of dropped topics are passed over. */
export const Replace = struct({
  rows: array(ReplaceRow),
  /** As in `FlushCommand`. */
  below: int64,
});
export interface Replace extends Decoded<typeof Replace> {}

/** Takes a block of producer ids. */
export const Producers = struct({ count: int32 });
export interface Producers extends Decoded<typeof Producers> {}

/** Value null removes a key. `replace`: keys that are not named go as well. */
export const TopicConfig = struct({ id: uuid, replace: bool, edits: configEdits });
export interface TopicConfig extends Decoded<typeof TopicConfig> {}

/** `resource`: "" for all brokers, "features" for levels of features, "group:NAME" for one group, else a node id as text. */
export const BrokerConfig = struct({ resource: string, replace: bool, edits: configEdits });
export interface BrokerConfig extends Decoded<typeof BrokerConfig> {}

/** The node that shall own a partition whenever it can; −1 (`NO_NODE`): whoever. */
export const Prefer = struct({ topicId: uuid, partition, nodeId: branded<NodeId>(int32) });
export interface Prefer extends Decoded<typeof Prefer> {}

/** A broker that is about to stop: it is given nothing any more. */
export const Drain = struct({ epoch });
export interface Drain extends Decoded<typeof Drain> {}

interface CommandSchema<T> {
  /** int16 on disk; never reused for another meaning. */
  readonly type: number;
  /** The highest there is. All up to it are read; the highest that the cluster's format level allows is written. */
  readonly version: number;
  /** By version: the lowest format level at which it may be written. */
  readonly levels: readonly number[];
  readonly fields: Type<T>;
}
const schema = <T>(type: number, version: number, fields: Type<T>, levels = [1]): CommandSchema<T> => ({
  type,
  version,
  levels,
  fields,
});

export const commandSchemas = {
  init: schema(0, 0, Init),
  level: schema(1, 0, Level),
  register: schema(2, 1, Register, [1, 2]),
  fence: schema(3, 0, Fence),
  recover: schema(4, 0, Recover),
  flush: schema(5, 0, FlushCommand),
  topic: schema(6, 0, Topic),
  move: schema(7, 0, Move, [2]),
  replace: schema(8, 0, Replace),
  partitions: schema(9, 0, Partitions),
  drop: schema(10, 0, Drop),
  trim: schema(11, 0, Trim),
  fold: schema(12, 0, Fold),
  producers: schema(13, 0, Producers),
  topicConfig: schema(14, 0, TopicConfig),
  brokerConfig: schema(15, 0, BrokerConfig),
  prefer: schema(16, 0, Prefer, [2]),
  drain: schema(17, 0, Drain, [2]),
};

export type Command =
  | ({ readonly kind: "init" } & Init)
  | ({ readonly kind: "level" } & Level)
  | ({ readonly kind: "register" } & Register)
  | ({ readonly kind: "fence" } & Fence)
  | ({ readonly kind: "recover" } & Recover)
  | ({ readonly kind: "flush" } & FlushCommand)
  | ({ readonly kind: "topic" } & Topic)
  | ({ readonly kind: "move" } & Move)
  | ({ readonly kind: "replace" } & Replace)
  | ({ readonly kind: "partitions" } & Partitions)
  | ({ readonly kind: "drop" } & Drop)
  | ({ readonly kind: "trim" } & Trim)
  | ({ readonly kind: "fold" } & Fold)
  | ({ readonly kind: "producers" } & Producers)
  | ({ readonly kind: "topicConfig" } & TopicConfig)
  | ({ readonly kind: "brokerConfig" } & BrokerConfig)
  | ({ readonly kind: "prefer" } & Prefer)
  | ({ readonly kind: "drain" } & Drain);

export type CommandKind = Command["kind"];

interface KnownCommand {
  readonly kind: CommandKind;
  readonly type: number;
  readonly levels: readonly number[];
  /** By version, from 0. */
  readonly codecs: readonly Codec<unknown>[];
}

const known: readonly KnownCommand[] = (Object.keys(commandSchemas) as CommandKind[]).map((kind) => {
  const { type, version, fields, levels } = commandSchemas[kind] as CommandSchema<unknown>;
  const codecs: Codec<unknown>[] = [];
  for (let each = 0; each <= version; each++) codecs.push(compile(fields, each, { flexible: true }));
  return { kind, type, levels, codecs };
});
const byKind = new Map(known.map((each) => [each.kind, each]));
const byType = new Map(known.map((each) => [each.type, each]));

/** The lowest format level of a cluster that has this command. */
export function levelNeeded(kind: CommandKind): number {
  return commandSchemas[kind].levels[0] as number;
}

/** type int16 · version int16 · length int32 · fields. `level`: that of the cluster. */
export function writeCommand(to: Writer, command: Command, level: number): void {
  const found = byKind.get(command.kind);
  assert(found !== undefined, "every kind of command has a schema");
  const version = found.levels.findLastIndex((needed) => needed <= level);
  const codec = found.codecs[version];
  assert(codec !== undefined, "a command is not written below its format level");
  const own = new Writer(256);
  codec.write(own, command);
  to.int16(found.type);
  to.int16(version);
  to.int32(own.length);
  for (const chunk of own.finish()) to.raw(chunk);
}

/** Throws `UnknownCommandError`, or `MalformedError` when the bytes are not that command. */
export function readCommand(from: Reader): Command {
  const type = from.int16();
  const version = from.int16();
  const own = new Reader(from.take(from.int32()));
  const found = byType.get(type);
  const codec = found?.codecs[version];
  if (found === undefined || codec === undefined) throw new UnknownCommandError(type, version);
  const fields = codec.read(own) as object;
  if (own.remaining !== 0) throw new MalformedError(`${own.remaining} bytes too many in command ${type}`);
  return { kind: found.kind, ...fields } as Command;
}
