/**
 * Looks after a cluster: topics, configurations, offsets, brokers. A refusal is an error whose sentence
 * carries what the broker said and whose `code` is the name of Kafka's error. A change is sent once: when
 * the connection ends before the answer, the error says that it may have been done.
 */
import { sleep } from "../base/ports.ts";
import { DescribeCluster } from "../protocol/messages/describe-cluster.ts";
import { DescribeLogDirs } from "../protocol/messages/describe-log-dirs.ts";
import { ListedOffset } from "../protocol/messages/list-offsets.ts";
import {
  alterConfigs,
  type ConfigChange,
  type ConfigDescription,
  type ConfigOwner,
  describeConfigs,
  type DescribeConfigsOptions,
} from "./admin-configs.ts";
import {
  alterGroupOffsets,
  deleteGroupOffsets,
  deleteGroups,
  describeGroup,
  type GroupDescription,
  type GroupOffset,
  type ListedGroup,
  listGroupOffsets,
  listGroups,
  type NewGroupOffset,
} from "./admin-groups.ts";
import {
  alterShareGroupOffsets,
  deleteShareGroupOffsets,
  describeShareGroup,
  listShareGroupOffsets,
  type NewShareGroupOffset,
  type ShareGroupDescription,
  type ShareGroupOffset,
} from "./admin-share-groups.ts";
import { type DeletedRecords, deleteRecords, type RecordDeletion } from "./admin-records.ts";
import {
  type AdminAccess,
  type ChangeOptions,
  type CreatedTopic,
  createPartitions,
  createTopics,
  deleteTopics,
  describeTopics,
  type ListedTopic,
  listTopics,
  type NewTopic,
  type TopicDescription,
} from "./admin-topics.ts";
import {
  abortInPartition,
  describeProducers,
  describeTransaction,
  fenceProducer,
  findHangingTransactions,
  type HangingTransaction,
  type ListedTransaction,
  listTransactions,
  type PartitionProducer,
  type TransactionDescription,
} from "./admin-transactions.ts";
import type { BrokerView, Cluster } from "./cluster.ts";
import { NoBrokerError, refuseUnlessNone } from "./errors.ts";
import type { TopicPartition } from "./group/assignor.ts";
import { Links } from "./links.ts";
import { type Isolation, lookUpOffsets } from "./offset-lookup.ts";
import { backoffAfter } from "./settings.ts";

/** Which offset is asked for: an end of the log, the first record at or after a time, or the record with the largest timestamp. */
export type OffsetSpec = "earliest" | "latest" | "max-timestamp" | { readonly timeMs: number };

export interface ListedPartitionOffset {
  readonly topic: string;
  readonly partition: number;
  /** −1: there is no such record. */
  readonly offset: number;
  /** Of the record; −1 where an end was asked for. */
  readonly timestampMs: number;
  /** −1: unknown. */
  readonly leaderEpoch: number;
}

export interface ClusterDescription {
  readonly clusterId: string;
  readonly controllerId: number;
  readonly brokers: readonly {
    readonly id: number;
    readonly host: string;
    readonly port: number;
    readonly rack: string | null;
    readonly isFenced: boolean;
  }[];
}

export interface LogDirDescription {
  readonly broker: number;
  readonly path: string;
  /** −1: the broker is too old to tell. */
  readonly totalBytes: number;
  readonly usableBytes: number;
  readonly partitions: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly sizeBytes: number;
    readonly offsetLag: number;
    readonly isFuture: boolean;
  }[];
}

export class Admin implements AsyncDisposable {
  readonly #access: AdminAccess;
  readonly #onClose: () => void;

  constructor(cluster: Cluster, onClose: () => void = () => undefined) {
    this.#access = { cluster, links: new Links(cluster.settings) };
    this.#onClose = onClose;
  }

  /** By name. Internal topics only when asked for. */
  listTopics(options?: { readonly internal?: boolean | undefined }): Promise<readonly ListedTopic[]> {
    return listTopics(this.#access, options);
  }

  /** Rejects with `BrokerRefusedError` (code `TOPIC_ALREADY_EXISTS`, …), for several topics with `PartlyRefusedError`. */
  createTopics(topics: readonly NewTopic[], options?: ChangeOptions): Promise<readonly CreatedTopic[]> {
    return createTopics(this.#access, topics, options);
  }

  async createTopic(topic: NewTopic | string, options?: ChangeOptions): Promise<CreatedTopic> {
    const wanted = typeof topic === "string" ? { topic } : topic;
    return (await this.createTopics([wanted], options))[0] as CreatedTopic;
  }

  /** Deletes topics with all their records. Rejects as `createTopics` does. */
  deleteTopics(topics: readonly string[], options?: Pick<ChangeOptions, "timeoutMs">): Promise<void> {
    return deleteTopics(this.#access, topics, options);
  }

  deleteTopic(topic: string, options?: Pick<ChangeOptions, "timeoutMs">): Promise<void> {
    return this.deleteTopics([topic], options);
  }

  /**
   * Deletes the oldest records of partitions for good; resolves when it is durable, with where each log
   * begins now. Rejects with `BrokerRefusedError` (code `OFFSET_OUT_OF_RANGE`, `POLICY_VIOLATION` for a
   * topic that is only compacted, …), for several partitions with `PartlyRefusedError`.
   */
  deleteRecords(
    deletions: readonly RecordDeletion[],
    options?: Pick<ChangeOptions, "timeoutMs">,
  ): Promise<readonly DeletedRecords[]> {
    return this.#persist(() => deleteRecords(this.#access, deletions, options));
  }

  /** With partitions, their leaders and offsets. Rejects with `UnknownTopicError`, which knows similar names. */
  describeTopics(topics: readonly string[]): Promise<readonly TopicDescription[]> {
    return this.#persist(() => describeTopics(this.#access, topics));
  }

  async describeTopic(topic: string): Promise<TopicDescription> {
    return (await this.describeTopics([topic]))[0] as TopicDescription;
  }

  /** Gives topics more partitions; `partitions` is how many there shall be. Keys move to other partitions by that. */
  createPartitions(
    topics: readonly { readonly topic: string; readonly partitions: number }[],
    options?: ChangeOptions,
  ): Promise<void> {
    return createPartitions(this.#access, topics, options);
  }

  describeConfigs(
    owners: readonly ConfigOwner[],
    options?: DescribeConfigsOptions,
  ): Promise<readonly ConfigDescription[]> {
    return this.#persist(() => describeConfigs(this.#access, owners, options));
  }

  /** Changes the keys that are named and leaves the others alone (KIP-339). */
  alterConfigs(
    changes: readonly ConfigChange[],
    options?: Pick<ChangeOptions, "validateOnly">,
  ): Promise<void> {
    return alterConfigs(this.#access, changes, options);
  }

  /** In the order of the questions; each partition at most once in a call. */
  async listOffsets(
    questions: readonly { readonly topic: string; readonly partition: number; readonly at: OffsetSpec }[],
    options: { readonly isolation?: Isolation | undefined } = {},
  ): Promise<readonly ListedPartitionOffset[]> {
    const { isolation = "uncommitted" } = options;
    const asked = questions.map(({ topic, partition, at }) => ({
      topic,
      partition,
      timestamp: timestampOf(at),
    }));
    return this.#persist(() => lookUpOffsets(this.#access, asked, isolation));
  }

  /** By name. Rejects with `BrokerRefusedError`. */
  listGroups(
    options: {
      readonly states?: readonly string[] | undefined;
      readonly types?: readonly string[] | undefined;
    } = {},
  ): Promise<readonly ListedGroup[]> {
    return this.#persist(() => listGroups(this.#access, options));
  }

  /** Rejects with `BrokerRefusedError` (code `GROUP_ID_NOT_FOUND`, …). */
  describeGroups(groups: readonly string[]): Promise<readonly GroupDescription[]> {
    return Promise.all(groups.map((group) => describeGroup(this.#access, group)));
  }

  /** With all that they committed; only groups without members. Rejects as `createTopics` does. */
  deleteGroups(groups: readonly string[]): Promise<void> {
    return deleteGroups(this.#access, groups);
  }

  /** Rejects with `BrokerRefusedError` (code `GROUP_ID_NOT_FOUND`, …). */
  describeShareGroups(groups: readonly string[]): Promise<readonly ShareGroupDescription[]> {
    return Promise.all(groups.map((group) => describeShareGroup(this.#access, group)));
  }

  /** Where a share group begins to deliver in each partition that it has to do with, and how much waits there. */
  listShareGroupOffsets(group: string): Promise<readonly ShareGroupOffset[]> {
    return listShareGroupOffsets(this.#access, group);
  }

  /** Moves a share group that has no members. Rejects as `createTopics` does. */
  alterShareGroupOffsets(group: string, offsets: readonly NewShareGroupOffset[]): Promise<void> {
    return alterShareGroupOffsets(this.#access, group, offsets);
  }

  /** Has a share group without members forget topics. Rejects as `createTopics` does. */
  deleteShareGroupOffsets(group: string, topics: readonly string[]): Promise<void> {
    return deleteShareGroupOffsets(this.#access, group, topics);
  }

  /** How far a group has got, in the partitions of which it has committed anything. */
  listGroupOffsets(
    group: string,
    partitions?: readonly { readonly topic: string; readonly partition: number }[],
  ): Promise<readonly GroupOffset[]> {
    return listGroupOffsets(this.#access, group, partitions);
  }

  /** Moves a group that has no members; one that is not there is made by that. */
  alterGroupOffsets(group: string, offsets: readonly NewGroupOffset[]): Promise<void> {
    return alterGroupOffsets(this.#access, group, offsets);
  }

  /** Forgets how far a group got in partitions of topics that none of its members reads. */
  deleteGroupOffsets(
    group: string,
    partitions: readonly { readonly topic: string; readonly partition: number }[],
  ): Promise<void> {
    return deleteGroupOffsets(this.#access, group, partitions);
  }

  /** By transactional id. `openForMs`: only those that have been open for longer. Rejects with `BrokerRefusedError`. */
  listTransactions(
    options: {
      readonly states?: readonly string[] | undefined;
      readonly producerIds?: readonly number[] | undefined;
      readonly openForMs?: number | undefined;
    } = {},
  ): Promise<readonly ListedTransaction[]> {
    return this.#persist(() => listTransactions(this.#access, options));
  }

  /** Rejects with `BrokerRefusedError` (code `TRANSACTIONAL_ID_NOT_FOUND`, …). */
  describeTransactions(transactionalIds: readonly string[]): Promise<readonly TransactionDescription[]> {
    return Promise.all(transactionalIds.map((id) => describeTransaction(this.#access, id)));
  }

  /** Which producers partitions know, and which of them have a transaction open. Rejects with `BrokerRefusedError`. */
  describeProducers(partitions: readonly TopicPartition[]): Promise<readonly PartitionProducer[]> {
    return this.#persist(() => describeProducers(this.#access, partitions));
  }

  /** Open transactions whose producer has written nothing for `idleMs` (default 15 minutes) and that no coordinator will end. */
  findHangingTransactions(
    partitions: readonly TopicPartition[],
    options: { readonly idleMs?: number | undefined } = {},
  ): Promise<readonly HangingTransaction[]> {
    const { idleMs = 15 * 60_000 } = options;
    return this.#persist(() => findHangingTransactions(this.#access, partitions, idleMs));
  }

  /**
   * Aborts the transaction that a producer has open in one partition, by a marker there. For one that hangs: to a
   * coordinator that knows of it nothing is said. Rejects with `BrokerRefusedError`.
   */
  abortTransaction(
    producer: TopicPartition & Pick<PartitionProducer, "producerId" | "producerEpoch" | "coordinatorEpoch">,
  ): Promise<void> {
    return abortInPartition(this.#access, producer);
  }

  /** Puts out the producer with this id and aborts what it has open; an id that is not there is made by that. */
  fenceProducer(transactionalId: string): Promise<void> {
    return fenceProducer(this.#access, transactionalId);
  }

  async describeCluster(): Promise<ClusterDescription> {
    const answer = await this.#access.cluster.ask(DescribeCluster, {
      includeClusterAuthorizedOperations: false,
      endpointType: 1,
      includeFencedBrokers: false,
    });
    refuseUnlessNone("Describing the cluster", answer.errorCode, answer.errorMessage);
    const { clusterId, controllerId, brokers } = answer;
    return {
      clusterId,
      controllerId,
      brokers: brokers.map(({ brokerId, host, port, rack, isFenced }) => ({
        id: brokerId,
        host,
        port,
        rack,
        isFenced,
      })),
    };
  }

  /** What partitions take on the disks of all brokers, or of those that `brokers` names. */
  describeLogDirs(
    options: { readonly brokers?: readonly number[] | undefined } = {},
  ): Promise<readonly LogDirDescription[]> {
    return this.#persist(() => this.#logDirs(options));
  }

  async #logDirs(options: {
    readonly brokers?: readonly number[] | undefined;
  }): Promise<readonly LogDirDescription[]> {
    const { cluster } = this.#access;
    // Also finds the brokers.
    await cluster.listTopics();
    const { brokers } = options;
    const wanted = cluster.brokers.filter(({ nodeId }) => brokers === undefined || brokers.includes(nodeId));
    return (await Promise.all(wanted.map((broker) => this.#logDirsOf(broker)))).flat();
  }

  close(): Promise<void> {
    this.#access.links.close();
    this.#onClose();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #logDirsOf(broker: BrokerView): Promise<readonly LogDirDescription[]> {
    const connection = await this.#access.links.to(broker);
    const answer = await connection.call(DescribeLogDirs, { topics: null });
    const what = `Describing the log directories of broker ${broker.nodeId}`;
    refuseUnlessNone(what, answer.errorCode);
    return answer.results.map(({ errorCode, logDir, totalBytes, usableBytes, topics }) => {
      refuseUnlessNone(`${what} at ${logDir}`, errorCode);
      const partitions = topics.flatMap(({ name, partitions: each }) =>
        each.map(({ partitionIndex, partitionSize, offsetLag, isFutureKey }) => ({
          topic: name,
          partition: partitionIndex,
          sizeBytes: partitionSize,
          offsetLag,
          isFuture: isFutureKey,
        })),
      );
      return { broker: broker.nodeId, path: logDir, totalBytes, usableBytes, partitions };
    });
  }

  /** Tries what changes nothing again while a broker may mend its failure by itself, for `requestTimeoutMs`. */
  async #persist<T>(run: () => Promise<T>): Promise<T> {
    const { settings } = this.#access.cluster;
    const endMs = settings.clock.monotonicMs() + settings.requestTimeoutMs;
    for (let attempt = 1; ; attempt++) {
      try {
        return await run();
      } catch (cause) {
        const isRetriable = (cause as { readonly retriable?: unknown }).retriable === true;
        // Who looked for the only broker has waited for it already; in the place of one of many another may come.
        const isGone = cause instanceof NoBrokerError && this.#access.cluster.brokers.length <= 1;
        const isOver = isGone || settings.clock.monotonicMs() >= endMs;
        if (!isRetriable || isOver) throw cause;
      }
      await sleep(settings.clock, backoffAfter(attempt, settings));
    }
  }
}

function timestampOf(at: OffsetSpec): number {
  if (typeof at === "object") return at.timeMs;
  switch (at) {
    case "earliest":
      return ListedOffset.earliest;
    case "latest":
      return ListedOffset.latest;
    case "max-timestamp":
      return ListedOffset.maxTimestamp;
    default:
      return at satisfies never;
  }
}
