/**
 * The newest requests that reached the broker, with what became of them: the part of a failure's message
 * that tells whether the program under test asked at all, and what it was told. Messages are decoded only
 * when somebody wants to read them, and kept only when they are small.
 */
import { NO_TOPIC_ID } from "../base/ids.ts";
import type { AnyApi } from "../protocol/api.ts";
import { errorFacts } from "../protocol/errors.ts";
import { decodeRequest, decodeRequestHeader, decodeResponse } from "../protocol/frame.ts";
import { apiByKey, peerKeysFrom } from "../protocol/registry.ts";

const exchangesMax = 20;
/** Longer messages are counted and not kept. */
export const keptBytesMax = 64 * 1024;
const topicsNamedMax = 5;

export interface Exchange {
  readonly begunMs: number;
  readonly connection: number;
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  /** The whole frame; null when it was long, or is not among the newest any more. */
  request: Uint8Array | null;
  readonly requestBytes: number;
  response: Uint8Array | null;
  answeredMs: number | null;
  /** The answer was lost by `dropNextResponse`. */
  dropped: boolean;
}

export class Exchanges {
  /** Oldest first. */
  #kept: Exchange[] = [];
  #connections = 0;

  /** The number of a connection that begins, from 1. */
  nextConnection(): number {
    return ++this.#connections;
  }

  /** `frame` holds at least the header, and everything when `bytes` is not above the bound. Throws `MalformedError`. */
  add(frame: Uint8Array, bytes: number, connection: number, begunMs: number): Exchange {
    const { apiKey, apiVersion, correlationId, clientId } = decodeRequestHeader(frame);
    const exchange: Exchange = {
      begunMs,
      connection,
      apiKey,
      apiVersion,
      correlationId,
      clientId,
      request: frame.byteLength === bytes ? frame : null,
      requestBytes: bytes,
      response: null,
      answeredMs: null,
      dropped: false,
    };
    // What brokers say to each other is not what a program under test asked.
    if (apiKey >= peerKeysFrom) return exchange;
    this.#kept.push(exchange);
    if (this.#kept.length > exchangesMax) (this.#kept.shift() as Exchange).request = null;
    return exchange;
  }

  /** One line for each, oldest first. `topicName` knows topics by their id. */
  describe(nowMs: number, topicName: (id: string) => string): string {
    if (this.#kept.length === 0) return "No client has asked the broker for anything.";
    const lines = this.#kept.map((exchange) => `  ${describeOne(exchange, nowMs, topicName)}`);
    return [`The last ${lines.length} requests:`, ...lines].join("\n");
  }
}

export function apiName(apiKey: number): string {
  return apiByKey(apiKey)?.name ?? `API ${apiKey}`;
}

/** `12 ms ago #3 my-app Produce v13 orders, 251 bytes: NOT_LEADER_OR_FOLLOWER after 1.5 ms`. */
function describeOne(exchange: Exchange, nowMs: number, topicName: (id: string) => string): string {
  const { begunMs, connection, clientId, apiKey, apiVersion, requestBytes, answeredMs } = exchange;
  const who = `#${connection} ${clientId ?? "(no client id)"}`;
  const topics = topicsOf(exchange, topicName);
  const what = `${apiName(apiKey)} v${apiVersion}${topics === "" ? "" : ` ${topics}`}, ${requestBytes} bytes`;
  const tookMs = answeredMs === null ? "" : ` after ${(answeredMs - begunMs).toFixed(1)} ms`;
  const outcome = exchange.dropped
    ? "answer dropped"
    : answeredMs === null
      ? "not answered"
      : codesOf(exchange);
  return `${Math.round(nowMs - begunMs)} ms ago ${who} ${what}: ${outcome}${tookMs}`;
}

function topicsOf({ apiKey, apiVersion, request }: Exchange, topicName: (id: string) => string): string {
  const found = new Set<string>();
  const message =
    request === null
      ? undefined
      : read(apiKey, apiVersion, (api) => decodeRequest(api, decodeRequestHeader(request), request));
  visit(message, (key, value) => {
    if (typeof value !== "string" || value === "") return;
    if (key === "topicId" && value !== NO_TOPIC_ID) found.add(topicName(value));
    if (key === "topic" || key === "name" || key === "topicName") found.add(value);
  });
  const named = [...found].slice(0, topicsNamedMax).join(" ");
  return found.size > topicsNamedMax ? `${named} and ${found.size - topicsNamedMax} more` : named;
}

/** The names of the error codes in an answer. */
function codesOf({ apiKey, apiVersion, response }: Exchange): string {
  if (response === null) return "answered";
  const found = new Set<string>();
  const message = read(apiKey, apiVersion, (api) => decodeResponse(api, apiVersion, response));
  visit(message, (key, value) => {
    if (key === "errorCode" && typeof value === "number" && value !== 0) found.add(errorFacts(value).name);
  });
  return found.size === 0 ? "ok" : [...found].join(" ");
}

/** Undefined when the message cannot be read: a version that is not spoken, or bytes that make no sense. */
function read(apiKey: number, apiVersion: number, decode: (api: AnyApi) => unknown): unknown {
  const api = apiByKey(apiKey);
  if (api === undefined || !api.speaks(apiVersion)) return undefined;
  try {
    return decode(api);
  } catch {
    return undefined;
  }
}

/** Every field of a decoded message, with the fields inside of it; byte strings are not looked into. */
function visit(value: unknown, see: (key: string, value: unknown) => void): void {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return;
  for (const [key, inner] of Object.entries(value)) {
    see(key, inner);
    visit(inner, see);
  }
}
