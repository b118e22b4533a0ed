/** The cluster as one client sees it: addresses that it can reach, owners of partitions, what it may do. */
import { type BrokerEpoch, type NodeId, nodeId } from "../base/ids.ts";
import type { PartitionState } from "../metadata/state.ts";
import { ErrorCode } from "../protocol/errors.ts";
import type { RequestContext, Services } from "./context.ts";

export interface BrokerAddress {
  readonly nodeId: NodeId;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
}

/**
 * Live brokers by node id. This one has the address that the client connected to, so that it works
 * behind any listener, unless one is advertised; others have the one they registered.
 */
export function brokerAddresses(context: RequestContext): readonly BrokerAddress[] {
  // One that came back before its former life was ended is there once, as it is now: epochs ascend.
  const addresses = new Map<NodeId, BrokerAddress>();
  for (const { epoch } of context.services.journal.state.brokers.values()) {
    const address = addressOf(epoch, context);
    if (address !== undefined) addresses.set(address.nodeId, address);
  }
  return [...addresses.values()].sort((a, b) => a.nodeId - b.nodeId);
}

/** Registered brokers that are not live now, by node id: their partitions are with others, or will be. */
export function fencedAddresses(context: RequestContext): readonly BrokerAddress[] {
  const live = new Set(brokerAddresses(context).map((each) => each.nodeId));
  const fenced = new Map<NodeId, BrokerAddress>();
  for (const { nodeId, rack, listeners } of context.services.journal.state.brokers.values()) {
    const [listener] = listeners;
    if (live.has(nodeId) || listener === undefined) continue;
    fenced.set(nodeId, { nodeId, host: listener.host, port: listener.port, rack });
  }
  return [...fenced.values()].sort((a, b) => a.nodeId - b.nodeId);
}

/**
 * Whom clients ask to make topics and the like. Every broker can do it, so it is the one with the lowest number
 * among those that answer, and all brokers name the same.
 */
export function controllerOf(context: RequestContext): NodeId {
  const { services } = context;
  let lowest = services.nodeId;
  for (const epoch of services.cluster.peers.answering()) {
    const broker = services.journal.state.brokers.get(epoch);
    if (broker?.status === "live" && broker.nodeId < lowest) lowest = broker.nodeId;
  }
  return lowest;
}

/** Undefined: this broker is not live, or has no address. */
export function addressOf(epoch: BrokerEpoch, context: RequestContext): BrokerAddress | undefined {
  const { services, connection } = context;
  const { advertised, journal } = services;
  const broker = journal.state.brokers.get(epoch);
  if (broker?.status !== "live") return undefined;
  const { rack } = broker;
  if (epoch === services.epoch) {
    const { host, port } = advertised ?? { host: connection.localHost, port: connection.localPort };
    return { nodeId: services.nodeId, host, port, rack };
  }
  const listener =
    broker.listeners.find(({ name }) => name === connection.listenerName) ?? broker.listeners[0];
  return listener && { nodeId: broker.nodeId, host: listener.host, port: listener.port, rack };
}

const noNode = nodeId(-1);

/** A partition as Metadata and DescribeTopicPartitions tell it. The store keeps the copies, so there is one replica: the owner. */
export function describePartition(partition: PartitionState, context: RequestContext) {
  const owner = context.services.journal.state.brokers.get(partition.owner);
  const isLive = owner?.status === "live";
  const nodes = owner === undefined ? [] : [owner.nodeId];
  return {
    errorCode: isLive ? ErrorCode.NONE : ErrorCode.LEADER_NOT_AVAILABLE,
    partitionIndex: partition.index,
    leaderId: isLive ? owner.nodeId : noNode,
    leaderEpoch: partition.leaderEpoch,
    replicaNodes: nodes,
    isrNodes: isLive ? nodes : [],
    offlineReplicas: isLive ? [] : nodes,
  };
}

/**
 * Why partitions cannot be given to these nodes; null: they can. Who has his data alone takes any, and keeps the
 * partitions himself.
 */
export function refuseNodes(nodes: readonly NodeId[], { journal }: Pick<Services, "journal">): string | null {
  const { walKind, brokers } = journal.state;
  if (walKind === "file") return null;
  const live = new Set<NodeId>();
  for (const broker of brokers.values()) if (broker.status === "live") live.add(broker.nodeId);
  const unknown = nodes.find((node) => !live.has(node));
  if (unknown === undefined) return null;
  return `There is no broker ${unknown} in this cluster now; it has ${[...live].sort((a, b) => a - b).join(", ")}.`;
}

/** How many copies of a partition clients are told of; what the store keeps is its own affair. */
export const replicationFactor = 1;

const internalTopics: ReadonlySet<string> = new Set([
  "__consumer_offsets",
  "__transaction_state",
  "__share_group_state",
]);
export const isInternalTopic = (name: string): boolean => internalTopics.has(name);

/** Kafka's numbers of operations (AclOperation). */
const Operation = {
  read: 3,
  write: 4,
  create: 5,
  delete: 6,
  alter: 7,
  describe: 8,
  clusterAction: 9,
  describeConfigs: 10,
  alterConfigs: 11,
  idempotentWrite: 12,
} as const;

const bits = (...operations: (keyof typeof Operation)[]): number =>
  operations.reduce((all, operation) => all | (1 << Operation[operation]), 0);

/** As a bit per operation: all of a topic's, since everybody may do everything until there are users. */
export const topicOperations: number = bits(
  "read",
  "write",
  "create",
  "delete",
  "alter",
  "describe",
  "describeConfigs",
  "alterConfigs",
);
export const groupOperations: number = bits("read", "delete", "describe");
export const clusterOperations: number = bits(
  "create",
  "alter",
  "describe",
  "clusterAction",
  "describeConfigs",
  "alterConfigs",
  "idempotentWrite",
);
