/**
 * A broker for tests: the real one, on a real socket, in the test's own process, that loses its power and
 * comes back when it is told to. Several stand side by side. What it promises is what a broker promises: a
 * record that was acknowledged is there after every crash. It prints nothing, and leaves nothing behind.
 */
import { RefusedError } from "../base/errors.ts";
import type { Logger } from "../base/ports.ts";
import type { Services } from "../broker/context.ts";
import { silentLogger } from "../sim/silence.ts";
import { SimRandom } from "../sim/random.ts";
import { monotonicMs, sleepMs } from "./clock.ts";
import { Exchanges } from "./exchanges.ts";
import { Faults } from "./faults.ts";
import { Life } from "./life.ts";
import { inDirectory, inMemory, inTemporaryDirectory, type Medium } from "./medium.ts";
import { isPortTaken, portToTry } from "./port.ts";
import { partitionsOf, recordsOfPartition, type TestRecord } from "./records.ts";
import { host, testSettings } from "./settings.ts";
import { createTopic, type TopicOptions, type TopicToMake } from "./topic-creation.ts";

export interface TestBrokerOptions {
  /**
   * "memory" (default): a simulated disk; a crash keeps or loses each unsynced piece by itself.
   * "temporary": a directory of its own on the real disk, removed at the end; a crash loses all that was not synced.
   * Anything else is a directory that stays.
   */
  readonly data?: string;
  /** On 127.0.0.1; default: a free one, which stays the same over restarts. */
  readonly port?: number;
  /** As `holdfast start --set` takes them. */
  readonly settings?: { readonly [key: string]: string };
  /** Topics to make: names, or names with what `createTopic` takes. */
  readonly topics?: readonly TopicToMake[];
  /** Default: nothing is logged. `console` will do. */
  readonly logger?: Logger;
  /** For what a crash keeps, and what a failed sync left. Default 1. */
  readonly seed?: number;
}

export interface WaitOptions {
  readonly topic: string;
  /** Of one partition only; default: all together. */
  readonly partition?: number;
  /** So many records at least. Default 1. */
  readonly count?: number;
  /** Default 5,000. */
  readonly timeoutMs?: number;
}

/** Free ports to try; each is free with a good chance. */
const portsToTryMax = 50;
const waitMs = 5_000;
const pollMs = 5;

/** Resolves when clients are served. Rejects with `RefusedError`, a sentence that says what to do. */
export async function startBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const { data = "memory", seed = 1, topics = [] } = options;
  let medium: Medium;
  if (data === "memory") medium = inMemory(seed);
  else if (data === "temporary") medium = inTemporaryDirectory();
  else medium = await inDirectory(data);
  const broker = new TestBroker(medium, options);
  try {
    await broker.restart();
    for (const topic of topics) {
      if (typeof topic === "string") await broker.createTopic(topic);
      else await broker.createTopic(topic.name, topic);
    }
    return broker;
  } catch (cause) {
    await broker.close();
    throw cause;
  }
}

export class TestBroker implements AsyncDisposable {
  readonly faults: Faults;
  readonly #medium: Medium;
  readonly #exchanges = new Exchanges();
  readonly #settings: ReadonlyMap<string, string>;
  readonly #log: Logger;
  #port: number;
  #life: Life | null = null;
  /** Why there is no life, for people. */
  #downBecause = "it was never started";
  #closed = false;
  /** Crash, restart and close happen one after the other. */
  #changing: Promise<unknown> = Promise.resolve();

  /** Not started; `startBroker` does both. */
  constructor(medium: Medium, options: TestBrokerOptions) {
    this.#medium = medium;
    this.#settings = new Map(Object.entries({ ...testSettings, ...options.settings }));
    this.#log = options.logger ?? silentLogger;
    this.#port = options.port ?? 0;
    this.faults = new Faults(new SimRandom(options.seed ?? 1).fork("faults"));
  }

  get port(): number {
    return this.#port;
  }
  /** For the list of brokers of any Kafka client. */
  get address(): string {
    return `${host}:${this.#port}`;
  }

  /**
   * Cuts the power: connections die, nobody answers, and of what was written and not synced nothing needs
   * to be left. `restart()` brings the broker back.
   */
  crash(): Promise<void> {
    return this.#change(async () => {
      const life = this.#take("it was crashed");
      await life?.cutPower();
    });
  }

  /** Stops the broker if it runs, and starts it on the same data and port: after a crash, with recovery. */
  restart(): Promise<void> {
    return this.#change(async () => {
      if (this.#closed) throw new RefusedError("This test broker was closed; start another one.");
      const life = this.#take("its start failed");
      await life?.stop();
      this.#life = await this.#begin();
    });
  }

  /**
   * Resolves with the reason when the broker that runs now stops by itself, as after `faults.failSync()`; at
   * once when it has.
   */
  stopped(): Promise<Error> {
    if (this.#life === null) return Promise.reject(this.#isDown("stopped"));
    return this.#life.failed;
  }

  /**
   * What `await using` calls. Ends the broker; a temporary directory goes, another one is left in good order.
   * Rejects when the broker had stopped by itself and no fault of the test was the cause: a disk that
   * failed, or a bug of ours.
   */
  close(): Promise<void> {
    return this.#change(async () => {
      if (this.#closed) return;
      this.#closed = true;
      const life = this.#take("it was closed");
      try {
        if (this.#medium.passing) await life?.kill();
        else await life?.stop();
      } finally {
        this.#medium.dispose();
      }
      if (life?.mishap) throw life.mishap;
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Resolves when the topic can be written. Rejects with `RefusedError`: the name is taken or wrong, or a setting is. */
  async createTopic(name: string, options: TopicOptions = {}): Promise<void> {
    await createTopic(this.#services("createTopic"), name, options);
  }

  /**
   * Everything in the topic that a consumer would be given now, by partition and offset. A topic that does
   * not exist has no records.
   */
  async records(topic: string, options: { readonly partition?: number } = {}): Promise<TestRecord[]> {
    const partitions = partitionsOf(this.#services("records"), topic, options.partition) ?? [];
    const found: TestRecord[][] = [];
    for (const partition of partitions) found.push(await recordsOfPartition(topic, partition));
    return found.flat();
  }

  /**
   * Resolves with the topic's records when there are at least `count`; waits through crashes and restarts.
   * Rejects after `timeoutMs`, saying how many there are and what clients asked last.
   */
  async waitFor(options: WaitOptions): Promise<TestRecord[]> {
    const { topic, partition, count = 1, timeoutMs = waitMs } = options;
    const deadline = monotonicMs() + timeoutMs;
    for (;;) {
      if (this.#closed) throw new RefusedError("The test broker was closed while waitFor was waiting.");
      // Offsets first, which cost nothing; markers and removed records have offsets too.
      if (this.#offsetsIn(topic, partition) >= count) {
        const found = await this.records(topic, partition === undefined ? {} : { partition });
        if (found.length >= count) return found;
      }
      if (monotonicMs() >= deadline) throw new WaitTimeoutError(await this.#describeWait(options, timeoutMs));
      await sleepMs(pollMs);
    }
  }

  /** The newest requests that clients sent and what became of them, one line each. */
  describeExchanges(): string {
    const topics = this.#life?.broker.services.topics;
    const names = new Map(Array.from(topics?.all() ?? [], ({ id, name }) => [id as string, name]));
    return this.#exchanges.describe(monotonicMs(), (id) => names.get(id) ?? id);
  }

  #change<T>(change: () => Promise<T>): Promise<T> {
    const changed = this.#changing.then(change);
    this.#changing = changed.catch(() => undefined);
    return changed;
  }

  #take(downBecause: string): Life | null {
    const life = this.#life;
    this.#life = null;
    this.#downBecause = downBecause;
    return life;
  }

  async #begin(): Promise<Life> {
    for (let tries = 1; ; tries++) {
      const port = this.#port === 0 ? portToTry() : this.#port;
      try {
        const life = await Life.begin({
          medium: this.#medium,
          faults: this.faults,
          exchanges: this.#exchanges,
          settings: this.#settings,
          log: this.#log,
          listen: { host, port },
        });
        this.#port = port;
        return life;
      } catch (cause) {
        if (this.#port !== 0 || tries === portsToTryMax || !isPortTaken(cause)) throw cause;
      }
    }
  }

  /** The rooms of the running broker. */
  #services(what: string): Services {
    const life = this.#life;
    if (life === null) {
      throw new RefusedError(
        `${what} needs a running broker, and ${this.#downBecause}; call restart() first.`,
      );
    }
    if (life.failure !== null) {
      const sentence = `${what} needs a running broker, and this one stopped: ${life.failure.message}. Call restart() to recover what is there.`;
      throw new RefusedError(sentence, { cause: life.failure });
    }
    return life.broker.services;
  }

  #isDown(what: string): RefusedError {
    return new RefusedError(
      `${what} needs a running broker, and ${this.#downBecause}; call restart() first.`,
    );
  }

  get #isUp(): boolean {
    return this.#life !== null && this.#life.failure === null;
  }

  #offsetsIn(topic: string, partition: number | undefined): number {
    if (!this.#isUp) return 0;
    const partitions = partitionsOf(this.#services("waitFor"), topic, partition) ?? [];
    return partitions.reduce((sum, { logStart, lastStable }) => sum + (lastStable - logStart), 0);
  }

  async #describeWait({ topic, partition, count = 1 }: WaitOptions, timeoutMs: number): Promise<string> {
    const where = partition === undefined ? `"${topic}"` : `partition ${partition} of "${topic}"`;
    const wanted = `Waited ${timeoutMs} ms for ${count} ${count === 1 ? "record" : "records"} in ${where}`;
    return `${wanted}; ${await this.#describeThere(topic, partition)}.\n${this.describeExchanges()}`;
  }

  async #describeThere(topic: string, partition: number | undefined): Promise<string> {
    if (this.#life === null) return `the broker is down, because ${this.#downBecause}`;
    if (this.#life.failure !== null) return `the broker stopped: ${this.#life.failure.message}`;
    const services = this.#services("waitFor");
    if (partitionsOf(services, topic, partition) !== undefined) {
      const there = (await this.records(topic, partition === undefined ? {} : { partition })).length;
      return there === 1 ? "1 is there" : `${there} are there`;
    }
    const names = Array.from(services.topics.all(), ({ name }) => name);
    const others = names.length === 0 ? "there are no topics" : `the topics are: ${names.join(", ")}`;
    return services.topics.idOf(topic) === undefined
      ? `there is no such topic; ${others}`
      : "the topic has no such partition";
  }
}

/** `waitFor` did not find what it was to wait for. */
export class WaitTimeoutError extends Error {
  override readonly name = "WaitTimeoutError";
}
