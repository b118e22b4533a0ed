/** One broker in a simulated world with a client, for tests of what it answers. */
import type { TestContext } from "node:test";
import { Broker, type BrokerBounds } from "../src/broker/broker.ts";
import { BrokerConfig } from "../src/broker/config.ts";
import type { ClientPorts } from "../src/client/settings.ts";
import { sha256 } from "../src/io/sha256.ts";
import type { Api } from "../src/protocol/api.ts";
import { NO_TOPIC_ID, partitionIndex } from "../src/base/ids.ts";
import { CreatePartitions } from "../src/protocol/messages/create-partitions.ts";
import { DeleteTopics } from "../src/protocol/messages/delete-topics.ts";
import { CreateTopics } from "../src/protocol/messages/create-topics.ts";
import { Produce } from "../src/protocol/messages/produce.ts";
import { Codec } from "../src/record/batch.ts";
import { buildBatch } from "../src/record/builder.ts";
import { SimClient } from "../src/sim/client.ts";
import { SimClock } from "../src/sim/clock.ts";
import { SimDisk } from "../src/sim/disk.ts";
import { SimNetwork } from "../src/sim/network.ts";
import { SimRandom } from "../src/sim/random.ts";
import { Scheduler } from "../src/sim/scheduler.ts";
import { silentLogger, silentMeter } from "../src/sim/silence.ts";

interface World {
  readonly random: SimRandom;
  readonly scheduler: Scheduler;
  readonly disk: SimDisk;
  readonly network: SimNetwork;
  readonly settings: ReadonlyMap<string, string>;
  readonly bounds: BrokerBounds | null;
}

/** Small, so that a test is quick. */
const smallSettings = { "holdfast.wal.file.bytes": "1048576", "holdfast.disk.reserve.bytes": "0" };

const port = 9092;

interface Life {
  readonly broker: Broker;
  /** Dies with the broker's process. */
  readonly clock: SimClock;
}

export class SimulatedBroker {
  readonly #world: World;
  #life: Life;
  #client: SimClient;
  #clients = 0;
  #isDown = false;

  private constructor(world: World, life: Life) {
    this.#world = world;
    this.#life = life;
    this.#client = this.connect();
  }

  /** `settings`: as they would be on the command line. `bounds`: null are those of the settings. */
  static async start(
    settings: { readonly [name: string]: string } = {},
    seed = 1,
    bounds: BrokerBounds | null = null,
  ): Promise<SimulatedBroker> {
    const random = new SimRandom(seed);
    const scheduler = new Scheduler(random);
    const world: World = {
      random,
      scheduler,
      disk: new SimDisk({ scheduler, random }),
      network: new SimNetwork(scheduler, random),
      settings: new Map(Object.entries({ ...smallSettings, ...settings })),
      bounds,
    };
    return new SimulatedBroker(world, await scheduler.runUntil(startBroker(world)));
  }

  get broker(): Broker {
    return this.#life.broker;
  }
  get scheduler(): Scheduler {
    return this.#world.scheduler;
  }
  get disk(): SimDisk {
    return this.#world.disk;
  }

  get network(): SimNetwork {
    return this.#world.network;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.boot();
  }

  /** The power fails: what was not synced is gone, and nobody listens until `boot`. */
  crash(): void {
    this.#life.clock.stop();
    this.#world.network.kill(port);
    this.#world.disk.crash(() => false);
    this.#isDown = true;
  }

  /** Starts the broker again on what its disk holds. */
  async boot(): Promise<void> {
    await this.scheduler.runUntil(this.bootLater());
  }

  /** As `boot`, where somebody else runs the world. */
  async bootLater(): Promise<void> {
    this.#life = await startBroker(this.#world);
    this.#isDown = false;
  }

  /** The ports of one more client in this world, whose time goes on when the broker dies. */
  clientPorts(): ClientPorts {
    const { random, scheduler, network } = this.#world;
    return {
      clock: new SimClock(scheduler),
      random: random.fork(`client-${this.#clients++}`),
      dialer: network,
      log: silentLogger,
      software: { name: "test", version: "1" },
    };
  }

  /** For `bootstrap`. */
  get address(): string {
    return `127.0.0.1:${port}`;
  }

  /** A further connection. */
  connect(): SimClient {
    const client = SimClient.connect(this.#world.network, port, "test");
    if (client === null) throw new Error("the broker does not listen");
    return client;
  }

  /** Asks over one connection, in the newest version unless another is named, and runs the world until the answer is there. */
  ask<Req, Res>(api: Api<Req, Res>, request: Req, version: number = api.versions[1]): Promise<Res> {
    if (this.#client.closed) this.#client = this.connect();
    return this.scheduler.runUntil(this.#client.call(api, version, request));
  }

  async createTopic(
    name: string,
    partitions = 1,
    configs: { readonly [name: string]: string } = {},
  ): Promise<void> {
    const { topics } = await this.ask(CreateTopics, {
      topics: [
        {
          name,
          numPartitions: partitions,
          replicationFactor: -1,
          assignments: [],
          configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
        },
      ],
      timeoutMs: 1000,
      validateOnly: false,
    });
    if (topics[0]?.errorCode !== 0) throw new Error(`${name}: ${topics[0]?.errorMessage}`);
  }

  async deleteTopic(name: string): Promise<void> {
    const topics = [{ name, topicId: NO_TOPIC_ID }];
    const answer = await this.ask(DeleteTopics, { topics, topicNames: [], timeoutMs: 1000 });
    if (answer.responses[0]?.errorCode !== 0) throw new Error(`${name} is not deleted`);
  }

  /** `count`: how many there shall be. */
  async addPartitions(name: string, count: number): Promise<void> {
    const topics = [{ name, count, assignments: null }];
    const answer = await this.ask(CreatePartitions, { topics, timeoutMs: 1000, validateOnly: false });
    if (answer.results[0]?.errorCode !== 0) throw new Error(`${name} gets no partitions`);
  }

  /** One batch, its records a second apart, every one with a header; returns the first offset. */
  async write(
    topic: string,
    values: readonly string[],
    options: {
      readonly partition?: number;
      readonly codec?: Codec;
      readonly beginMs?: number;
      readonly key?: string;
    } = {},
  ): Promise<number> {
    const { partition = 0, codec = Codec.none, beginMs = 1_700_000_000_000, key } = options;
    const batch = buildBatch(
      values.map((value, index) => ({
        key: key === undefined ? null : Buffer.from(key),
        value: Buffer.from(value),
        timestamp: beginMs + index * 1000,
        headers: [{ key: "h", value: Buffer.from(value) }],
      })),
      { codec },
    );
    const partitionData = [{ index: partitionIndex(partition), records: [batch] }];
    const request = {
      transactionalId: null,
      acks: -1,
      timeoutMs: 1000,
      topicData: [{ name: topic, topicId: NO_TOPIC_ID, partitionData }],
    };
    const { responses } = await this.ask(Produce, request, 12);
    const result = responses[0]?.partitionResponses[0];
    if (result?.errorCode !== 0) throw new Error(`${topic}/${partition}: ${result?.errorCode}`);
    return result.baseOffset;
  }

  async stop(): Promise<void> {
    if (!this.#isDown) await this.scheduler.runUntil(this.broker.stop());
  }
}

async function startBroker({ random, scheduler, disk, network, settings, bounds }: World): Promise<Life> {
  const clock = new SimClock(scheduler);
  const broker = await Broker.start({
    env: { clock, random, log: silentLogger, meter: silentMeter },
    storage: { kind: "files", disk },
    network,
    sha256,
    config: new BrokerConfig(settings),
    listen: { host: "127.0.0.1", port },
    advertised: null,
    software: "test",
    ...(bounds === null ? {} : { bounds }),
    onFailure: (cause) => {
      throw cause;
    },
  });
  return { broker, clock };
}

/** A broker that is stopped when the test ends. */
export async function aBroker(
  test: Pick<TestContext, "after">,
  settings: { readonly [name: string]: string } = {},
): Promise<SimulatedBroker> {
  const broker = await SimulatedBroker.start(settings);
  test.after(() => broker.stop());
  return broker;
}
