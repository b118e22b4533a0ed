/**
 * `holdfast/client`: a client of Holdfast and of Apache Kafka 4, over the sockets and clocks of this
 * machine. See docs/client.md.
 */
import { readFileSync } from "node:fs";
import type { Logger } from "../base/ports.ts";
import { type Client, createClient as createClientOn } from "../client/client.ts";
import type { ClientOptions as Options } from "../client/options.ts";
import { systemClock } from "../io/clock.ts";
import { loadNativeCrc32c } from "../io/crc32c-native.ts";
import { systemRandom } from "../io/random.ts";
import { tcp } from "../io/tcp.ts";

export interface ClientOptions extends Options {
  /** Where the client tells what it meets; default: nowhere, since every failure also reaches whoever is concerned. */
  readonly log?: Logger | undefined;
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Throws `OptionError`. Connects when first needed, or with `connect`. */
export function createClient(options: ClientOptions): Client {
  loadNativeCrc32c();
  return createClientOn(options, {
    clock: systemClock,
    random: systemRandom(),
    dialer: tcp,
    log: options.log ?? silent,
    software: { name: "holdfast", version: version() },
  });
}

let known: string | undefined;

function version(): string {
  known ??= (
    JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }
  ).version;
  return known;
}

export type { Logger } from "../base/ports.ts";
export type { Client } from "../client/client.ts";
export type { BrokerView, PartitionView, TopicView } from "../client/cluster.ts";
export * from "../client/errors.ts";
export * from "../client/consumer-errors.ts";
export type { CompressionName, Partitioner, ProducerOptions } from "../client/options.ts";
export type { TransactionalProducerOptions } from "../client/options.ts";
export { PartialDeliveryError, type Producer, type ProducerStats } from "../client/producer.ts";
export type { OffsetSource, Transaction } from "../client/transaction.ts";
export * from "../client/transaction-errors.ts";
export type { TransactionalProducer, TransactionalProducerStats } from "../client/transactional-producer.ts";
export type {
  Acknowledgement,
  Bytes,
  OutgoingHeaders,
  OutgoingRecord,
  RecordMetadata,
} from "../client/records.ts";
export type { PartitionPosition } from "../client/assigned-partition.ts";
export type { BatchOptions, Consumer } from "../client/consumer.ts";
export type { RecordBatch } from "../client/reader.ts";
export * from "../client/consumer-errors.ts";
export type {
  Assignment,
  ConsumerOptions,
  PartitionRef,
  RetryNotice,
  SkipNotice,
  StartingPoint,
} from "../client/consumer-options.ts";
export type { AssignorName, TopicPartition } from "../client/group/assignor.ts";
export * from "../client/group/errors.ts";
export type { GroupConsumer } from "../client/group/group-consumer.ts";
export type { TransformContext, TransformOptions } from "../client/group/transform.ts";
export type { Handle, HandlerContext, RunOptions, SlowHandler } from "../client/group/handlers.ts";
export type {
  CommitRequest,
  GroupConsumerOptions,
  ReleaseReason,
} from "../client/group/options.ts";
export type {
  DeadLetters,
  Edit,
  FoundLetter,
  ReadOptions,
  RedriveOptions,
  RedriveReport,
} from "../client/dead-letters/dead-letters.ts";
export type { DeadLetterOptions } from "../client/dead-letters/last-resort.ts";
export type { Settled } from "../client/dead-letters/ledger.ts";
export {
  type DeadLetter,
  DeadLetterHeader,
  deadLetterOf,
  RedriveHeader,
} from "../client/dead-letters/letter.ts";
export type { Selection } from "../client/dead-letters/selection.ts";
export * from "../client/share/errors.ts";
export type { Message, ReleaseOptions } from "../client/share/message.ts";
export type { Once, OnceContext, OnceOptions } from "../client/share/once.ts";
export type { Queue, QueueMessage, QueueOptions } from "../client/share/queue.ts";
export type { ShareConsumerOptions } from "../client/share/options.ts";
export type { ShareConsumer, ShareStats } from "../client/share/share-consumer.ts";
export type {
  HandlerFailure,
  ShareHandle,
  ShareHandlerContext,
  ShareRunOptions,
} from "../client/share/work.ts";
export type { IncomingHeader, IncomingRecord } from "../client/incoming-record.ts";
export type {
  Admin,
  ClusterDescription,
  ListedPartitionOffset,
  LogDirDescription,
  OffsetSpec,
} from "../client/admin.ts";
export type {
  ConfigChange,
  ConfigDescription,
  ConfigEntry,
  ConfigOwner,
  ConfigSource,
  DescribeConfigsOptions,
} from "../client/admin-configs.ts";
export type {
  GroupDescription,
  GroupMemberDescription,
  GroupOffset,
  ListedGroup,
  NewGroupOffset,
} from "../client/admin-groups.ts";
export type {
  NewShareGroupOffset,
  ShareGroupDescription,
  ShareGroupOffset,
  ShareMemberDescription,
} from "../client/admin-share-groups.ts";
export { PartlyRefusedError } from "../client/admin-outcome.ts";
export type {
  ChangeOptions,
  CreatedTopic,
  ListedTopic,
  NewTopic,
  PartitionDescription,
  TopicDescription,
} from "../client/admin-topics.ts";
export type {
  HangingTransaction,
  ListedTransaction,
  PartitionProducer,
  TransactionDescription,
} from "../client/admin-transactions.ts";
export type { DeletedRecords, RecordDeletion } from "../client/admin-records.ts";
