/**
 * CreateTopics: answered when the topics can be written, and the brokers of the cluster know them. Any
 * replication factor is accepted, since the store keeps the copies; of an assignment the first replica is the
 * preferred owner. The shape of both is checked as Kafka does. All topics of a request that hold go to the
 * journal together.
 */
import { type NodeId, NO_TOPIC_ID } from "../../base/ids.ts";
import type { TopicState } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  CreateTopics,
  type CreateTopicsRequest,
  type CreateTopicsResponse,
} from "../../protocol/messages/create-topics.ts";
import { refuseNodes, replicationFactor } from "../cluster-view.ts";
import { topicEntries } from "../config-view.ts";
import type { Services } from "../context.ts";
import { handle } from "../handle.ts";
import { PartitionRoom } from "../partition-room.ts";
import { accepted, attempt, type Refusal, refusal, repeated, voidRefusal } from "../refusal.ts";
import { refuseTopicSettings } from "../topic-config.ts";
import { refuseTopicName, type WantedTopic } from "../topics.ts";

type Wanted = CreateTopicsRequest["topics"][number];
type Result = CreateTopicsResponse["topics"][number];

export const createTopics = handle(CreateTopics, {
  async decide(request, { services }) {
    const twice = repeated(request.topics.map(({ name }) => name));
    const neighbours = new Neighbours(services);
    const room = new PartitionRoom(services);
    // No await before each topic that holds is with the journal: they share a slot.
    const once = new Map(request.topics.map((topic) => [topic.name, topic])).values();
    const results = Array.from(once, async (wanted) => {
      const plan = twice.has(wanted.name)
        ? refusal(ErrorCode.INVALID_REQUEST, "The topic is named twice in the request.")
        : planTopic(wanted, services, neighbours, room);
      if ("errorCode" in plan) return refuse(wanted, plan);
      neighbours.add(wanted.name);
      return request.validateOnly ? created(plan, null, services) : create(plan, services);
    });
    return { throttleTimeMs: 0, topics: await Promise.all(results) };
  },
});

function planTopic(
  wanted: Wanted,
  services: Services,
  neighbours: Neighbours,
  room: PartitionRoom,
): WantedTopic | Refusal {
  const { name } = wanted;
  const wrongName = refuseTopicName(name);
  if (wrongName !== null) {
    return refusal(ErrorCode.INVALID_TOPIC_EXCEPTION, `Topic name is invalid: ${wrongName}`);
  }
  if (services.topics.byName(name) !== undefined) {
    return refusal(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists.`);
  }
  const neighbour = neighbours.of(name);
  if (neighbour !== undefined) {
    return refusal(
      ErrorCode.INVALID_TOPIC_EXCEPTION,
      `Topic '${name}' collides with topic '${neighbour}': '.' and '_' are one in names of metrics.`,
    );
  }
  const partitionCount = countPartitions(wanted, services.config.get("num.partitions"));
  if (typeof partitionCount === "object") return partitionCount;
  const owners = ownersOf(wanted);
  const unknown = refuseNodes(
    wanted.assignments.flatMap(({ brokerIds }) => brokerIds),
    services,
  );
  if (unknown !== null) return refusal(ErrorCode.INVALID_REPLICA_ASSIGNMENT, unknown);
  const configs = configsOf(wanted, services);
  if ("errorCode" in configs) return configs;
  return room.take(partitionCount) ?? { name, partitionCount, configs, owners };
}

/** By partition; what was checked has a first replica for each. */
function ownersOf({ assignments }: Wanted): readonly NodeId[] {
  return [...assignments]
    .sort((a, b) => a.partitionIndex - b.partitionIndex)
    .flatMap(({ brokerIds }) => brokerIds.slice(0, 1));
}

/** Checks partitions, replication factor and assignment together. */
function countPartitions(wanted: Wanted, fallback: number): number | Refusal {
  const { assignments, numPartitions, replicationFactor: factor } = wanted;
  if (assignments.length === 0) {
    if (numPartitions === 0 || numPartitions < -1) {
      return refusal(
        ErrorCode.INVALID_PARTITIONS,
        "The number of partitions must be positive, or -1 for the default.",
      );
    }
    if (factor === 0 || factor < -1) {
      return refusal(
        ErrorCode.INVALID_REPLICATION_FACTOR,
        "The replication factor must be positive, or -1 for the default.",
      );
    }
    return numPartitions === -1 ? fallback : numPartitions;
  }
  if (numPartitions !== -1 || factor !== -1) {
    return refusal(
      ErrorCode.INVALID_REQUEST,
      "With an assignment of replicas, the number of partitions and the replication factor must be -1.",
    );
  }
  const indexes = assignments.map(({ partitionIndex }) => Number(partitionIndex)).sort((a, b) => a - b);
  if (indexes.some((index, at) => index !== at)) {
    return refusal(
      ErrorCode.INVALID_REPLICA_ASSIGNMENT,
      "Assigned partitions must be 0, 1, 2 and so on, each once.",
    );
  }
  for (const { partitionIndex, brokerIds } of assignments) {
    if (brokerIds.length === 0 || repeated(brokerIds).size > 0) {
      return refusal(
        ErrorCode.INVALID_REPLICA_ASSIGNMENT,
        `Partition ${partitionIndex} must be assigned to at least one broker, and to each once.`,
      );
    }
  }
  return assignments.length;
}

function configsOf({ configs }: Wanted, { config }: Services): ReadonlyMap<string, string> | Refusal {
  const [twice] = repeated(configs.map(({ name }) => name));
  if (twice !== undefined) return refusal(ErrorCode.INVALID_CONFIG, `The setting ${twice} is named twice.`);
  const own = new Map<string, string>();
  for (const { name, value } of configs) {
    if (value === null) return refusal(ErrorCode.INVALID_CONFIG, `The setting ${name} has no value.`);
    own.set(name, value);
  }
  const wrong = refuseTopicSettings(own, config);
  return wrong === null ? own : refusal(ErrorCode.INVALID_CONFIG, wrong);
}

async function create(plan: WantedTopic, services: Services): Promise<Result> {
  const outcome = await attempt(() => services.topics.create(plan));
  if ("errorCode" in outcome) return refuse(plan, outcome);
  if (outcome.kind === "done") return created(plan, outcome.topic, services);
  return refuse(
    plan,
    outcome.reason === "name-taken"
      ? refusal(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic '${plan.name}' already exists.`)
      : voidRefusal(outcome.reason),
  );
}

/** `topic` is null when nothing was created. */
function created(plan: WantedTopic, topic: TopicState | null, { config }: Services): Result {
  return {
    name: plan.name,
    topicId: topic?.id ?? NO_TOPIC_ID,
    ...accepted,
    topicConfigErrorCode: ErrorCode.NONE,
    numPartitions: topic?.partitions.length ?? plan.partitionCount,
    replicationFactor,
    configs: topicEntries(topic?.configs ?? plan.configs, config),
  };
}

function refuse({ name }: { readonly name: string }, why: Refusal): Result {
  return {
    name,
    topicId: NO_TOPIC_ID,
    ...why,
    topicConfigErrorCode: ErrorCode.NONE,
    numPartitions: -1,
    replicationFactor: -1,
    configs: [],
  };
}

/** Topics whose names differ in '.' and '_' only. Looked up when the first name has one of them. */
class Neighbours {
  readonly #services: Services;
  #byFolded: Map<string, string> | null = null;

  constructor(services: Services) {
    this.#services = services;
  }

  of(name: string): string | undefined {
    if (!/[._]/.test(name)) return undefined;
    this.#byFolded ??= new Map(
      Array.from(this.#services.topics.all(), (topic) => [folded(topic.name), topic.name]),
    );
    return this.#byFolded.get(folded(name));
  }

  /** A topic of this request. */
  add(name: string): void {
    this.#byFolded?.set(folded(name), name);
  }
}

const folded = (name: string): string => name.replaceAll(".", "_");
