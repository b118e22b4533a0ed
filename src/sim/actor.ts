/** What every simulated client has: a clock and luck of its own, a way to the broker, and a place to tell what it saw. */
import type { Operation } from "../audit/operation.ts";
import type { OperationKind } from "../audit/words.ts";
import { type Clock, sleep } from "../base/ports.ts";
import { type Caller, Disconnected, SimClient } from "./client.ts";
import type { History } from "./history.ts";
import type { SimNetwork } from "./network.ts";
import type { Pace } from "./pace.ts";
import type { SimRandom } from "./random.ts";
import type { Trace } from "./trace.ts";

export interface ActorOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly network: SimNetwork;
  readonly port: number;
  /** Default: a connection to `port`. */
  readonly connect?: (clientId: string, onDeath: () => void) => Caller;
  readonly history: History;
  readonly trace: Trace;
  readonly pace: Pace;
  /** One that was replaced, and does not know it yet, may still answer: what it says of ends is old. Their clocks differ. */
  readonly hasSeveralBrokers?: boolean;
  /** Key of the API of which a request would be welcome now, as a fault waits for one; null: of none. */
  readonly wanted?: () => number | null;
}

export class Actor {
  readonly clock: Clock;
  readonly random: SimRandom;
  readonly history: History;
  readonly pace: Pace;
  readonly #options: ActorOptions;
  #isDead = false;

  constructor(options: ActorOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.random = options.random;
    this.history = options.history;
    this.pace = options.pace;
  }

  /** Rejects with `Disconnected` when nobody listens. */
  connect(clientId: string): Promise<Caller> {
    const { network, port, connect } = this.#options;
    const onDeath = (): void => {
      this.#isDead = true;
    };
    if (connect !== undefined) return Promise.resolve(connect(clientId, onDeath));
    const client = SimClient.connect(network, port, clientId, onDeath);
    return client === null ? Promise.reject(new Disconnected("nobody listens")) : Promise.resolve(client);
  }

  /** After trouble: up to `maxMs` in a hasty world. */
  pause(maxMs: number): Promise<void> {
    return this.wait(maxMs * this.pace.pauseFactor);
  }
  /** Between work: up to `maxMs` in a hasty world. */
  rest(maxMs: number): Promise<void> {
    return this.wait(maxMs * this.pace.restFactor);
  }
  /** Up to `maxMs` in every world. */
  wait(maxMs: number): Promise<void> {
    return sleep(this.clock, this.random.fraction() * maxMs);
  }

  /** From `ms` on, up to twice as long. */
  settle(ms: number): Promise<void> {
    return sleep(this.clock, (1 + this.random.fraction()) * ms);
  }

  /** Whether its process died since it was asked last: whoever goes on must know nothing of what was before. */
  hasDied(): boolean {
    const isDead = this.#isDead;
    this.#isDead = false;
    return isDead;
  }

  get hasSeveralBrokers(): boolean {
    return this.#options.hasSeveralBrokers === true;
  }

  isWanted(api: { readonly key: number }): boolean {
    return this.#options.wanted?.() === api.key;
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
