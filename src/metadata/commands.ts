/**
 * Every command of the metadata journal: its number on disk, its versions, its fields. A slot of the
 * journal holds a list of them by one author. A command or version that is not known here stops the
 * process (I14): a state that skipped a command would no longer be the cluster's.
 *
 * Number 7 (MOVE) is reserved for planned moves.
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
  nullable,
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
  nodeId: branded<NodeId>(int32),
  rack: nullable(string),
  listeners: array(struct({ name: string, host: string, port: int32 })),
  /** W, see `BrokerState.window`. */
  window: int32,
  levelMax: int16,
  /** For people. */
  software: string,
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

interface CommandSchema<T> {
  /** int16 on disk; never reused for another meaning. */
  readonly type: number;
  /** The version that is written. All up to it are read. */
  readonly version: number;
  readonly fields: Type<T>;
}
const schema = <T>(type: number, version: number, fields: Type<T>): CommandSchema<T> => ({
  type,
  version,
  fields,
});

export const commandSchemas = {
  init: schema(0, 0, Init),
  level: schema(1, 0, Level),
  register: schema(2, 0, Register),
  fence: schema(3, 0, Fence),
  recover: schema(4, 0, Recover),
  flush: schema(5, 0, FlushCommand),
  topic: schema(6, 0, Topic),
  replace: schema(8, 0, Replace),
  partitions: schema(9, 0, Partitions),
  drop: schema(10, 0, Drop),
  trim: schema(11, 0, Trim),
  fold: schema(12, 0, Fold),
  producers: schema(13, 0, Producers),
  topicConfig: schema(14, 0, TopicConfig),
  brokerConfig: schema(15, 0, BrokerConfig),
};

export type Command =
  | ({ readonly kind: "init" } & Init)
  | ({ readonly kind: "level" } & Level)
  | ({ readonly kind: "register" } & Register)
  | ({ readonly kind: "fence" } & Fence)
  | ({ readonly kind: "recover" } & Recover)
  | ({ readonly kind: "flush" } & FlushCommand)
  | ({ readonly kind: "topic" } & Topic)
  | ({ readonly kind: "replace" } & Replace)
  | ({ readonly kind: "partitions" } & Partitions)
  | ({ readonly kind: "drop" } & Drop)
  | ({ readonly kind: "trim" } & Trim)
  | ({ readonly kind: "fold" } & Fold)
  | ({ readonly kind: "producers" } & Producers)
  | ({ readonly kind: "topicConfig" } & TopicConfig)
  | ({ readonly kind: "brokerConfig" } & BrokerConfig);

export type CommandKind = Command["kind"];

interface KnownCommand {
  readonly kind: CommandKind;
  readonly type: number;
  readonly version: number;
  /** By version, from 0. */
  readonly codecs: readonly Codec<unknown>[];
}

const known: readonly KnownCommand[] = (Object.keys(commandSchemas) as CommandKind[]).map((kind) => {
  const { type, version, fields } = commandSchemas[kind] as CommandSchema<unknown>;
  const codecs: Codec<unknown>[] = [];
  for (let each = 0; each <= version; each++) codecs.push(compile(fields, each, { flexible: true }));
  return { kind, type, version, codecs };
});
const byKind = new Map(known.map((each) => [each.kind, each]));
const byType = new Map(known.map((each) => [each.type, each]));

/** type int16 · version int16 · length int32 · fields. */
export function writeCommand(to: Writer, command: Command): void {
  const found = byKind.get(command.kind);
  assert(found !== undefined, "every kind of command has a schema");
  const own = new Writer(256);
  (found.codecs[found.version] as Codec<unknown>).write(own, command);
  to.int16(found.type);
  to.int16(found.version);
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
