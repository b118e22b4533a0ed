/**
 * Somebody who comes now and then with one request, drawn from those that he makes, or the one for which a fault
 * lies in wait. After a doubt he stays away until what he asked has surely happened or never will.
 */
import type { Api } from "../protocol/api.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import type { Actor } from "./actor.ts";
import type { Belief, Change } from "./belief.ts";
import { Disconnected, type Caller } from "./client.ts";

/** Longer than any request that reached the broker can be under way in it. */
const settleMs = 15_000;
/** Longest time between two visits. */
const thinkMs = 30_000;

interface VisitKind {
  readonly api: { readonly key: number };
  readonly visit: (client: Caller) => Promise<void>;
}

export abstract class Visitor {
  protected readonly actor: Actor;
  readonly #kinds: VisitKind[] = [];
  #wake: () => void = () => undefined;
  /** Requests that were answered. */
  answers = 0;

  constructor(actor: Actor) {
    this.actor = actor;
  }

  /** One more kind of visit; one that was added twice is drawn twice as often. */
  protected comesFor(api: { readonly key: number }, visit: (client: Caller) => Promise<void>): void {
    this.#kinds.push({ api, visit });
  }

  /** A request of this API would be welcome now. */
  wish(apiKey: number): void {
    if (this.#kinds.some(({ api }) => api.key === apiKey)) this.#wake();
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      try {
        const client = await this.actor.connect("visitor");
        try {
          while (!isOver()) {
            await this.#think();
            const wanted = this.#kinds.filter(({ api }) => this.actor.isWanted(api));
            await this.actor.random.pick(wanted.length > 0 ? wanted : this.#kinds).visit(client);
          }
        } finally {
          client.close();
        }
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        await this.actor.settle(settleMs);
      }
    }
  }

  /** Rejects with `Disconnected`. */
  protected async ask<Req, Res>(
    client: Caller,
    api: Api<Req, Res>,
    version: number,
    request: Req,
  ): Promise<Res> {
    const answer = await client.call(api, version, request);
    this.answers++;
    return answer;
  }

  /** Asks for a change, and takes the answer into account. */
  protected async change<Req, Res, State>(
    client: Caller,
    what: {
      readonly api: Api<Req, Res>;
      readonly version: number;
      readonly request: Req;
      readonly belief: Belief<State>;
      readonly change: Change<State>;
      readonly codeOf: (answer: Res) => ErrorCode | undefined;
    },
  ): Promise<void> {
    const { api, version, request, belief, change, codeOf } = what;
    let code: ErrorCode | undefined;
    try {
      code = codeOf(await this.ask(client, api, version, request));
    } catch (cause) {
      belief.doubt(change);
      throw cause;
    }
    if (code === undefined) return this.violate(`${api.name} was answered without a result`);
    if (belief.answered(change, code)) return;
    const { name, retriable } = errorFacts(code);
    if (!retriable) {
      return this.violate(
        `${api.name} was answered with ${name}, and the state is ${JSON.stringify(belief.states)}`,
      );
    }
    belief.doubt(change);
    throw new Disconnected(`${api.name}: ${name}`);
  }

  /** Takes a look into account. */
  protected see<State>(belief: Belief<State>, looksSo: (state: State) => boolean, what: string): void {
    const before = JSON.stringify(belief.states);
    if (!belief.seen(looksSo)) this.violate(`${what}, which should be one of ${before}`);
  }

  /** True: there is an answer to look at. */
  protected isFine(code: ErrorCode | undefined, what: string): boolean {
    if (code === ErrorCode.NONE) return true;
    const { name, retriable } = errorFacts(code ?? ErrorCode.UNKNOWN_SERVER_ERROR);
    if (!retriable) this.violate(`${what} was answered with ${name}`);
    return false;
  }

  protected violate(sentence: string): void {
    this.actor.history.violations.push(sentence);
  }

  /** Until it has thought of something, or is asked to come. */
  #think(): Promise<void> {
    const { clock, random } = this.actor;
    return new Promise((resolve) => {
      const timer = clock.schedule(random.fraction() * thinkMs, resolve);
      this.#wake = () => {
        timer.cancel();
        clock.schedule(random.fraction() * 100, resolve);
        this.#wake = () => undefined;
      };
    });
  }
}
