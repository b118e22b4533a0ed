/**
 * The brokers of a cluster, as one of them tells (over Kafka's protocol: who answers, what each leads and keeps), or as
 * the journal in the store has them (also who is stopping or gone, epochs, software and positions of logs).
 */
import type { Admin } from "../client/admin.ts";
import { HoldfastError, RefusedError } from "../base/errors.ts";
import { parseSlotKey, walPrefix } from "../log/object-wal-format.ts";
import { partitionBytes } from "../log/segment-list.ts";
import { Replay, type ReplayPorts } from "../metadata/replay.ts";
import type { BrokerState, ClusterState } from "../metadata/state.ts";
import { unneededSlots } from "../metadata/unneeded.ts";

/** `silent`: the others know it, and it did not answer us. `ended`: its log is closed, and all that it acknowledged is with others. */
export type BrokerStanding = "active" | "draining" | "fenced" | "ended" | "silent";

export interface BrokerFacts {
  readonly node: number;
  readonly address: string;
  /** Under which the cluster remembers its number; null: unknown, or none. */
  readonly name: string | null;
  readonly rack: string | null;
  readonly state: BrokerStanding;
  /** How many partitions of each topic it owns. */
  readonly topics: ReadonlyMap<string, number>;
  /** Of its partitions, by the journal only what is in segments; null: it did not answer. */
  readonly bytes: number | null;
  /** Null: only the store tells. */
  readonly life: BrokerLife | null;
}

export interface BrokerLife {
  readonly epoch: number;
  readonly software: string;
  /** The highest format level that its software can read. */
  readonly levelMax: number;
  readonly wal: "file" | "object";
  /** Positions of its log: below the first all is in segments; where the log ends, once that is known. */
  readonly released: number;
  readonly end: number | null;
  /** From here on somebody still needs it; null: nobody does. */
  readonly neededFrom: number | null;
  /** "orders-3 offsets 10 to 12": what recovery found damaged. */
  readonly lost: readonly string[];
}

export const partitionsOf = ({ topics }: BrokerFacts): number =>
  [...topics.values()].reduce((sum, count) => sum + count, 0);

/** Asks the cluster, and each of its brokers for itself. */
export async function brokersByProtocol(admin: Admin): Promise<readonly BrokerFacts[]> {
  const [{ brokers }, listed] = await Promise.all([
    admin.describeCluster(),
    admin.listTopics({ internal: true }),
  ]);
  const owned = new Map<number, Map<string, number>>();
  for (const { name, leaders } of listed) {
    for (const leader of leaders) count(owned, leader, name);
  }
  const facts = brokers.map(async ({ id, host, port, rack, isFenced }): Promise<BrokerFacts> => {
    const bytes = isFenced ? null : await bytesAt(admin, id);
    const state = isFenced ? "fenced" : bytes === null ? "silent" : "active";
    const topics = owned.get(id) ?? new Map<string, number>();
    return { node: id, address: `${host}:${port}`, name: null, rack, state, topics, bytes, life: null };
  });
  return (await Promise.all(facts)).toSorted((a, b) => a.node - b.node);
}

/** Null: it does not answer. */
async function bytesAt(admin: Admin, broker: number): Promise<number | null> {
  try {
    const directories = await admin.describeLogDirs({ brokers: [broker] });
    const partitions = directories.flatMap((each) => each.partitions);
    return directories.length === 0 ? null : partitions.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  } catch (error) {
    if (error instanceof HoldfastError) return null;
    throw error;
  }
}

/** Replays the journal of the store. `all`: also those that ended and of which nothing is needed. */
export async function brokersByJournal(ports: ReplayPorts, all: boolean): Promise<readonly BrokerFacts[]> {
  const replay = new Replay(ports, () => undefined);
  await replay.load();
  const state = replay.image;
  if (state.clusterId === "") {
    throw new RefusedError(
      "No cluster is here: nothing of a broker lies in this store. Name the store that brokers were started with.",
    );
  }
  const owned = ownedBy(state);
  const facts = Array.from(state.brokers.values(), (broker) => factsOf(broker, state, owned));
  return facts
    .filter(({ state: standing, life }) => all || standing !== "ended" || (life?.neededFrom ?? null) !== null)
    .toSorted((a, b) => a.node - b.node || (a.life?.epoch ?? 0) - (b.life?.epoch ?? 0));
}

interface Owned {
  readonly topics: Map<number, Map<string, number>>;
  readonly bytes: Map<number, number>;
}

function ownedBy(state: ClusterState): Owned {
  const owned: Owned = { topics: new Map(), bytes: new Map() };
  for (const { name, partitions } of state.topics.values()) {
    for (const partition of partitions) {
      count(owned.topics, partition.owner, name);
      owned.bytes.set(partition.owner, (owned.bytes.get(partition.owner) ?? 0) + partitionBytes(partition));
    }
  }
  return owned;
}

function factsOf(broker: BrokerState, state: ClusterState, owned: Owned): BrokerFacts {
  const { epoch, nodeId, name, rack, listeners, software, levelMax, released, end, holes } = broker;
  const [listener] = listeners;
  const topicName = (id: (typeof holes)[number]["topicId"]): string => state.topics.get(id)?.name ?? id;
  return {
    node: nodeId,
    address: listener === undefined ? "–" : `${listener.host}:${listener.port}`,
    name,
    rack,
    state: standingOf(broker),
    topics: owned.topics.get(epoch) ?? new Map(),
    bytes: owned.bytes.get(epoch) ?? 0,
    life: {
      epoch,
      software,
      levelMax,
      wal: state.walKind,
      released,
      end,
      neededFrom: neededFrom(broker, state),
      lost: holes.map(
        ({ topicId, partition, from, to }) =>
          `${topicName(topicId)}-${partition} offsets ${from} to ${to - 1}`,
      ),
    },
  };
}

function standingOf({ status, draining }: BrokerState): BrokerStanding {
  switch (status) {
    case "live":
      return draining ? "draining" : "active";
    case "fenced":
      return "fenced";
    case "sealed":
      return "ended";
    default:
      return status satisfies never;
  }
}

function neededFrom({ epoch, status }: BrokerState, state: ClusterState): number | null {
  const unneeded = unneededSlots(state).get(epoch);
  if (unneeded === undefined) return null;
  return status === "sealed" && unneeded.below === unneeded.sealedAt ? null : unneeded.below;
}

/** The slots of its log that are in the store: the first, the last, and how many; null: none. */
export async function slotsOf(
  { store }: Pick<ReplayPorts, "store">,
  epoch: BrokerState["epoch"],
): Promise<{ readonly first: number; readonly last: number; readonly count: number } | null> {
  const slots = (await store.list(walPrefix(epoch))).flatMap(({ key }) => parseSlotKey(key)?.slot ?? []);
  const first = slots[0];
  return first === undefined ? null : { first, last: slots.at(-1) ?? first, count: slots.length };
}

function count(counts: Map<number, Map<string, number>>, owner: number, topic: string): void {
  const topics = counts.get(owner) ?? new Map<string, number>();
  topics.set(topic, (topics.get(topic) ?? 0) + 1);
  counts.set(owner, topics);
}
