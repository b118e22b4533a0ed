/**
 * From a frame to the handler of its API and back to bytes: version, permission, quota, handler, times.
 * What cannot be answered in the protocol is thrown, and costs that connection only.
 */
import { HoldfastError, MalformedError } from "../base/errors.ts";
import { type Counter, type Histogram, type Labels, within } from "../base/ports.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { decodeRequest, decodeRequestHeader, encodeResponse, type RequestHeader } from "../protocol/frame.ts";
import { ApiVersions } from "../protocol/messages/api-versions.ts";
import { peerKeysFrom } from "../protocol/registry.ts";
import { apiVersionsResponse } from "./api/api-versions.ts";
import { alone } from "./cluster/cluster.ts";
import { type Denials, denialsOf, namesUnknown } from "./cluster/denials.ts";
import type { ConnectionFacts, RequestContext, Services } from "./context.ts";
import type { AnyHandler } from "./handle.ts";

/** A request that Kafka answers by closing the connection. The message says what was asked. */
export class RefusedRequestError extends HoldfastError {
  readonly code = "REFUSED_REQUEST";
  override readonly name = "RefusedRequestError";
}

/** The store did not answer in time, and without it nothing can be denied: the client asks again, here or elsewhere. */
export class SilentStoreError extends HoldfastError {
  readonly code = "SILENT_STORE";
  override readonly name = "SilentStoreError";
  override readonly retriable = true;
}

/** So long a request waits for the journal's tail: what stands behind it on its connection waits too. */
const tailWaitMs = 5_000;

/** Asked for every request before its handler; until there are users and quotas they allow everything. */
export interface Guards {
  /** False closes the connection. What a principal may do to which resource is for the handlers to ask. */
  authorize(context: RequestContext, handler: AnyHandler): boolean;
  /** For how many ms the client is told to hold back; 0: not at all. */
  throttle(context: RequestContext, handler: AnyHandler, requestBytes: number): number;
}

export const noGuards: Guards = { authorize: () => true, throttle: () => 0 };

/** One request on its way to its handler. */
export interface Call {
  readonly route: Route;
  readonly request: unknown;
  readonly context: RequestContext;
  /** Of the barrier, from when the request arrived. */
  readonly mark: number;
  readonly throttleTimeMs: number;
  readonly arrivedMs: number;
}

interface Route {
  readonly handler: AnyHandler;
  /** Which of its answers need proof; undefined: none, or nobody could have replaced us. */
  readonly denials: Denials<unknown, unknown> | undefined;
  readonly labels: Labels;
}

/** Seconds; from a tenth of a millisecond to a long poll. */
const secondsBounds = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30];

export class Dispatch {
  readonly #services: Services;
  readonly #guards: Guards;
  /** By API key. */
  readonly #routes: (Route | undefined)[] = [];
  /** Of brokers to each other. Their keys are far from the others, and would make a slow array of `#routes`. */
  readonly #peerRoutes = new Map<number, Route>();
  readonly #requests: Counter;
  readonly #requestBytes: Counter;
  readonly #responseBytes: Counter;
  readonly #decideSeconds: Histogram;
  readonly #answerSeconds: Histogram;

  constructor(services: Services, guards: Guards = noGuards) {
    this.#services = services;
    this.#guards = guards;
    const isAlone = services.cluster === alone;
    for (const handler of services.handlers) {
      const { key, name } = handler.api;
      const denials = isAlone ? undefined : denialsOf(handler.api);
      const route: Route = { handler, denials, labels: { api: name } };
      if (key < peerKeysFrom) this.#routes[key] = route;
      else this.#peerRoutes.set(key, route);
    }
    const { meter } = services.env;
    this.#requests = meter.counter(
      "holdfast_dispatch_requests_total",
      "Requests that reached their handler, by API.",
    );
    this.#requestBytes = meter.counter("holdfast_dispatch_request_bytes_total", "Bytes of these requests.");
    this.#responseBytes = meter.counter("holdfast_dispatch_response_bytes_total", "Bytes of their answers.");
    this.#decideSeconds = meter.histogram(
      "holdfast_dispatch_decide_seconds",
      "Stage one: from the whole request to a decision about it.",
      secondsBounds,
    );
    this.#answerSeconds = meter.histogram(
      "holdfast_dispatch_answer_seconds",
      "From the whole request to its answer; of Produce, until it was durable.",
      secondsBounds,
    );
  }

  /**
   * Reads a frame. An array: the answer, without a handler. Throws `RefusedRequestError` or
   * `MalformedError`.
   */
  begin(frame: Uint8Array, connection: ConnectionFacts): Call | Uint8Array[] {
    const header = decodeRequestHeader(frame);
    const { apiKey } = header;
    const route = apiKey < peerKeysFrom ? this.#routes[apiKey] : this.#peerRoutes.get(apiKey);
    if (route === undefined) {
      throw new RefusedRequestError(`it asks for API ${apiKey}, which is not served here`);
    }
    const { handler } = route;
    if (!handler.api.speaks(header.apiVersion)) {
      if (handler.api.key === ApiVersions.key) return this.#tellVersions(header);
      const [first, last] = handler.api.versions;
      throw new RefusedRequestError(
        `it asks for ${handler.api.name} in version ${header.apiVersion}; versions ${first} to ${last} are served`,
      );
    }
    if (handler.peersOnly === true && connection.peer === null) {
      throw new RefusedRequestError(
        `it asks for ${handler.api.name}, as brokers of this cluster do among themselves, and did not prove to be one`,
      );
    }
    const { beyond = null } = connection;
    if (beyond !== null && connection.peer === null && apiKey < peerKeysFrom) {
      throw new RefusedRequestError(beyond);
    }
    const context: RequestContext = {
      apiVersion: header.apiVersion,
      correlationId: header.correlationId,
      clientId: header.clientId,
      connection,
      services: this.#services,
    };
    if (!this.#guards.authorize(context, handler)) {
      throw new RefusedRequestError(`${handler.api.name} is not permitted to ${connection.principal}`);
    }
    const throttleTimeMs = this.#guards.throttle(context, handler, frame.byteLength);
    const request = decodeRequest(handler.api, header, frame);
    this.#requests.add(1, route.labels);
    this.#requestBytes.add(frame.byteLength, route.labels);
    const { cluster, env } = this.#services;
    const mark = route.denials === undefined ? 0 : cluster.barrier.mark();
    return { route, request, context, mark, throttleTimeMs, arrivedMs: env.clock.monotonicMs() };
  }

  /** The wait before stage one, with the request as it is decided then; undefined: there is nothing to wait for. */
  prepare({ route, request, context }: Call): Promise<unknown> | undefined {
    const { handler, denials } = route;
    const tail = denials === undefined ? undefined : this.#tailFor(denials, request, context.apiVersion);
    if (tail === undefined) return handler.prepare?.(request, context);
    return tail.then(() => handler.prepare?.(request, context) ?? request);
  }

  /** Stage one. The result, or a promise of it, goes to `answer`. */
  decide(call: Call, request: unknown): unknown {
    const { handler, denials, labels } = call.route;
    const result = handler.decide(request, call.context);
    this.#decideSeconds.observe(this.#secondsSince(call.arrivedMs), labels);
    if (denials === undefined) return result;
    const proved = (response: unknown) => this.#proved(call, denials, request, response);
    return result instanceof Promise ? result.then(proved) : proved(result);
  }

  /** The answer, at once or after the barrier when it denies something. */
  #proved(call: Call, { denies }: Denials<unknown, unknown>, request: unknown, response: unknown): unknown {
    if (response === null || denies?.(response, request) !== true) return response;
    return this.#services.cluster.barrier.pass(call.mark)?.then(() => response) ?? response;
  }

  /** A promise when the request names what is not known here: somebody else may have made it just now. */
  #tailFor(
    denials: Denials<unknown, unknown>,
    request: unknown,
    apiVersion: number,
  ): Promise<void> | undefined {
    const { cluster, topics, env } = this.#services;
    let tail: Promise<void> | undefined;
    if (denials.needsTail?.(request, apiVersion) === true) tail = cluster.barrier.readTail();
    else if (namesUnknown(denials, request, topics)) tail = cluster.barrier.readTailSparingly();
    return tail === undefined ? undefined : within(env.clock, tailWaitMs, tail, silent);
  }

  /** The bytes of an answer. */
  answer(call: Call, response: unknown): Uint8Array[] {
    const { route, context } = call;
    const told = call.throttleTimeMs > 0 ? withThrottle(response, call.throttleTimeMs) : response;
    const chunks = encodeResponse(route.handler.api, context.apiVersion, context.correlationId, told);
    this.#answerSeconds.observe(this.#secondsSince(call.arrivedMs), route.labels);
    this.#responseBytes.add(bytesOf(chunks), route.labels);
    return chunks;
  }

  #secondsSince(ms: number): number {
    return (this.#services.env.clock.monotonicMs() - ms) / 1000;
  }

  /** KIP-511: whoever asks in a version that is unknown here learns in version 0 which are known. */
  #tellVersions(header: RequestHeader): Uint8Array[] {
    const response = apiVersionsResponse(this.#services, 0, ErrorCode.UNSUPPORTED_VERSION);
    return encodeResponse(ApiVersions, 0, header.correlationId, response);
  }
}

function silent(): never {
  throw new SilentStoreError(`the store did not tell within ${tailWaitMs} ms what the journal holds`);
}

/** Every answer that can tell a throttle time has it under this name. */
function withThrottle(response: unknown, throttleTimeMs: number): unknown {
  if (typeof response !== "object" || response === null || !("throttleTimeMs" in response)) return response;
  return { ...response, throttleTimeMs };
}

export function bytesOf(chunks: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const chunk of chunks) bytes += chunk.byteLength;
  return bytes;
}

/** Whether the peer, not we, made the error. */
export function isPeerFault(error: unknown): error is HoldfastError {
  return error instanceof MalformedError || error instanceof RefusedRequestError;
}
