/**
 * A producer with a transactional id in a simulated cluster, old or new, that speaks the wire itself. Each request
 * goes to the broker that has to do with it, and is sent once: what a broker answers is what a test sees.
 */
import { offsetsTopic } from "../src/broker/groups.ts";
import { shardIndex } from "../src/broker/shards.ts";
import { transactionsTopic } from "../src/broker/transactions.ts";
import type { ErrorCode } from "../src/protocol/errors.ts";
import type { EndTxnResponse } from "../src/protocol/messages/end-txn.ts";
import type { InitProducerIdResponse } from "../src/protocol/messages/init-producer-id.ts";
import { SimClient } from "../src/sim/client.ts";
import { CreateTopics } from "../src/protocol/messages/create-topics.ts";
import { aCluster, type SimulatedCluster } from "./simulated-cluster.ts";
import {
  type CommittedView,
  committedIn,
  type Place,
  type Producer,
  type Speech,
  stableOffset,
  WireProducer,
} from "./transaction-fixture.ts";

const firstPort = 9092;
const settings = { "transaction.state.log.num.partitions": "3", "offsets.topic.num.partitions": "3" };

/** Three brokers, and a topic with three partitions, of which each has one, as of the coordinators' topics. */
export async function startedOverThree(
  test: Parameters<typeof aCluster>[0],
  topic: string,
): Promise<SimulatedCluster> {
  const cluster = await aCluster(test, settings);
  const wanted = { name: topic, numPartitions: 3, replicationFactor: -1, assignments: [], configs: [] };
  await cluster.ask(0, CreateTopics, { topics: [wanted], timeoutMs: 1_000, validateOnly: false });
  const { transactions, groups } = cluster.at(0).services;
  await cluster.run(Promise.resolve(transactions.whenMade()));
  await cluster.run(Promise.resolve(groups.whenMade()));
  await cluster.until("all is spread", () =>
    [topic, transactionsTopic, offsetsTopic].every((name) => {
      const views = [0, 1, 2].map((seenBy) => [0, 1, 2].map((at) => cluster.ownerOf(name, at, seenBy)));
      return new Set(views[0]).size === 3 && views.every((view) => view.join() === views[0]?.join());
    }),
  );
  await cluster.pass(500);
  return cluster;
}

/** The broker that has a partition, as the one at `seenBy` sees it. */
export function ownerOf(cluster: SimulatedCluster, { topic, partition }: Place, seenBy = 0): number {
  const owner = cluster.ownerOf(topic, partition, seenBy);
  if (owner === null) throw new Error(`nobody has ${topic}/${partition}`);
  return owner;
}

/** The partition in which a transactional id or a group has its place. */
export function placeOfKey(cluster: SimulatedCluster, topic: string, key: string, seenBy = 0): Place {
  const count = cluster.at(seenBy).services.topics.byName(topic)?.partitions.length ?? 0;
  return { topic, partition: shardIndex(key, count) as Place["partition"] };
}

export const coordinatorOf = (cluster: SimulatedCluster, id: string, seenBy = 0): number =>
  ownerOf(cluster, placeOfKey(cluster, transactionsTopic, id, seenBy), seenBy);

export const groupAt = (cluster: SimulatedCluster, group: string, seenBy = 0): number =>
  ownerOf(cluster, placeOfKey(cluster, offsetsTopic, group, seenBy), seenBy);

export class ClusterProducer {
  readonly #cluster: SimulatedCluster;
  readonly #speech: Speech;
  readonly id: string;
  /** Who is asked where everything is. */
  seenBy = 0;
  now: Producer | null = null;
  readonly #links = new Map<number, { readonly client: SimClient; readonly wire: WireProducer }>();

  constructor(cluster: SimulatedCluster, speech: Speech, id: string) {
    this.#cluster = cluster;
    this.#speech = speech;
    this.id = id;
  }

  /** At one broker, over a connection that stays. */
  at(place: number): WireProducer {
    let link = this.#links.get(place);
    if (link === undefined || link.client.closed) {
      const client = SimClient.connect(this.#cluster.network, firstPort + place, "test");
      if (client === null) throw new Error(`nobody listens at place ${place}`);
      link = { client, wire: new WireProducer(client, this.#speech, this.id) };
      this.#links.set(place, link);
    }
    if (this.now !== null) link.wire.now = this.now;
    return link.wire;
  }

  get coordinator(): number {
    return coordinatorOf(this.#cluster, this.id, this.seenBy);
  }

  async init(timeoutMs = 60_000): Promise<InitProducerIdResponse> {
    const wire = this.at(this.coordinator);
    const told = await wire.init(null, timeoutMs);
    this.now = wire.now;
    return told;
  }

  add(places: readonly Place[]): Promise<readonly ErrorCode[]> {
    return this.at(this.coordinator).add(places);
  }

  /** One record to each place, one request after another. */
  async write(places: readonly Place[], value: string, sequence = 0): Promise<readonly ErrorCode[]> {
    const codes: ErrorCode[] = [];
    for (const place of places) {
      const owner = ownerOf(this.#cluster, place, this.seenBy);
      codes.push(...(await this.at(owner).write([place], value, { sequence })));
    }
    return codes;
  }

  commitOffset(group: string, of: Place, at: number): Promise<ErrorCode> {
    return this.at(groupAt(this.#cluster, group, this.seenBy)).commitOffset(group, of, at);
  }

  async end(committed: boolean): Promise<EndTxnResponse> {
    const wire = this.at(this.coordinator);
    const told = await wire.end(committed);
    this.now = wire.now;
    return told;
  }
}

/** What a reader of committed records makes of a partition, at its owner. */
export async function committedAt(
  cluster: SimulatedCluster,
  place: Place,
  seenBy = 0,
): Promise<CommittedView> {
  const client = connect(cluster, ownerOf(cluster, place, seenBy));
  const view = await committedIn(client, place);
  client.close();
  return view;
}

/** How far a group has got, at its coordinator; −1: nothing is committed. */
export async function stableOffsetAt(
  cluster: SimulatedCluster,
  group: string,
  of: Place,
  seenBy = 0,
): Promise<number> {
  const client = connect(cluster, groupAt(cluster, group, seenBy));
  const at = await stableOffset(client, group, of);
  client.close();
  return at;
}

function connect(cluster: SimulatedCluster, place: number): SimClient {
  const client = SimClient.connect(cluster.network, firstPort + place, "test");
  if (client === null) throw new Error(`nobody listens at place ${place}`);
  return client;
}
