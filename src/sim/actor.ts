/** What every simulated client has: a clock and luck of its own, a way to the broker, and a place to tell what it saw. */
import type { Operation } from "../audit/operation.ts";
import type { OperationKind } from "../audit/words.ts";
import { type Clock, sleep } from "../base/ports.ts";
import { Disconnected, SimClient } from "./client.ts";
import type { History } from "./history.ts";
import type { SimNetwork } from "./network.ts";
import type { SimRandom } from "./random.ts";
import type { Trace } from "./trace.ts";

export interface ActorOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly network: SimNetwork;
  readonly port: number;
  readonly history: History;
  readonly trace: Trace;
}

export class Actor {
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly history: History;
  readonly #options: ActorOptions;

  constructor(options: ActorOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.random = options.random;
    this.history = options.history;
  }

  /** Rejects with `Disconnected` when nobody listens. */
  connect(clientId: string): Promise<SimClient> {
    const client = SimClient.connect(this.#options.network, this.#options.port, clientId);
    return client === null ? Promise.reject(new Disconnected("nobody listens")) : Promise.resolve(client);
  }

  /** Up to `maxMs`. */
  pause(maxMs: number): Promise<void> {
    return sleep(this.clock, this.random.fraction() * maxMs);
  }

  /** An operation, for the checker; `part`: of what in this actor goes its own way. */
  begin(kind: OperationKind, part = ""): Operation {
    return this.history.audit.client(`${this.#options.name}${part}`).begin(kind, this.nowMs);
  }

  /** As operations tell it: in ms of the world, to the microsecond. */
  get nowMs(): number {
    return Math.round(this.clock.monotonicMs() * 1_000) / 1_000;
  }

  record(line: string): void {
    this.#options.trace.record(`${this.clock.monotonicMs().toFixed(3)} ${line}`);
  }
}
