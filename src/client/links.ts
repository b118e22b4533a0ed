/**
 * The connections that one user (a producer, a consumer, the cluster's own questions) holds to brokers: at
 * most one per address, opened when asked for, with a pause after each failure that doubles up to its
 * bound. Users do not share: an answer that waits at the broker would hold up those behind it.
 */
import { sleep } from "../base/ports.ts";
import { UnreachableError } from "../base/errors.ts";
import { type Address, formatAddress } from "./address.ts";
import { Connection } from "./connection.ts";
import { ClosedError, NoBrokerError } from "./errors.ts";
import { backoffAfter, type ClientSettings } from "./settings.ts";

interface Link {
  connection: Connection | null;
  opening: Promise<Connection> | null;
  /** In a row. */
  failures: number;
  /** Not to be tried before; on the monotonic clock. */
  retryAtMs: number;
}

export class Links {
  readonly #settings: ClientSettings;
  readonly #links = new Map<string, Link>();
  #closed = false;

  constructor(settings: ClientSettings) {
    this.#settings = settings;
  }

  /** The connection to that address if it is open. */
  peek(address: Address): Connection | null {
    const connection = this.#links.get(formatAddress(address))?.connection;
    return connection !== undefined && connection !== null && connection.isOpen ? connection : null;
  }

  /** How long until an attempt may be made; 0 when it may. */
  pauseMs(address: Address): number {
    const link = this.#links.get(formatAddress(address));
    return link === undefined ? 0 : Math.max(0, link.retryAtMs - this.#settings.clock.monotonicMs());
  }

  /**
   * An open connection. One attempt is made, after the pause that earlier failures impose; everybody who
   * asks meanwhile waits for the same one. Rejects with `NoBrokerError`, `NotKafkaError`, `ClosedError`.
   * `known`: how the address was learnt, for the sentence about a failure.
   */
  to(address: Address, known: "bootstrap" | "advertised" = "advertised"): Promise<Connection> {
    const name = formatAddress(address);
    let link = this.#links.get(name);
    if (link === undefined) {
      link = { connection: null, opening: null, failures: 0, retryAtMs: 0 };
      this.#links.set(name, link);
    }
    if (link.connection?.isOpen === true) return Promise.resolve(link.connection);
    const opened = link;
    link.opening ??= this.#open(opened, address, known).finally(() => {
      opened.opening = null;
    });
    return link.opening;
  }

  /** All connections end; what waits for an answer is told so. */
  close(): void {
    this.#closed = true;
    for (const link of this.#links.values()) link.connection?.close();
    this.#links.clear();
  }

  async #open(link: Link, address: Address, known: "bootstrap" | "advertised"): Promise<Connection> {
    const { clock } = this.#settings;
    const pauseMs = link.retryAtMs - clock.monotonicMs();
    if (pauseMs > 0) await sleep(clock, pauseMs);
    this.#refuseClosed();
    try {
      const connection = await Connection.open(address, this.#settings);
      if (this.#closed) connection.close();
      this.#refuseClosed();
      link.connection = connection;
      link.failures = 0;
      connection.onClose(() => this.#postpone(link));
      return connection;
    } catch (cause) {
      this.#postpone(link);
      throw cause instanceof UnreachableError ? unreachable(address, known, cause) : cause;
    }
  }

  #refuseClosed(): void {
    if (this.#closed) throw new ClosedError("The client was closed.");
  }

  #postpone(link: Link): void {
    link.connection = null;
    link.failures++;
    link.retryAtMs = this.#settings.clock.monotonicMs() + backoffAfter(link.failures, this.#settings);
  }
}

function unreachable(
  address: Address,
  known: "bootstrap" | "advertised",
  cause: UnreachableError,
): NoBrokerError {
  const at = formatAddress(address);
  const hint =
    known === "bootstrap"
      ? "Is the broker running, and are host and port right?"
      : `This is the address that the cluster tells its clients to use (advertised.listeners); it must be reachable from here.`;
  return new NoBrokerError(`The broker at ${at} cannot be reached: ${cause.message}. ${hint}`, { cause });
}
