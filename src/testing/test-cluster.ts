/**
 * A cluster for tests: several real brokers on real sockets, in the test's own process, over one store. Each can be
 * killed, paused and brought back, and the store can go wrong, when the test says so. What it promises is what a
 * cluster promises: a record that was acknowledged by any broker is there, whoever dies. It prints nothing, and
 * leaves nothing behind.
 */
import { AssertionFailure } from "../base/assert.ts";
import { RefusedError } from "../base/errors.ts";
import { partitionIndex } from "../base/ids.ts";
import type { Logger } from "../base/ports.ts";
import type { Services } from "../broker/context.ts";
import type { Partition } from "../log/partition.ts";
import { silentLogger } from "../sim/silence.ts";
import { SimRandom } from "../sim/random.ts";
import { monotonicMs, sleepMs } from "./clock.ts";
import { Exchanges } from "./exchanges.ts";
import { Faults } from "./faults.ts";
import { MemberLife } from "./member-life.ts";
import { isPortTaken, portToTry } from "./port.ts";
import { recordsOfPartition, type TestRecord } from "./records.ts";
import { host, testSettings } from "./settings.ts";
import { type SharedStore, TestStore } from "./shared-store.ts";
import { WaitTimeoutError, type WaitOptions } from "./test-broker.ts";
import { createTopic, type TopicOptions, type TopicToMake } from "./topic-creation.ts";

export interface TestClusterOptions {
  /** How many. Default 3. */
  readonly brokers?: number;
  /** "memory" (default), "temporary" (a directory that is removed at the end), or a directory that stays. */
  readonly store?: string;
  /** As `holdfast start --set` takes them, for every broker. */
  readonly settings?: { readonly [key: string]: string };
  /** Topics to make: names, or names with what `createTopic` takes. */
  readonly topics?: readonly TopicToMake[];
  /**
   * How long a broker may be silent before the others take its partitions over. Default 500, so that tests
   * are quick; `holdfast start` waits 3,000.
   */
  readonly suspicionMs?: number;
  /** Default: nothing is logged. `console` will do. */
  readonly logger?: Logger;
}

/** A broker of the cluster; its number is its node id. */
export interface TestMember {
  readonly number: number;
  readonly port: number;
  /** For the list of brokers of any Kafka client. */
  readonly address: string;
  /** What its clients are to see go wrong. */
  readonly faults: Faults;
  readonly state: "running" | "paused" | "down";
}

const brokersMax = 20;
const suspicionMsDefault = 500;
const portsToTryMax = 50;
const waitMs = 5_000;
/** Until every partition must have an owner that serves it. */
const servingMs = 30_000;
const pollMs = 5;

/** Resolves when clients are served by all brokers. Rejects with `RefusedError`, a sentence that says what to do. */
export async function startCluster(options: TestClusterOptions = {}): Promise<TestCluster> {
  const { brokers = 3, store = "memory", topics = [] } = options;
  if (!Number.isInteger(brokers) || brokers < 1 || brokers > brokersMax) {
    throw new RefusedError(`A test cluster has 1 to ${brokersMax} brokers, not ${brokers}.`);
  }
  const cluster = new TestCluster(await TestStore.open(store), brokers, options);
  try {
    await cluster.begin();
    for (const topic of topics) {
      if (typeof topic === "string") await cluster.createTopic(topic);
      else await cluster.createTopic(topic.name, topic);
    }
    return cluster;
  } catch (cause) {
    await cluster.close();
    throw cause;
  }
}

/** One place in the cluster: what outlives the lives of its broker. */
class Place implements TestMember {
  readonly number: number;
  readonly faults: Faults;
  port = 0;
  life: MemberLife | null = null;

  constructor(number: number) {
    this.number = number;
    this.faults = new Faults(new SimRandom(number).fork("faults"));
  }

  get address(): string {
    return `${host}:${this.port}`;
  }
  get state(): TestMember["state"] {
    if (this.life?.isPaused === true) return "paused";
    return this.life?.isRunning === true ? "running" : "down";
  }
}

export class TestCluster implements AsyncDisposable {
  /** What the brokers share: its objects, and its faults. */
  readonly store: SharedStore;
  readonly #store: TestStore;
  readonly #places: readonly Place[];
  readonly #exchanges = new Exchanges();
  readonly #settings: ReadonlyMap<string, string>;
  readonly #suspicionMs: number;
  readonly #log: Logger;
  /** A bug of ours that ended a broker. */
  #mishap: Error | null = null;
  #closed = false;
  /** What changes who runs happens one after the other. */
  #changing: Promise<unknown> = Promise.resolve();

  /** Not started; `startCluster` does both. */
  constructor(store: TestStore, brokers: number, options: TestClusterOptions) {
    this.store = store;
    this.#store = store;
    this.#places = Array.from({ length: brokers }, (_, at) => new Place(at + 1));
    this.#settings = new Map(Object.entries({ ...testSettings, ...options.settings }));
    this.#suspicionMs = options.suspicionMs ?? suspicionMsDefault;
    this.#log = options.logger ?? silentLogger;
  }

  /** Starts those that are down. */
  async begin(): Promise<void> {
    await this.#change(async () => {
      const down = this.#places.filter(({ state }) => state === "down");
      await Promise.all(down.map((place) => this.#boot(place)));
    });
    await this.whenServing();
  }

  /** Addresses of all brokers, for any Kafka client: "127.0.0.1:21001,127.0.0.1:21002,…". */
  get bootstrap(): string {
    return this.#places.map(({ address }) => address).join(",");
  }
  /** All brokers, 1 first. */
  get brokers(): readonly TestMember[] {
    return this.#places;
  }
  broker(number: number): TestMember {
    return this.#place(number);
  }

  /** As kill -9 does: connections end, and nothing is handed over. Others take its partitions over. */
  kill(number: number): Promise<void> {
    return this.#change(async () => {
      const place = this.#place(number);
      const { life } = place;
      place.life = null;
      await life?.kill();
    });
  }

  /** As SIGTERM does: hands its partitions over while clients are served, and ends. */
  stop(number: number): Promise<void> {
    return this.#change(async () => {
      const place = this.#place(number);
      const { life } = place;
      await life?.stop();
      place.life = null;
    });
  }

  /**
   * As SIGSTOP does: clock, sockets and store of the broker stand still. Its clients and the others wait for it; the
   * others take over after `suspicionMs`.
   */
  pause(number: number): void {
    this.#living(number, "pause").pause();
  }

  /** It goes on, and does not know that time has passed; if the others took over, it finds out and stops. */
  resume(number: number): void {
    this.#living(number, "resume").resume();
  }

  /** Stops the broker if it runs, and starts it with the same number and address; it owns nothing, until it is given something. */
  restart(number: number): Promise<void> {
    return this.#change(async () => {
      const place = this.#place(number);
      if (this.#closed) throw new RefusedError("This test cluster was closed; start another one.");
      const { life } = place;
      await life?.stop();
      place.life = null;
      await this.#boot(place);
    });
  }

  /** Resolves with the reason when the broker that runs now stops by itself, as a paused one does that was replaced. */
  stopped(number: number): Promise<Error> {
    const { life } = this.#place(number);
    if (life === null)
      return Promise.reject(new RefusedError(`Broker ${number} is down, so it cannot stop.`));
    return life.failed;
  }

  /** Resolves when the brokers that run know of each other, and every partition is served by one of them. */
  async whenServing(timeoutMs = servingMs): Promise<void> {
    const deadline = monotonicMs() + timeoutMs;
    while (!this.#isServing) {
      if (this.#closed) throw new RefusedError("The test cluster was closed while whenServing was waiting.");
      if (monotonicMs() >= deadline) {
        throw new WaitTimeoutError(
          `Waited ${timeoutMs} ms until every partition is served; ${this.#describe()}.`,
        );
      }
      await sleepMs(pollMs);
    }
  }

  /** Resolves when the topic can be written. Rejects with `RefusedError`: the name is taken or wrong, or a setting is. */
  async createTopic(name: string, options: TopicOptions = {}): Promise<void> {
    await createTopic(this.#newest("createTopic"), name, options);
    await this.whenServing();
  }

  /** The number of the broker that serves the partition; null: none of those that run. */
  ownerOf(topic: string, partition = 0): number | null {
    return this.#servingPartition(topic, partition)?.place.number ?? null;
  }

  /**
   * Everything in the topic that a consumer would be given now, by partition and offset, each partition from its
   * owner. A topic that does not exist has no records; a partition that nobody serves is waited for.
   */
  async records(topic: string, options: { readonly partition?: number } = {}): Promise<TestRecord[]> {
    const found: TestRecord[][] = [];
    const indexes = options.partition === undefined ? this.#indexesOf(topic) : [options.partition];
    for (const index of indexes) {
      const deadline = monotonicMs() + servingMs;
      let serving = this.#servingPartition(topic, index);
      while (serving === null) {
        if (!this.#indexesOf(topic).includes(index)) break;
        if (monotonicMs() >= deadline) {
          throw new WaitTimeoutError(`Nobody serves ${topic}-${index}; ${this.#describe()}.`);
        }
        await sleepMs(pollMs);
        serving = this.#servingPartition(topic, index);
      }
      if (serving !== null) found.push(await recordsOfPartition(topic, serving.partition));
    }
    return found.flat();
  }

  /**
   * Resolves with the topic's records when there are at least `count`; waits through kills and take-overs. Rejects
   * after `timeoutMs`, saying how many there are and what clients asked last.
   */
  async waitFor(options: WaitOptions): Promise<TestRecord[]> {
    const { topic, partition, count = 1, timeoutMs = waitMs } = options;
    const deadline = monotonicMs() + timeoutMs;
    for (;;) {
      if (this.#closed) throw new RefusedError("The test cluster was closed while waitFor was waiting.");
      if (this.#offsetsIn(topic, partition) >= count) {
        const found = await this.records(topic, partition === undefined ? {} : { partition });
        if (found.length >= count) return found;
      }
      if (monotonicMs() >= deadline) {
        const where = partition === undefined ? `"${topic}"` : `partition ${partition} of "${topic}"`;
        const there = this.#offsetsIn(topic, partition);
        throw new WaitTimeoutError(
          `Waited ${timeoutMs} ms for ${count} ${count === 1 ? "record" : "records"} in ${where}; ${there} ${there === 1 ? "is" : "are"} served; ${this.#describe()}.\n${this.describeExchanges()}`,
        );
      }
      await sleepMs(pollMs);
    }
  }

  /** The newest requests that clients sent to any broker and what became of them, one line each. */
  describeExchanges(): string {
    const names = new Map<string, string>();
    for (const services of this.#running()) {
      for (const { id, name } of services.topics.all()) names.set(id, name);
    }
    return this.#exchanges.describe(monotonicMs(), (id) => names.get(id) ?? id);
  }

  /**
   * What `await using` calls. Ends all brokers; a temporary directory goes, another one is left in good order. Rejects
   * when a bug of ours had ended a broker.
   */
  close(): Promise<void> {
    return this.#change(async () => {
      if (this.#closed) return;
      this.#closed = true;
      this.#store.faults.clear();
      for (const place of this.#places) {
        const { life } = place;
        if (life?.isPaused === true || this.#store.passing) await life?.kill();
        else await life?.stop();
        place.life = null;
      }
      this.#store.dispose();
      if (this.#mishap !== null) throw this.#mishap;
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #change<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#changing.then(change);
    this.#changing = changed.catch(() => undefined);
    return changed;
  }

  #place(number: number): Place {
    const place = this.#places[number - 1];
    if (place !== undefined) return place;
    throw new RefusedError(`There is no broker ${number}; there are 1 to ${this.#places.length}.`);
  }

  #living(number: number, what: string): MemberLife {
    const { life } = this.#place(number);
    if (life === null || life.failure !== null) {
      throw new RefusedError(
        `${what} needs a broker that lives, and broker ${number} is down; call restart(${number}) first.`,
      );
    }
    return life;
  }

  async #boot(place: Place): Promise<void> {
    for (let tries = 1; ; tries++) {
      const port = place.port === 0 ? portToTry() : place.port;
      try {
        const life = await MemberLife.begin({
          number: place.number,
          store: this.#store,
          faults: place.faults,
          exchanges: this.#exchanges,
          settings: this.#settings,
          suspicionMs: this.#suspicionMs,
          log: this.#log,
          port,
        });
        place.port = port;
        place.life = life;
        void life.failed.then((cause) => {
          if (cause instanceof AssertionFailure) this.#mishap ??= cause;
        });
        return;
      } catch (cause) {
        if (place.port !== 0 || tries === portsToTryMax || !isPortTaken(cause)) throw cause;
      }
    }
  }

  /** The rooms of the brokers that act. */
  #running(): readonly Services[] {
    return this.#places.flatMap(({ life, state }) =>
      life !== null && state === "running" ? [life.broker.services] : [],
    );
  }

  /** Of the one that has read most of the journal. */
  #newest(what: string): Services {
    const [newest] = this.#running().toSorted((a, b) => b.journal.state.nextSlot - a.journal.state.nextSlot);
    if (newest !== undefined) return newest;
    throw new RefusedError(`${what} needs a running broker, and all are down or paused.`);
  }

  get #isServing(): boolean {
    const running = this.#running();
    const [first] = running;
    if (first === undefined) return false;
    const epochs = new Set(running.map(({ epoch }) => epoch));
    const know = running.every(({ epoch, cluster }) => {
      const answering = cluster.peers.answering();
      return [...epochs].every((other) => other === epoch || answering.has(other));
    });
    if (!know) return false;
    for (const { name, partitions } of this.#newest("whenServing").journal.state.topics.values()) {
      if (!partitions.every(({ index }) => this.#servingPartition(name, index) !== null)) return false;
    }
    return true;
  }

  /** By the owner that the newest view names, so that nothing is read from somebody who was replaced. */
  #servingPartition(topic: string, index: number): { place: Place; partition: Partition } | null {
    if (this.#running().length === 0) return null;
    const { state } = this.#newest("records").journal;
    const id = state.topicIds.get(topic);
    const owner = id === undefined ? undefined : state.topics.get(id)?.partitions[index]?.owner;
    if (id === undefined || owner === undefined) return null;
    for (const place of this.#places) {
      if (place.life === null || place.state !== "running") continue;
      const { epoch, partitions } = place.life.broker.services;
      const partition = epoch === owner ? partitions.get(id, partitionIndex(index)) : undefined;
      if (partition?.isServing === true) return { place, partition };
    }
    return null;
  }

  #indexesOf(topic: string): readonly number[] {
    if (this.#running().length === 0) return [];
    const { state } = this.#newest("records").journal;
    const id = state.topicIds.get(topic);
    return (id === undefined ? [] : (state.topics.get(id)?.partitions ?? [])).map(({ index }) => index);
  }

  #offsetsIn(topic: string, partition: number | undefined): number {
    const indexes = partition === undefined ? this.#indexesOf(topic) : [partition];
    let offsets = 0;
    for (const index of indexes) {
      const found = this.#servingPartition(topic, index)?.partition;
      if (found !== undefined) offsets += found.lastStable - found.logStart;
    }
    return offsets;
  }

  #describe(): string {
    const brokers = this.#places.map(({ number, state, life }) => {
      const why = life?.failure ?? null;
      return `broker ${number} is ${state}${why === null ? "" : ` (${why.message})`}`;
    });
    return brokers.join(", ");
  }
}
