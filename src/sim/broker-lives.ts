/**
 * The broker of one world over all its lives: started, killed at any moment, started again on what the disk
 * kept. Its clock dies with each life; the disk and the network are told how it died.
 */
import { sleep } from "../base/ports.ts";
import { Broker, type BrokerBounds } from "../broker/broker.ts";
import { BrokerConfig } from "../broker/config.ts";
import { SimClock } from "./clock.ts";
import type { SimDisk } from "./disk.ts";
import { type LogEar, simEnv, simSha256 } from "./env.ts";
import type { SimNetwork } from "./network.ts";
import type { SimRandom } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Trace } from "./trace.ts";

/** "process": what was written stays visible. "power": of what was not synced, any part may be gone. */
export type Death = "process" | "power";

export interface BrokerLivesOptions {
  readonly scheduler: Scheduler;
  readonly random: SimRandom;
  readonly disk: SimDisk;
  readonly network: SimNetwork;
  readonly trace: Trace;
  readonly port: number;
  readonly settings: ReadonlyMap<string, string>;
  readonly bounds: BrokerBounds;
  readonly onLog?: LogEar;
}

interface Life {
  readonly number: number;
  readonly clock: SimClock;
  broker: Broker | null;
}

export class BrokerLives {
  readonly #options: BrokerLivesOptions;
  /** Of the story around the broker. */
  readonly #clock: SimClock;
  #life: Life | null = null;
  #onDeath: () => void = () => undefined;
  starts = 0;
  kills = 0;
  powerCuts = 0;

  constructor(options: BrokerLivesOptions) {
    this.#options = options;
    this.#clock = new SimClock(options.scheduler);
  }

  get isAlive(): boolean {
    return this.#life !== null;
  }
  /** Null while it is down, or starts. */
  get broker(): Broker | null {
    return this.#life?.broker ?? null;
  }

  /** Resolves when it serves, after as many starts as that takes. Rejects where one failed that met no fault. */
  async boot(): Promise<void> {
    const { scheduler, trace, disk, network, port, settings, bounds } = this.#options;
    for (;;) {
      const clock = new SimClock(scheduler);
      const number = ++this.starts;
      const life: Life = { number, clock, broker: null };
      this.#life = life;
      const died = this.whenDead().then(() => null);
      const random = this.#options.random.fork(`broker-${number}`);
      const faultsBefore = disk.faults;
      const starting = Broker.start({
        env: simEnv({ clock, random, trace, onLog: this.#options.onLog }),
        storage: { kind: "files", disk },
        network,
        sha256: simSha256,
        config: new BrokerConfig(settings),
        bounds,
        listen: { host: "127.0.0.1", port },
        advertised: null,
        software: "simulation",
        chapterSlots: 8,
        onFailure: (cause) => {
          trace.record(`broker ${number} gives up: ${cause.message}`);
          this.kill("process");
        },
      }).catch((cause: unknown) => {
        trace.record(`broker ${number} did not start: ${String(cause)}`);
        // A start that met a disk fault exits; the next one tries again. Whatever else the disk kept, it must do.
        if (this.#life === life && disk.faults === faultsBefore)
          throw new Error(`start ${number} of the broker failed, and met no fault`, { cause });
        return null;
      });
      const broker = await Promise.race([starting, died]);
      if (broker !== null && this.#life === life) {
        life.broker = broker;
        trace.record(`broker ${number} serves, ${broker.recovery.entries} entries recovered`);
        return;
      }
      this.kill("process");
      await sleep(this.#clock, 5);
    }
  }

  /** Of this life, or of the next when there is none. Only the last who asked is told. */
  whenDead(): Promise<void> {
    return new Promise((resolve) => {
      this.#onDeath = resolve;
    });
  }

  kill(how: Death): void {
    if (this.#life === null) return;
    const { network, disk, trace, port } = this.#options;
    this.#life.clock.stop();
    this.#life = null;
    network.kill(port);
    if (how === "process") {
      this.kills++;
      disk.kill();
    } else {
      this.powerCuts++;
      const random = this.#options.random.fork(`cut-${this.powerCuts}`);
      const share = random.pick([0, 0.5, 1]);
      disk.crash(() => random.fraction() < share);
    }
    trace.record(`${how} ends`);
    this.#onDeath();
  }

  async stop(): Promise<void> {
    await this.#life?.broker?.stop();
  }
}
