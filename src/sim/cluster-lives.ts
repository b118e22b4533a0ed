/**
 * The brokers of a simulated cluster over all their lives: each has an address of its own and nothing else that
 * lasts. They are started, killed, stopped for a while and let go on, stopped in good order, cut off from each
 * other or from the bucket, and started again.
 */
import { type Clock, sleep } from "../base/ports.ts";
import { Broker, type BrokerBounds } from "../broker/broker.ts";
import { BrokerConfig } from "../broker/config.ts";
import type { SimBucket } from "./bucket.ts";
import { type LogEar, simEnv, simSha256 } from "./env.ts";
import type { SimNetwork } from "./network.ts";
import { SimProcess } from "./process.ts";
import type { SimRandom } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Trace } from "./trace.ts";

export interface ClusterLivesOptions {
  readonly scheduler: Scheduler;
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly bucket: SimBucket;
  readonly network: SimNetwork;
  readonly trace: Trace;
  readonly brokers: number;
  readonly settings: ReadonlyMap<string, string>;
  readonly bounds: BrokerBounds;
  readonly onLog?: LogEar;
  /** How long a broker is away after it died. */
  readonly downMs: () => number;
  /** A broker ended for a reason that no fault of the world explains. */
  readonly onViolation: (sentence: string) => void;
}

interface Machine {
  readonly port: number;
  process: SimProcess | null;
  broker: Broker | null;
}

const firstPort = 9092;
/** After a start that failed. */
const retryMs = 1_000;
/** Wall clocks of machines differ. */
const skewMsMax = 500;
/** How a broker ends that was replaced by another while it was silent. */
const replaced = new Set([
  "FencedError",
  "WalClosedError",
  "JournalClosedError",
  "ReplacedError",
  "FlushVoidError",
]);

export class ClusterLives {
  readonly #options: ClusterLivesOptions;
  readonly #machines: readonly Machine[];
  #isOver = false;
  starts = 0;
  kills = 0;
  pauses = 0;
  /** Brokers that found out by themselves that they were replaced. */
  replaced = 0;

  constructor(options: ClusterLivesOptions) {
    this.#options = options;
    this.#machines = Array.from({ length: options.brokers }, (_, at) => ({
      port: firstPort + at,
      process: null,
      broker: null,
    }));
  }

  get ports(): readonly number[] {
    return this.#machines.map(({ port }) => port);
  }
  /** Those that serve, stopped ones too. */
  get processes(): readonly SimProcess[] {
    return this.#machines.flatMap(({ process, broker }) =>
      process === null || broker === null ? [] : [process],
    );
  }
  get brokers(): readonly Broker[] {
    return this.#machines.flatMap(({ broker }) => (broker === null ? [] : [broker]));
  }

  /** Each broker lives again and again until `end`. Rejects with what no broker may do. */
  run(): Promise<unknown> {
    return Promise.all(this.#machines.map((machine) => this.#live(machine)));
  }

  async #live(machine: Machine): Promise<void> {
    while (!this.#isOver) {
      await this.#liveOnce(machine);
      await sleep(this.#options.clock, this.#options.downMs());
    }
  }

  /** Resolves when it is dead. */
  #liveOnce(machine: Machine): Promise<void> {
    const { scheduler, trace, bucket, network, settings, bounds, random } = this.#options;
    const number = ++this.starts;
    const own = random.fork(`broker-${number}`);
    const name = `broker ${number} at ${machine.port}`;
    const process = new SimProcess(name, scheduler, own.between(-skewMsMax, skewMsMax));
    machine.process = process;
    const died = new Promise<void>((resolve) => this.#deaths.set(process, resolve));
    const view = network.of(process);
    const address = { host: "127.0.0.1", port: machine.port };
    const starting = Broker.start({
      env: simEnv({ clock: process.clock, random: own, trace, onLog: this.#options.onLog }),
      storage: { kind: "objects", store: bucket.connect(process), disk: null, dialer: view },
      network: view,
      sha256: simSha256,
      config: new BrokerConfig(settings),
      bounds,
      listen: address,
      advertised: address,
      software: "simulation",
      chapterSlots: 32,
      onFailure: (cause) => this.#failed(machine, process, cause),
    });
    void starting.then(
      (broker) => {
        if (process.isDead) return;
        machine.broker = broker;
        trace.record(`${name} serves as epoch ${broker.services.epoch}`);
      },
      async (cause: unknown) => {
        trace.record(`${name} did not start: ${String(cause)}`);
        if (!process.isDead && !mayFail(cause))
          this.#options.onViolation(`${name} did not start: ${String(cause)}`);
        await sleep(this.#options.clock, retryMs);
        this.#end(machine, process);
      },
    );
    return died;
  }

  readonly #deaths = new Map<SimProcess, () => void>();

  #failed(machine: Machine, process: SimProcess, cause: Error): void {
    const { trace, onViolation } = this.#options;
    trace.record(`${process.name} ends: ${cause.name} ${cause.message}`);
    if (mayFail(cause)) this.replaced++;
    else onViolation(`${process.name} ended: ${cause.name} ${cause.message} ${String(cause.stack)}`);
    this.#end(machine, process);
  }

  #end(machine: Machine, process: SimProcess): void {
    if (machine.process !== process) return;
    process.kill();
    this.#options.network.killHost(process);
    machine.process = null;
    machine.broker = null;
    this.#deaths.get(process)?.();
    this.#deaths.delete(process);
  }

  // ── What happens to them ──

  kill(process: SimProcess): void {
    const machine = this.#machines.find((each) => each.process === process);
    if (machine === undefined) return;
    this.kills++;
    this.#options.trace.record(`${process.name} is killed`);
    this.#end(machine, process);
  }

  killAll(): void {
    for (const { process } of this.#machines) if (process !== null) this.kill(process);
  }

  pause(process: SimProcess): void {
    this.pauses++;
    this.#options.trace.record(`${process.name} is stopped`);
    process.pause();
  }

  /** In good order: its partitions are given away first. */
  async stop(process: SimProcess): Promise<void> {
    const machine = this.#machines.find((each) => each.process === process);
    const broker = machine?.broker ?? null;
    if (machine === undefined || broker === null) return;
    this.#options.trace.record(`${process.name} is asked to stop`);
    await Promise.race([broker.stop(), new Promise<void>((resolve) => this.#onEnd(process, resolve))]);
    this.#end(machine, process);
  }

  #onEnd(process: SimProcess, run: () => void): void {
    const before = this.#deaths.get(process);
    this.#deaths.set(process, () => {
      before?.();
      run();
    });
  }

  /** Nobody is started any more, and all are gone. */
  end(): void {
    this.#isOver = true;
    this.killAll();
  }
}

/** Whether this can happen to a broker because of what others, or the store, did. */
function mayFail(cause: unknown): boolean {
  for (let each = cause; each instanceof Error; each = each.cause) {
    const isFault = replaced.has(each.name) || ("retriable" in each && each.retriable === true);
    if (!isFault) return false;
  }
  return cause instanceof Error;
}
