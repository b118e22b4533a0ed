/**
 * One life of a test broker: what a process would be, from start to its end by a stop, a kill or a power
 * cut. The clock, the disk and the connections that it was given die with it, so that nothing of it can
 * act afterwards; the broker in it is the one that `holdfast start` runs.
 */
import type { Env, Logger } from "../base/ports.ts";
import { Broker } from "../broker/broker.ts";
import { BrokerConfig } from "../broker/config.ts";
import { loadNativeCrc32c } from "../io/crc32c-native.ts";
import { systemRandom } from "../io/random.ts";
import { sha256 } from "../io/sha256.ts";
import { silentMeter } from "../sim/silence.ts";
import { LifeClock } from "./clock.ts";
import type { Exchanges } from "./exchanges.ts";
import type { Faults } from "./faults.ts";
import type { Medium } from "./medium.ts";
import { OneLifeDisk } from "./one-life-disk.ts";
import { Wire } from "./wire.ts";

export interface LifeOptions {
  readonly medium: Medium;
  readonly faults: Faults;
  readonly exchanges: Exchanges;
  readonly settings: ReadonlyMap<string, string>;
  readonly log: Logger;
  readonly listen: { readonly host: string; readonly port: number };
}

export class Life {
  readonly #medium: Medium;
  readonly #clock: LifeClock;
  readonly #disk: OneLifeDisk;
  readonly #wire: Wire;
  #broker: Broker | null = null;
  /** Why the broker stopped by itself. */
  failure: Error | null = null;
  readonly #failed = Promise.withResolvers<Error>();
  #syncFailed = false;

  private constructor(medium: Medium, parts: { clock: LifeClock; disk: OneLifeDisk; wire: Wire }) {
    this.#medium = medium;
    this.#clock = parts.clock;
    this.#disk = parts.disk;
    this.#wire = parts.wire;
  }

  /** Resolves when clients are served. Rejects as `Broker.start` does, and nothing is left of it then. */
  static async begin(options: LifeOptions): Promise<Life> {
    loadNativeCrc32c();
    const { medium, faults, exchanges } = options;
    const clock = new LifeClock();
    const disk = new OneLifeDisk(medium.disk);
    const wire = new Wire({ faults, exchanges, clock });
    const life = new Life(medium, { clock, disk, wire });
    disk.syncFault = () => {
      const fault = faults.takeSyncFault();
      life.#syncFailed ||= fault !== null;
      return fault;
    };
    const env: Env = { clock, random: systemRandom(), log: options.log, meter: silentMeter };
    const { directory } = medium;
    try {
      life.#broker = await Broker.start({
        env,
        storage: { kind: "files", disk },
        network: wire,
        sha256,
        config: new BrokerConfig(
          directory === null ? options.settings : new Map([...options.settings, ["log.dirs", directory]]),
        ),
        listen: options.listen,
        advertised: null,
        software: "holdfast/testing",
        onFailure: (cause) => life.#fail(cause),
      });
      return life;
    } catch (cause) {
      await life.kill();
      throw cause;
    }
  }

  /** Resolves when the broker stops by itself, with why; of a life that ends otherwise never. */
  get failed(): Promise<Error> {
    return this.#failed.promise;
  }

  /** It stopped by itself, and nobody had asked for it. */
  get mishap(): Error | null {
    return this.#syncFailed ? null : this.failure;
  }

  get broker(): Broker {
    return this.#broker as Broker;
  }

  /** As `holdfast start` does: a process that cannot acknowledge any more ends at once. */
  #fail(cause: Error): void {
    this.failure = cause;
    this.#die();
    this.#failed.resolve(cause);
  }

  #die(): void {
    this.#clock.end();
    this.#disk.end();
    void this.#wire.cut();
  }

  /** The process is killed; what it has written is there. */
  async kill(): Promise<void> {
    this.#die();
    await this.#medium.afterKill(this.#disk);
  }

  /** The machine loses its power; what was not synced is lost, or some of it. */
  async cutPower(): Promise<void> {
    this.#die();
    await this.#medium.afterPowerCut(this.#disk);
  }

  /** As told by SIGTERM: answers what was asked, and closes. */
  async stop(): Promise<void> {
    if (this.failure === null) await this.broker.stop();
    await this.kill();
  }
}
