/** One broker in a simulated world with a client, for tests of what it answers. */
import type { TestContext } from "node:test";
import { Broker } from "../src/broker/broker.ts";
import { BrokerConfig } from "../src/broker/config.ts";
import { sha256 } from "../src/io/sha256.ts";
import type { Api } from "../src/protocol/api.ts";
import { CreateTopics } from "../src/protocol/messages/create-topics.ts";
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
}

/** Small, so that a test is quick. */
const smallSettings = { "holdfast.wal.file.bytes": "1048576", "holdfast.disk.reserve.bytes": "0" };

export class SimulatedBroker {
  readonly #world: World;
  #broker: Broker;
  #client: SimClient;

  private constructor(world: World, broker: Broker) {
    this.#world = world;
    this.#broker = broker;
    this.#client = this.connect();
  }

  /** `settings`: as they would be on the command line. */
  static async start(settings: { readonly [name: string]: string } = {}): Promise<SimulatedBroker> {
    const random = new SimRandom(1);
    const scheduler = new Scheduler(random);
    const world: World = {
      random,
      scheduler,
      disk: new SimDisk({ scheduler, random }),
      network: new SimNetwork(scheduler, random),
      settings: new Map(Object.entries({ ...smallSettings, ...settings })),
    };
    return new SimulatedBroker(world, await startBroker(world));
  }

  get broker(): Broker {
    return this.#broker;
  }
  get scheduler(): Scheduler {
    return this.#world.scheduler;
  }
  get disk(): SimDisk {
    return this.#world.disk;
  }

  async restart(): Promise<void> {
    await this.stop();
    this.#broker = await startBroker(this.#world);
  }

  /** A further connection. */
  connect(): SimClient {
    const client = SimClient.connect(this.#world.network, this.broker.address.port, "test");
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

  async stop(): Promise<void> {
    await this.scheduler.runUntil(this.broker.stop());
  }
}

function startBroker({ random, scheduler, disk, network, settings }: World): Promise<Broker> {
  const clock = new SimClock(scheduler);
  return scheduler.runUntil(
    Broker.start({
      env: { clock, random, log: silentLogger, meter: silentMeter },
      disk,
      network,
      sha256,
      config: new BrokerConfig(settings),
      listen: { host: "127.0.0.1", port: 9092 },
      advertised: null,
      software: "test",
      onFailure: (cause) => {
        throw cause;
      },
    }),
  );
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
