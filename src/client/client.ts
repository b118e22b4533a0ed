/**
 * The client: one view of a cluster, and the producers, consumers and admins that work with it. Closing it
 * closes them all.
 */
import { Cluster } from "./cluster.ts";
import type { ClientOptions } from "./options.ts";
import { type ClientPorts, clientSettings } from "./settings.ts";

/** Throws `OptionError`. Connects when first needed, or with `connect`. */
export function createClient(options: ClientOptions, ports: ClientPorts): Client {
  return new Client(new Cluster(clientSettings(options, ports)));
}

export class Client implements AsyncDisposable {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /**
   * Reaches a broker now, with one attempt at each bootstrap address, so that a wrong address is known at
   * once. Rejects with `NoBrokerError` or `NotKafkaError`.
   */
  connect(): Promise<void> {
    return this.#cluster.connect();
  }

  close(): Promise<void> {
    this.#cluster.close();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
