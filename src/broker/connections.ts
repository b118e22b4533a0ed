/**
 * All clients of one listener: who is let in (`max.connections`, `max.connections.per.ip`), who is idle for
 * too long, and the end of all of them when the broker stops.
 */
import type { AssertionFailure } from "../base/assert.ts";
import type { Clock, Counter, Logger, Socket, Timer } from "../base/ports.ts";
import type { BrokerConfig } from "./config.ts";
import { Connection, type ConnectionLimits, type ConnectionOwner, type Ending } from "./connection.ts";
import type { Services } from "./context.ts";
import { Dispatch, type Guards, noGuards } from "./dispatch.ts";
import { memoryShares } from "./memory.ts";
import { RequestBudget } from "./request-budget.ts";

const listenerName = "PLAINTEXT";
/** How long answers that are in the works may take when the broker stops. */
const drainMs = 5_000;
/** Beyond the bounds on connections so many are let in that may be other brokers, and so long to prove it. */
const beyondMax = 100;
const beyondProofMs = 5_000;
/** An ill-behaved client is told of once in this time; further ones are counted. */
const complaintMs = 1_000;

export interface ConnectionsOptions {
  /** Called once for an assertion that failed in a handler: the process must stop. */
  readonly onBug: (failure: AssertionFailure) => void;
  readonly guards?: Guards;
}

export class Connections {
  readonly #config: BrokerConfig;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #owner: ConnectionOwner;
  readonly #open = new Set<Connection>();
  readonly #perAddress = new Map<string, number>();
  readonly #refused: Counter;
  readonly #services: Services;
  /** Let in beyond the bounds. */
  #beyond = 0;
  #sweep: Timer | null = null;
  #draining = false;
  #whenEmpty: (() => void) | null = null;
  #complainedMs = -Infinity;
  #unreported = 0;

  constructor(services: Services, options: ConnectionsOptions) {
    const { clock, log, meter } = services.env;
    const { config } = services;
    this.#services = services;
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
    const budget = new RequestBudget(memoryShares(config).requestBytesMax, clock);
    const limits: ConnectionLimits = {
      frameBytesMax: config.get("socket.request.max.bytes"),
      requestsMax: config.get("holdfast.connection.requests.max"),
      requestBytesMax: config.get("holdfast.connection.request.bytes.max"),
      responseBytesMax: config.get("holdfast.connection.response.bytes.max"),
    };
    this.#owner = {
      dispatch: new Dispatch(services, options.guards ?? noGuards),
      budget,
      answers: services.answers,
      limits,
      listenerName,
      nowMs: () => clock.monotonicMs(),
      onEnd: (connection, ending) => this.#onEnd(connection, ending),
      onBug: options.onBug,
    };
    meter.gauge("holdfast_connections_open_count", "Connections that are open.", () => this.#open.size);
    meter.gauge("holdfast_connections_request_bytes", "Bytes of requests in memory.", () => budget.used);
    this.#refused = meter.counter(
      "holdfast_connections_refused_total",
      "Connections closed by the broker, by why.",
    );
    this.#armSweep();
  }

  get count(): number {
    return this.#open.size;
  }

  /** Takes a connection that was just accepted, or closes it. */
  accept(socket: Socket): void {
    const address = socket.remoteAddress;
    if (this.#draining) return socket.destroy();
    const bound = this.#boundReached(address);
    if (bound !== null && !this.#mayBePeer()) return this.#refuse(socket, bound);
    this.#perAddress.set(address, (this.#perAddress.get(address) ?? 0) + 1);
    const connection = new Connection(this.#owner, socket, bound);
    this.#open.add(connection);
    connection.open();
    if (bound !== null) this.#awaitProof(connection, bound);
  }

  /** As the end of a sentence; null: there is room for one more from there. */
  #boundReached(address: string): string | null {
    const [most, mostFromAddress] = [
      this.#config.get("max.connections"),
      this.#config.get("max.connections.per.ip"),
    ];
    if (this.#open.size >= most) return `max.connections (${most}) is reached`;
    if ((this.#perAddress.get(address) ?? 0) < mostFromAddress) return null;
    return `max.connections.per.ip (${mostFromAddress}) is reached`;
  }

  /** A cluster goes on while its clients fill the bounds. */
  #mayBePeer(): boolean {
    return this.#services.cluster.peers.door !== undefined && this.#beyond < beyondMax;
  }

  #awaitProof(connection: Connection, bound: string): void {
    this.#beyond++;
    const timer = this.#clock.schedule(beyondProofMs, () => {
      if (connection.peer === null) connection.destroy({ reason: bound });
    });
    connection.onClose(() => {
      this.#beyond--;
      timer.cancel();
    });
  }

  #refuse(socket: Socket, reason: string): void {
    this.#refused.add(1, { why: "limit" });
    this.#complain(socket.remoteAddress, reason);
    socket.destroy();
  }

  #onEnd(connection: Connection, ending: Ending): void {
    this.#open.delete(connection);
    const left = (this.#perAddress.get(connection.remoteHost) ?? 1) - 1;
    if (left === 0) this.#perAddress.delete(connection.remoteHost);
    else this.#perAddress.set(connection.remoteHost, left);
    if (ending !== null && ending.cause !== undefined) {
      this.#refused.add(1, { why: "failure" });
      this.#log.error("connection.closed: a request failed", {
        remote: connection.remoteHost,
        cause: ending.cause,
      });
    } else if (ending !== null) {
      this.#refused.add(1, { why: ending.reason === connection.beyond ? "limit" : "protocol" });
      this.#complain(connection.remoteHost, ending.reason);
    }
    if (this.#open.size === 0) this.#whenEmpty?.();
  }

  #complain(remote: string, reason: string): void {
    const now = this.#clock.monotonicMs();
    if (now - this.#complainedMs < complaintMs) {
      this.#unreported++;
      return;
    }
    this.#log.warn("connection.closed", {
      remote,
      reason,
      ...(this.#unreported > 0 ? { unreported: this.#unreported } : {}),
    });
    this.#complainedMs = now;
    this.#unreported = 0;
  }

  /** Looks for idle connections, often enough that none is idle for a quarter longer than allowed. */
  #armSweep(): void {
    const idleMs = this.#config.get("connections.max.idle.ms");
    if (idleMs < 0) return;
    this.#sweep = this.#clock.schedule(Math.max(100, idleMs / 4), () => {
      const since = this.#clock.monotonicMs() - idleMs;
      for (const connection of this.#open) {
        // Who has a request in the works is waited for; who does not read its answers is not.
        if (connection.activeMs < since && !connection.working) connection.destroy(null);
      }
      this.#armSweep();
    });
  }

  /**
   * No request is begun any more; those in the works are answered, then connections close. After `graceMs`
   * the rest is cut off. Call after the listener was closed.
   */
  async drain(graceMs = drainMs): Promise<void> {
    this.#draining = true;
    this.#sweep?.cancel();
    if (this.#open.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.#clock.schedule(graceMs, () => {
        for (const connection of this.#open) connection.destroy(null);
      });
      this.#whenEmpty = () => {
        timer.cancel();
        resolve();
      };
      for (const connection of this.#open) connection.finish(null);
    });
  }
}
