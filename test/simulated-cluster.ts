/** Several brokers over one simulated bucket, for tests of what they do together. */
import type { TestContext } from "node:test";
import { Broker, type BrokerBounds } from "../src/broker/broker.ts";
import { BrokerConfig } from "../src/broker/config.ts";
import type { ObjectStore } from "../src/base/ports.ts";
import { createClient, type Client } from "../src/client/client.ts";
import type { ClientOptions } from "../src/client/options.ts";
import { sha256 } from "../src/io/sha256.ts";
import type { Api } from "../src/protocol/api.ts";
import { SimBucket } from "../src/sim/bucket.ts";
import { SimClient } from "../src/sim/client.ts";
import { SimClock } from "../src/sim/clock.ts";
import { SimNetwork } from "../src/sim/network.ts";
import { SimProcess } from "../src/sim/process.ts";
import { SimRandom } from "../src/sim/random.ts";
import { Scheduler } from "../src/sim/scheduler.ts";
import { silentLogger, silentMeter } from "../src/sim/silence.ts";

/** Small, so that take-overs and flushes come often. */
const smallBounds: BrokerBounds = {
  walFileBytes: 1 << 20,
  unflushedBytesMax: 4 << 20,
  tailBytes: 1 << 20,
  cacheBytes: 1 << 20,
  flushAgeMs: 10_000,
};

const firstPort = 9092;

export interface Member {
  readonly process: SimProcess;
  readonly broker: Broker;
  /** Why it gave up; null: it did not. */
  failure: Error | null;
}

export class SimulatedCluster {
  readonly scheduler: Scheduler;
  readonly random: SimRandom;
  readonly bucket: SimBucket;
  readonly network: SimNetwork;
  readonly #settings: ReadonlyMap<string, string>;
  readonly #bounds: BrokerBounds;
  readonly #members = new Map<number, Member>();
  readonly #clients: Client[] = [];
  #lives = 0;
  /** Asked before each put of a broker: may let it wait, and what it throws the broker is told. */
  beforePut: ((place: number, key: string) => Promise<void>) | null = null;

  constructor(
    settings: { readonly [name: string]: string } = {},
    seed = 1,
    bounds: Partial<BrokerBounds> = {},
  ) {
    this.random = new SimRandom(seed);
    this.scheduler = new Scheduler(this.random);
    this.bucket = new SimBucket(this.scheduler, this.random);
    this.network = new SimNetwork(this.scheduler, this.random);
    this.#settings = new Map(Object.entries({ "holdfast.disk.reserve.bytes": "0", ...settings }));
    this.#bounds = { ...smallBounds, ...bounds };
  }

  /** Runs the world until it is done. */
  run<T>(work: Promise<T>): Promise<T> {
    return this.scheduler.runUntil(work);
  }

  /** The broker at place 0, 1, … */
  at(place: number): Broker {
    return this.memberAt(place).broker;
  }
  memberAt(place: number): Member {
    const member = this.#members.get(place);
    if (member === undefined) throw new Error(`no broker runs at place ${place}`);
    return member;
  }

  /** Whether a broker was started there, and not stopped or killed by the test. */
  has(place: number): boolean {
    return this.#members.has(place);
  }

  /** Resolves when it is a member; it may own nothing yet. */
  boot(place: number): Promise<Broker> {
    return this.run(this.bootLater(place));
  }

  /** As `boot`, where somebody else runs the world. */
  async bootLater(place: number): Promise<Broker> {
    const process = new SimProcess(`broker-${place}`, this.scheduler);
    const network = this.network.of(process);
    let member: Member | null = null;
    const starting = Broker.start({
      env: {
        clock: process.clock,
        random: this.random.fork(`life-${this.#lives++}`),
        log: silentLogger,
        meter: silentMeter,
      },
      storage: { kind: "objects", store: this.#storeOf(place, process), disk: null, dialer: network },
      network,
      sha256,
      config: new BrokerConfig(this.#settings),
      bounds: this.#bounds,
      listen: { host: "127.0.0.1", port: firstPort + place },
      advertised: null,
      software: "test",
      chapterSlots: 64,
      onFailure: (cause) => {
        if (member !== null) member.failure ??= cause;
        // As the program does: it ends.
        this.#end(process);
      },
    });
    const broker = await starting;
    member = { process, broker, failure: null };
    this.#members.set(place, member);
    return broker;
  }

  #storeOf(place: number, process: SimProcess): ObjectStore {
    const store = this.bucket.connect(process);
    return {
      ...store,
      putIfAbsent: (key, chunks, length) => {
        const held = this.beforePut?.(place, key);
        const put = () => store.putIfAbsent(key, chunks, length);
        return held === undefined ? put() : held.then(put);
      },
    };
  }

  /** Brokers 0 to count − 1, which know of each other. */
  async bootAll(count: number): Promise<void> {
    for (let place = 0; place < count; place++) await this.boot(place);
    await this.pass(1_000);
  }

  #end(process: SimProcess): void {
    process.kill();
    this.network.killHost(process);
  }

  /** As kill -9 does. */
  kill(place: number): void {
    this.#end(this.memberAt(place).process);
    this.#members.delete(place);
  }

  /** Hands over and ends. */
  async stop(place: number): Promise<void> {
    const { broker, process } = this.memberAt(place);
    await this.run(broker.stop());
    this.#end(process);
    this.#members.delete(place);
  }

  /** Time passes. */
  async pass(ms: number): Promise<void> {
    await this.run(new Promise<void>((resolve) => this.scheduler.schedule(ms, () => resolve())));
  }

  /** Until it holds. */
  async until(what: string, holds: () => boolean, withinMs = 60_000): Promise<void> {
    const endMs = this.scheduler.nowMs + withinMs;
    while (!holds()) {
      if (this.scheduler.nowMs > endMs)
        throw new Error(`after ${withinMs} ms it is still not so that ${what}`);
      await this.pass(50);
    }
  }

  /** A client that knows all brokers, by the addresses of places 0 to 2. */
  client(options: Omit<ClientOptions, "bootstrap"> = {}): Client {
    const ports = {
      clock: new SimClock(this.scheduler),
      random: this.random.fork(`client-${this.#clients.length}`),
      dialer: this.network,
      log: silentLogger,
      software: { name: "test", version: "1" },
    };
    const bootstrap = [0, 1, 2].map((place) => `127.0.0.1:${firstPort + place}`);
    const client = createClient({ bootstrap, ...options }, ports);
    this.#clients.push(client);
    return client;
  }

  async createTopic(topic: string, partitions: number): Promise<void> {
    await this.run(this.client().admin().createTopics([{ topic, partitions }]));
  }

  /** Asks one broker over a connection of its own, in the newest version unless another is named. */
  async ask<Req, Res>(
    place: number,
    api: Api<Req, Res>,
    request: Req,
    version: number = api.versions[1],
  ): Promise<Res> {
    const client = SimClient.connect(this.network, firstPort + place, "test");
    if (client === null) throw new Error(`nobody listens at place ${place}`);
    const answer = await this.run(client.call(api, version, request));
    client.close();
    return answer;
  }

  /** Who owns a partition, as the broker at this place sees it: a place, or null. */
  ownerOf(topic: string, partition: number, seenBy: number): number | null {
    const { topics, journal } = this.at(seenBy).services;
    const owner = topics.byName(topic)?.partitions[partition]?.owner;
    const broker = owner === undefined ? undefined : journal.state.brokers.get(owner);
    if (broker?.status !== "live") return null;
    return (broker.listeners[0]?.port ?? 0) - firstPort;
  }

  /** Ends everything, without ceremony. */
  close(): void {
    for (const place of Array.from(this.#members.keys())) this.kill(place);
  }
}

/** Brokers 0, 1 and 2, ended with the test. */
export async function aCluster(
  test: Pick<TestContext, "after">,
  settings: { readonly [name: string]: string } = {},
  seed = 1,
): Promise<SimulatedCluster> {
  const cluster = new SimulatedCluster(settings, seed);
  test.after(() => cluster.close());
  await cluster.bootAll(3);
  return cluster;
}
