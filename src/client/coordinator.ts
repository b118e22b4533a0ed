/**
 * The broker that looks after a group or a transactional id, as whoever works with it reaches it: found when
 * needed, found again when it says that it is not the one. Two connections, since an answer that waits for
 * other members (JoinGroup, SyncGroup) would hold up heartbeats and commits behind it.
 */
import { sleep } from "../base/ports.ts";
import type { Api } from "../protocol/api.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { CoordinatorType, FindCoordinator } from "../protocol/messages/find-coordinator.ts";
import type { Address } from "./address.ts";
import { isRetriable } from "./assignment.ts";
import type { Cluster } from "./cluster.ts";
import type { CallOptions, Connection } from "./connection.ts";
import { BrokerRefusedError, ClosedError } from "./errors.ts";
import { Links } from "./links.ts";

export interface CoordinatorCall<Res> extends CallOptions {
  /** Begins the sentence of a failure, as "Joining group g". */
  readonly what: string;
  /** The first error that an answer has; NONE: it is an answer. */
  readonly codeOf: (answer: Res) => number;
  /** Held back until other members are there. */
  readonly waits?: boolean;
  /** Whether another attempt is made after a failure that a broker may get over; told how long to pause, in ms. */
  readonly again: (cause: Error) => number | undefined;
}

/** What it looks after. */
export interface Charge {
  readonly kind: "group" | "transaction";
  /** The group, or the transactional id. */
  readonly name: string;
}

/** Another broker looks after it, or none at the moment. */
const movedCodes: ReadonlySet<number> = new Set([
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
]);

export class Coordinator {
  readonly #cluster: Cluster;
  readonly #charge: Charge;
  readonly #quick: Links;
  readonly #waiting: Links;
  #address: Address | undefined = undefined;
  #finding: Promise<Address> | undefined = undefined;
  #isClosed = false;

  /** `links`: of somebody who never waits for members; they stay open. */
  constructor(cluster: Cluster, charge: Charge, links?: Links) {
    this.#cluster = cluster;
    this.#charge = charge;
    this.#quick = links ?? new Links(cluster.settings);
    this.#waiting = links ?? new Links(cluster.settings);
  }

  /**
   * Resolves with an answer, which may carry an error that a coordinator's own state explains. Rejects with
   * `BrokerRefusedError` for one that it may get over, and with what `Connection.call` and `Cluster.ask`
   * reject with, once `again` gives up.
   */
  async call<Req, Res>(api: Api<Req, Res>, request: Req, options: CoordinatorCall<Res>): Promise<Res> {
    const { what, codeOf, waits = false, again, ...call } = options;
    for (;;) {
      if (this.#isClosed) throw this.#closed();
      let cause: Error;
      try {
        const address = await this.#find();
        const links = waits ? this.#waiting : this.#quick;
        const connection = links.peek(address) ?? (await links.to(address));
        const answer = await connection.call(api, request, call);
        const code = codeOf(answer);
        if (!errorFacts(code).retriable) return answer;
        if (movedCodes.has(code)) this.#address = undefined;
        cause = new BrokerRefusedError(what, code);
      } catch (thrown) {
        if (!isRetriable(thrown)) throw thrown;
        this.#address = undefined;
        cause = thrown;
      }
      const pauseMs = again(cause);
      if (pauseMs === undefined) throw cause;
      await sleep(this.#cluster.settings.clock, pauseMs);
    }
  }

  /** Over which it can be asked what it knows. Rejects with what looking for it rejects with, once `again` gives up. */
  async connection(again: CoordinatorCall<unknown>["again"]): Promise<Connection> {
    for (;;) {
      if (this.#isClosed) throw this.#closed();
      try {
        return await this.#quick.to(await this.#find());
      } catch (cause) {
        if (!isRetriable(cause)) throw cause;
        this.#address = undefined;
        const pauseMs = again(cause);
        if (pauseMs === undefined) throw cause;
        await sleep(this.#cluster.settings.clock, pauseMs);
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#quick.close();
    this.#waiting.close();
  }

  /** Ends what waits for other members. */
  interrupt(): void {
    this.#waiting.close();
  }

  #find(): Promise<Address> {
    if (this.#address !== undefined) return Promise.resolve(this.#address);
    this.#finding ??= this.#ask().finally(() => {
      this.#finding = undefined;
    });
    return this.#finding;
  }

  #closed(): ClosedError {
    return new ClosedError(`The ${this.#charge.kind === "group" ? "consumer" : "producer"} was closed.`);
  }

  async #ask(): Promise<Address> {
    const { kind, name } = this.#charge;
    const request = { key: "", keyType: CoordinatorType[kind], coordinatorKeys: [name] };
    const answer = await this.#cluster.ask(FindCoordinator, request, { searchMs: 1_000 });
    const [found = answer] = answer.coordinators;
    if (found.errorCode !== ErrorCode.NONE) {
      throw new BrokerRefusedError(
        `Finding the coordinator of ${kind === "group" ? "group" : "transactional id"} ${name}`,
        found.errorCode,
        found.errorMessage,
      );
    }
    this.#address = { host: found.host, port: found.port };
    return this.#address;
  }
}
