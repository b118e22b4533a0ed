/** Topics for an admin: listed, created, described, grown, deleted. */
import { NO_TOPIC_ID, nodeId, partitionIndex } from "../base/ids.ts";
import { CreatePartitions } from "../protocol/messages/create-partitions.ts";
import { CreateTopics } from "../protocol/messages/create-topics.ts";
import { DeleteTopics } from "../protocol/messages/delete-topics.ts";
import { ListedOffset } from "../protocol/messages/list-offsets.ts";
import { refuseFailures } from "./admin-outcome.ts";
import type { Cluster, PartitionView, TopicView } from "./cluster.ts";
import { ConnectionLostError } from "./errors.ts";
import type { Links } from "./links.ts";
import { lookUpOffsets } from "./offset-lookup.ts";

export interface AdminAccess {
  readonly cluster: Cluster;
  /** For questions to a certain broker. */
  readonly links: Links;
}

export interface NewTopic {
  readonly topic: string;
  /** Default: the broker's `num.partitions`. */
  readonly partitions?: number | undefined;
  /** Default: the broker's `default.replication.factor`. */
  readonly replicationFactor?: number | undefined;
  readonly configs?: { readonly [name: string]: string } | undefined;
  /** Brokers by partition, instead of the two numbers. */
  readonly replicas?: readonly (readonly number[])[] | undefined;
}

export interface CreatedTopic {
  readonly topic: string;
  readonly id: string;
  /** −1: the broker is too old to tell. */
  readonly partitions: number;
  readonly replicationFactor: number;
}

export interface ChangeOptions {
  /** Only find out whether it would be done. Default false. */
  readonly validateOnly?: boolean | undefined;
  /** How long the broker may take, in ms. Default: the client's `requestTimeoutMs`. */
  readonly timeoutMs?: number | undefined;
}

export interface ListedTopic {
  readonly name: string;
  readonly id: string;
  readonly partitions: number;
  /** The node that leads each partition, from 0 on; −1: none at the moment. */
  readonly leaders: readonly number[];
  readonly isInternal: boolean;
}

export interface PartitionDescription {
  readonly partition: number;
  /** −1: none at the moment. */
  readonly leader: number;
  readonly leaderEpoch: number;
  readonly replicas: readonly number[];
  readonly inSync: readonly number[];
  /** The first offset that exists, and the one behind the last; `undefined` without a leader. */
  readonly start: number | undefined;
  readonly end: number | undefined;
}

export interface TopicDescription {
  readonly name: string;
  readonly id: string;
  readonly isInternal: boolean;
  readonly partitions: readonly PartitionDescription[];
}

export async function listTopics(
  { cluster }: AdminAccess,
  options: { readonly internal?: boolean | undefined } = {},
): Promise<readonly ListedTopic[]> {
  const views = await cluster.listTopics();
  return views
    .filter(({ isInternal }) => !isInternal || options.internal === true)
    .map(({ name, id, isInternal, partitions }) => ({
      name,
      id,
      isInternal,
      partitions: partitions.length,
      leaders: partitions.map(({ leader }) => leader),
    }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

export async function createTopics(
  { cluster }: AdminAccess,
  topics: readonly NewTopic[],
  options: ChangeOptions = {},
): Promise<readonly CreatedTopic[]> {
  const { validateOnly = false, timeoutMs = cluster.settings.requestTimeoutMs } = options;
  const request = {
    topics: topics.map(({ topic, partitions, replicationFactor, configs, replicas }) => ({
      name: topic,
      numPartitions: replicas === undefined ? (partitions ?? -1) : -1,
      replicationFactor: replicas === undefined ? (replicationFactor ?? -1) : -1,
      assignments: (replicas ?? []).map((ids, index) => ({
        partitionIndex: partitionIndex(index),
        brokerIds: ids.map(nodeId),
      })),
      configs: Object.entries(configs ?? {}).map(([name, value]) => ({ name, value })),
    })),
    timeoutMs,
    validateOnly,
  };
  const answer = await once(`creating ${namesOf(topics)}`, () =>
    cluster.ask(CreateTopics, request, waiting(cluster, timeoutMs)),
  );
  refuseFailures("Creating topic", answer.topics);
  for (const { name } of answer.topics) cluster.refresh(name);
  return answer.topics.map(({ name, topicId, numPartitions, replicationFactor }) => ({
    topic: name,
    id: topicId,
    partitions: numPartitions,
    replicationFactor,
  }));
}

export async function deleteTopics(
  { cluster }: AdminAccess,
  topics: readonly string[],
  options: Pick<ChangeOptions, "timeoutMs"> = {},
): Promise<void> {
  const { timeoutMs = cluster.settings.requestTimeoutMs } = options;
  const request = {
    topics: topics.map((name) => ({ name, topicId: NO_TOPIC_ID })),
    topicNames: topics,
    timeoutMs,
  };
  const answer = await once(`deleting ${quoted(topics)}`, () =>
    cluster.ask(DeleteTopics, request, waiting(cluster, timeoutMs)),
  );
  const results = answer.responses.map(({ name, errorCode, errorMessage }) => ({
    name: name ?? "",
    errorCode,
    errorMessage,
  }));
  refuseFailures("Deleting topic", results);
}

/** `partitions`: how many each shall have. */
export async function createPartitions(
  { cluster }: AdminAccess,
  topics: readonly { readonly topic: string; readonly partitions: number }[],
  options: ChangeOptions = {},
): Promise<void> {
  const { validateOnly = false, timeoutMs = cluster.settings.requestTimeoutMs } = options;
  const request = {
    topics: topics.map(({ topic, partitions }) => ({ name: topic, count: partitions, assignments: null })),
    timeoutMs,
    validateOnly,
  };
  const answer = await once(`adding partitions to ${namesOf(topics)}`, () =>
    cluster.ask(CreatePartitions, request, waiting(cluster, timeoutMs)),
  );
  refuseFailures("Adding partitions to", answer.results);
  for (const { topic } of topics) cluster.refresh(topic);
}

export async function describeTopics(
  access: AdminAccess,
  names: readonly string[],
): Promise<readonly TopicDescription[]> {
  const views = await Promise.all(names.map((name) => access.cluster.askTopic(name)));
  const led = views.flatMap(({ name, partitions }) =>
    partitions.flatMap(({ leader, index }) => (leader < 0 ? [] : [{ topic: name, partition: index }])),
  );
  const at = async (timestamp: number): Promise<ReadonlyMap<string, number>> => {
    const found = await lookUpOffsets(
      access,
      led.map((each) => ({ ...each, timestamp })),
      "uncommitted",
    );
    return new Map(found.map(({ topic, partition, offset }) => [`${topic}/${partition}`, offset]));
  };
  const [starts, ends] = await Promise.all([at(ListedOffset.earliest), at(ListedOffset.latest)]);
  return views.map((view) => describe(view, starts, ends));
}

function describe(
  view: TopicView,
  starts: ReadonlyMap<string, number>,
  ends: ReadonlyMap<string, number>,
): TopicDescription {
  const { name, id, isInternal } = view;
  const partitions = view.partitions.map((each: PartitionView) => {
    const place = `${name}/${each.index}`;
    const { index: partition, leader, leaderEpoch, replicas, inSync } = each;
    return {
      partition,
      leader,
      leaderEpoch,
      replicas,
      inSync,
      start: starts.get(place),
      end: ends.get(place),
    };
  });
  return { name, id, isInternal, partitions };
}

/** A change that is asked for twice is refused the second time, as if it had not been done: it is sent once. */
function waiting(
  cluster: Cluster,
  timeoutMs: number,
): { readonly repeatable: false; readonly timeoutMs: number } {
  return { repeatable: false, timeoutMs: timeoutMs + cluster.settings.requestTimeoutMs };
}

async function once<T>(doing: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (!(cause instanceof ConnectionLostError) || !cause.sent) throw cause;
    const message = `It is not known whether ${doing} was done; look before asking again. ${cause.message}`;
    throw new ConnectionLostError(message, { sent: true, cause });
  }
}

const quoted = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(", ");
const namesOf = (topics: readonly { readonly topic: string }[]): string =>
  quoted(topics.map(({ topic }) => topic));
