/**
 * What a handler of one API is. The order contract of the whole broker, stated here and nowhere
 * contradicted: **stage one is synchronous and decides order; stage two waits for durability.** A
 * connection enters `decide` in the order in which its requests arrived; whatever `decide` does before it
 * returns happens in one piece. The promise that it returns is stage two, and may settle in any order;
 * answers leave in the order of their requests.
 */
import type { Api } from "../protocol/api.ts";
import type { RequestContext } from "./context.ts";

export interface Stages<Req, Res> {
  /**
   * A bounded wait before stage one: for room in memory, for a batch to be compressed anew. Later
   * requests of the connection wait behind it. Undefined: there is nothing to wait for.
   */
  readonly prepare?: (request: Req, context: RequestContext) => Promise<Req> | undefined;
  /** Null: no answer is sent (Produce with acks 0). */
  readonly decide: (request: Req, context: RequestContext) => Res | null | Promise<Res | null>;
}

export interface Handler<Req, Res> extends Stages<Req, Res> {
  readonly api: Api<Req, Res>;
  /** Only a broker of this cluster that proved to be one may ask; anybody else loses the connection. */
  readonly peersOnly?: true;
}

/** A handler whose messages are not known here. */
export type AnyHandler = Handler<unknown, unknown>;

export function handle<Req, Res>(api: Api<Req, Res>, stages: Stages<Req, Res>): AnyHandler {
  return { api, ...stages } as Handler<Req, Res> as AnyHandler;
}

/** For what only brokers of the cluster ask each other. */
export function handleForPeers<Req, Res>(api: Api<Req, Res>, stages: Stages<Req, Res>): AnyHandler {
  return { ...handle(api, stages), peersOnly: true };
}
