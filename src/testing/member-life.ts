/**
 * One life of a broker of a test cluster: what a process would be, from its start to a stop or a kill, with pauses
 * in between. Clock, sockets and store reach it through its gate, so that nothing of it acts while it stands still,
 * and nothing afterwards; the broker in it is the one that `holdfast start --store` runs.
 */
import type { Env, Logger } from "../base/ports.ts";
import { Broker } from "../broker/broker.ts";
import { BrokerConfig } from "../broker/config.ts";
import { memoryShares } from "../broker/memory.ts";
import { loadNativeCrc32c } from "../io/crc32c-native.ts";
import { systemRandom } from "../io/random.ts";
import { sha256 } from "../io/sha256.ts";
import { tcp } from "../io/tcp.ts";
import { silentMeter } from "../sim/silence.ts";
import { LifeClock } from "./clock.ts";
import type { Exchanges } from "./exchanges.ts";
import type { Faults } from "./faults.ts";
import { Gate, GatedClock } from "./gate.ts";
import { GatedDialer, GatedNetwork } from "./gated-wire.ts";
import { host } from "./settings.ts";
import type { TestStore } from "./shared-store.ts";
import { Wire } from "./wire.ts";

export interface MemberOptions {
  readonly number: number;
  readonly store: TestStore;
  readonly faults: Faults;
  readonly exchanges: Exchanges;
  readonly settings: ReadonlyMap<string, string>;
  readonly suspicionMs: number;
  readonly log: Logger;
  readonly port: number;
}

export class MemberLife {
  readonly #clock = new LifeClock();
  readonly #gate = new Gate();
  readonly #wire: Wire;
  readonly #dialer: GatedDialer;
  #broker: Broker | null = null;
  /** Why the broker stopped by itself. */
  failure: Error | null = null;
  readonly #failed = Promise.withResolvers<Error>();
  #isPaused = false;

  private constructor({ faults, exchanges }: MemberOptions) {
    this.#wire = new Wire({ faults, exchanges, clock: this.#clock });
    this.#dialer = new GatedDialer(tcp, this.#gate);
  }

  /** Resolves when it is a member of the cluster. Rejects as `Broker.start` does, and nothing is left of it then. */
  static async begin(options: MemberOptions): Promise<MemberLife> {
    loadNativeCrc32c();
    const life = new MemberLife(options);
    const clock = new GatedClock(life.#clock, life.#gate);
    const env: Env = { clock, random: systemRandom(), log: options.log, meter: silentMeter };
    const { number, store, port, settings, suspicionMs } = options;
    const config = new BrokerConfig(new Map([...settings, ["node.id", String(number)]]));
    try {
      life.#broker = await Broker.start({
        env,
        storage: {
          kind: "objects",
          store: store.connect(number, life.#gate),
          disk: null,
          dialer: life.#dialer,
        },
        network: new GatedNetwork(life.#wire, life.#gate),
        sha256,
        config,
        bounds: {
          ...memoryShares(config),
          walFileBytes: config.get("holdfast.wal.file.bytes"),
          flushAgeMs: config.get("holdfast.flush.age.ms"),
          suspicionMs,
        },
        listen: { host, port },
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

  get broker(): Broker {
    return this.#broker as Broker;
  }
  /** Whether it acts: it is neither dead nor paused. */
  get isRunning(): boolean {
    return !this.#gate.hasEnded && !this.#isPaused;
  }
  get isPaused(): boolean {
    return this.#isPaused && !this.#gate.hasEnded;
  }
  /** Resolves when the broker stops by itself, with why; of a life that ends otherwise never. */
  get failed(): Promise<Error> {
    return this.#failed.promise;
  }

  pause(): void {
    this.#isPaused = true;
    this.#gate.close();
  }

  resume(): void {
    this.#isPaused = false;
    this.#gate.open();
  }

  /** As kill -9 does. */
  async kill(): Promise<void> {
    this.#clock.end();
    this.#gate.end();
    this.#dialer.cut();
    await this.#wire.cut();
  }

  /** As SIGTERM does: hands over what it owns, answers what was asked, and ends. */
  async stop(): Promise<void> {
    if (this.failure === null && this.isRunning) await this.broker.stop();
    await this.kill();
  }

  /** As `holdfast start` does: a process that cannot acknowledge any more ends at once. */
  #fail(cause: Error): void {
    if (this.failure !== null) return;
    this.failure = cause;
    void this.kill();
    this.#failed.resolve(cause);
  }
}
