/**
 * A simulated client of a cluster: each request goes to the broker that leads the partition or coordinates the
 * group or the transactional id that it names, as Metadata and FindCoordinator tell it, and to anybody when it
 * names none. An answer that sends it elsewhere, no answer in time and a connection that ends are all told as
 * `Disconnected`, and the way is asked anew: whoever knows how to live with one broker knows how to live with many.
 */
import { NO_TOPIC_ID } from "../base/ids.ts";
import type { Clock } from "../base/ports.ts";
import { type Api, type AnyApi } from "../protocol/api.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { FindCoordinator } from "../protocol/messages/find-coordinator.ts";
import { Metadata } from "../protocol/messages/metadata.ts";
import { type Caller, Disconnected, SimClient } from "./client.ts";
import { destinationOf, type Destination, shareSession } from "./cluster-routes.ts";
import type { SimNetwork } from "./network.ts";
import type { SimRandom } from "./random.ts";

/** What one client knows of the cluster; it outlives its connections. */
export class Ways {
  readonly #ports = new Map<string, Promise<number>>();

  to(name: string, find: () => Promise<number>): Promise<number> {
    const known = this.#ports.get(name);
    if (known !== undefined) return known;
    const finding = find();
    this.#ports.set(name, finding);
    finding.catch(() => this.#ports.delete(name));
    return finding;
  }

  forget(name: string): void {
    this.#ports.delete(name);
  }
}

export interface ClusterClientOptions {
  readonly network: SimNetwork;
  readonly clock: Clock;
  readonly random: SimRandom;
  /** Of all brokers, running or not. */
  readonly ports: readonly number[];
  readonly ways: Ways;
  readonly clientId: string;
  /** After so long without an answer it asks somebody else. */
  readonly timeoutMs: number;
  readonly onDeath: () => void;
}

const coordinatorTypes = { group: 0, transaction: 1, "share-partition": 2 } as const;

/** They say nothing but that somebody else is to be asked, or the same one later. */
const elsewhere: ReadonlySet<number> = new Set([
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.UNKNOWN_LEADER_EPOCH,
]);

export class ClusterClient implements Caller {
  readonly #options: ClusterClientOptions;
  readonly #connections = new Map<number, SimClient>();
  /** Whom it asks what anybody can tell. */
  #home: number;
  /** Who has its share session, and under which name it was found. */
  #sharing: { readonly name: string; readonly port: number } | null = null;
  #closed = false;

  constructor(options: ClusterClientOptions) {
    this.#options = options;
    this.#home = options.random.pick(options.ports);
  }

  get closed(): boolean {
    return this.#closed;
  }

  async call<Req, Res>(api: Api<Req, Res>, version: number, request: Req): Promise<Res> {
    const destination = destinationOf(api as AnyApi, request);
    const sharing = shareSession.has(api.key) ? this.#sharing : null;
    const name = destination === null ? (sharing?.name ?? "") : `${destination.kind} ${destination.name}`;
    try {
      const port = destination === null ? (sharing?.port ?? this.#home) : await this.#find(name, destination);
      if (shareSession.has(api.key)) this.#sharing = { name, port };
      const answer = await this.#ask(port, api, version, request);
      if (name !== "" && saysElsewhere(answer)) throw new Disconnected("another broker is to be asked");
      return answer;
    } catch (cause) {
      if (!(cause instanceof Disconnected)) throw cause;
      this.#options.ways.forget(name);
      this.#home = this.#options.random.pick(this.#options.ports);
      throw cause;
    }
  }

  close(): void {
    this.#closed = true;
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }

  #find(name: string, destination: Destination): Promise<number> {
    return this.#options.ways.to(name, () =>
      destination.kind === "partition" ? this.#findLeader(destination) : this.#findCoordinator(destination),
    );
  }

  async #findLeader({
    topicId,
    topic,
    partition,
  }: Extract<Destination, { kind: "partition" }>): Promise<number> {
    const { brokers, topics } = await this.#ask(this.#home, Metadata, 12, {
      topics: [{ topicId, name: topicId === NO_TOPIC_ID ? topic : null }],
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    });
    const found = topics[0]?.partitions.find(({ partitionIndex }) => partitionIndex === partition);
    // Of a topic that is not there anybody may say so.
    if (found === undefined) return this.#home;
    const leader = brokers.find(({ nodeId }) => nodeId === found.leaderId);
    if (leader === undefined) throw new Disconnected("nobody leads the partition");
    return leader.port;
  }

  async #findCoordinator({ kind, name }: Exclude<Destination, { kind: "partition" }>): Promise<number> {
    const answer = await this.#ask(this.#home, FindCoordinator, 6, {
      key: "",
      keyType: coordinatorTypes[kind],
      coordinatorKeys: [name],
    });
    const [found] = answer.coordinators;
    if (found?.errorCode !== ErrorCode.NONE) throw new Disconnected("nobody coordinates it");
    return found.port;
  }

  async #ask<Req, Res>(port: number, api: Api<Req, Res>, version: number, request: Req): Promise<Res> {
    const { clock, timeoutMs } = this.#options;
    const connection = this.#connect(port);
    const timer = clock.schedule(timeoutMs, () => connection.close());
    try {
      return await connection.call(api, version, request);
    } finally {
      timer.cancel();
    }
  }

  #connect(port: number): SimClient {
    if (this.#closed) throw new Disconnected("the client is closed");
    const known = this.#connections.get(port);
    if (known !== undefined && !known.closed) return known;
    const { network, clientId, onDeath } = this.#options;
    const connection = SimClient.connect(network, port, clientId, onDeath);
    if (connection === null) throw new Disconnected("nobody listens");
    this.#connections.set(port, connection);
    return connection;
  }
}

/** Whether an error code anywhere in the answer says so. */
function saysElsewhere(value: unknown): boolean {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return false;
  if (Array.isArray(value)) return value.some(saysElsewhere);
  for (const [name, part] of Object.entries(value)) {
    if (typeof part === "number") {
      if (/errorcode$/i.test(name) && elsewhere.has(part)) return true;
    } else if (saysElsewhere(part)) return true;
  }
  return false;
}
