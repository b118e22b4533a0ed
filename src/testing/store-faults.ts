/**
 * What a test lets go wrong between brokers and their store. Armed here and asked for with each request, until
 * `clear`; what was asked when a fault was lifted goes on as if nothing had been.
 */
import { RefusedError } from "../base/errors.ts";
import { OutcomeUnknownError } from "../store/errors.ts";
import { sleepMs } from "./clock.ts";

const requests = ["get", "put", "list", "delete"] as const;
export type StoreRequest = (typeof requests)[number];

/** Which requests a fault strikes; default: all of all brokers. */
export interface StoreFaultScope {
  readonly request?: StoreRequest;
  /** The number of a broker. */
  readonly broker?: number;
}

type Rule = StoreFaultScope &
  (
    | { readonly kind: "delay"; readonly ms: number }
    | { readonly kind: "fail" | "hang" }
    | { readonly kind: "loseAnswer"; left: number }
  );

export class StoreFaults {
  #rules: Rule[] = [];
  /** Requests that hang. */
  #hanging: (() => void)[] = [];

  /** Every request takes so many ms longer from now on, before it has its effect. 0 ends it. */
  delay(ms: number, scope: StoreFaultScope = {}): void {
    if (!(ms >= 0)) throw new RefusedError(`faults.delay needs a time of 0 ms or more, not ${ms}.`);
    const { request, broker } = checked(scope);
    this.#rules = this.#rules.filter(
      (rule) => rule.kind !== "delay" || rule.request !== request || rule.broker !== broker,
    );
    if (ms > 0) this.#rules.push({ kind: "delay", ms, ...scope });
  }

  /** Every request is refused without an effect, as by a store that is overloaded (HTTP 503). */
  fail(scope: StoreFaultScope = {}): void {
    this.#rules.push({ kind: "fail", ...checked(scope) });
  }

  /** No request is answered, or has an effect, until `clear`: the network to the store is cut. */
  hang(scope: StoreFaultScope = {}): void {
    this.#rules.push({ kind: "hang", ...checked(scope) });
  }

  /** The next request has its effect and its answer is lost: the broker cannot know which. Called twice, the next two. */
  loseNextAnswer(scope: StoreFaultScope = {}): void {
    this.#rules.push({ kind: "loseAnswer", left: 1, ...checked(scope) });
  }

  /** Nothing goes wrong any more. */
  clear(): void {
    this.#rules = [];
    for (const goOn of this.#hanging.splice(0)) goOn();
  }

  /** For the store: a request of a broker, with what the faults make of it. */
  async strike<T>(request: StoreRequest, broker: number, work: () => Promise<T>): Promise<T> {
    for (const rule of this.#of(request, broker)) {
      if (rule.kind === "hang") await new Promise<void>((resolve) => this.#hanging.push(resolve));
      else if (rule.kind === "delay") await sleepMs(rule.ms);
      else if (rule.kind === "fail") throw new OutcomeUnknownError(`the test lets every ${request} fail`);
    }
    const lost = this.#of(request, broker).find((rule) => rule.kind === "loseAnswer");
    if (lost?.kind === "loseAnswer") this.#rules.splice(this.#rules.indexOf(lost), 1);
    const answer = await work();
    if (lost !== undefined) throw new OutcomeUnknownError(`the test lost the answer of a ${request}`);
    return answer;
  }

  #of(request: StoreRequest, broker: number): readonly Rule[] {
    return this.#rules.filter(
      (rule) =>
        (rule.request === undefined || rule.request === request) &&
        (rule.broker === undefined || rule.broker === broker),
    );
  }
}

function checked(scope: StoreFaultScope): StoreFaultScope {
  const { request } = scope;
  if (request === undefined || requests.includes(request)) return scope;
  throw new RefusedError(
    `There is no request ${String(request)} of a store to let go wrong; there are ${requests.join(", ")}.`,
  );
}
