/**
 * One request to the bucket and what its answer means: waits for its turn, signs, sends, judges, counts. It sends a
 * request a second time only where the first was certainly refused unread, for a clock or credentials that could be
 * mended; every other second try belongs to those who know what an unknown outcome means.
 */
import type { Agent } from "node:http";
import type { Clock, Logger, Meter, Random } from "../../base/ports.ts";
import { OutcomeUnknownError } from "../../store/errors.ts";
import type { Credentials, CredentialSource } from "./credentials.ts";
import { exchange, type ExchangeLimits, type HttpAnswer, NoAnswerError } from "./exchange.ts";
import { judge, type Judgement, type RequestKind } from "./judgement.ts";
import { Lanes } from "./lanes.ts";
import { addressOf, type BucketLocation, describeLocation } from "./location.ts";
import { type Outcome, S3Metrics } from "./metrics.ts";
import { Reachability } from "./reachability.ts";
import { Signer } from "./signature.ts";

export interface BucketPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly meter: Meter;
}

export interface BucketClientOptions extends BucketPorts {
  readonly location: BucketLocation;
  readonly credentials: CredentialSource;
  readonly limits?: Partial<ExchangeLimits>;
}

export interface BucketRequest {
  readonly kind: RequestKind;
  /** Without the prefix; null: the bucket. */
  readonly key: string | null;
  readonly query?: readonly (readonly [string, string])[];
  readonly headers?: { readonly [name: string]: string };
  readonly chunks?: readonly Uint8Array[];
  readonly length?: number;
  readonly answerBytesMax: number;
  readonly into?: Uint8Array | undefined;
}

/** What can be gone on with. */
export type Answered = { readonly answer: HttpAnswer } & Extract<
  Judgement,
  { readonly kind: "good" | "exists" | "absent" | "beyond" }
>;

const methods = { put: "PUT", get: "GET", list: "GET", delete: "DELETE", lifecycle: "GET" } as const;
const limitsDefault: ExchangeLimits = { connectMs: 3_000, stallMs: 10_000, totalMs: 30_000 };
/** Small puts are what acknowledgements wait for: they never wait behind segments. */
const bulkBytes = 8 * 1024 * 1024;
const mebibyte = 1024 * 1024;
const bounds = {
  put: { requests: 32, bytes: 64 * mebibyte, waiting: 4_096 },
  bulk: { requests: 4, bytes: 128 * mebibyte, waiting: 1_024 },
  get: { requests: 64, bytes: 128 * mebibyte, waiting: 4_096 },
  other: { requests: 8, bytes: Infinity, waiting: 4_096 },
} as const;
/** What reading a whole object is taken for, since its length is not known before. */
const wholeBytesGuess = 4 * mebibyte;
const socketsMax = Object.values(bounds).reduce((sum, { requests }) => sum + requests, 0);
/** Shorter than stores keep an idle connection, so that a request rarely meets one that is being closed. */
const idleSocketMs = 4_000;
/** A signature is good for 15 minutes; below this the store's clock and ours count as the same. */
const skewMsMin = 2_000;

export class BucketClient {
  readonly location: BucketLocation;
  readonly metrics: S3Metrics;
  readonly reachability: Reachability;
  /** Bytes of puts that are not confirmed; whoever puts keeps it. */
  waitingBytes = 0;
  readonly #options: BucketClientOptions;
  readonly #limits: ExchangeLimits;
  readonly #signer: Signer;
  readonly #agent: Agent;
  readonly #lanes = {
    put: new Lanes(bounds.put),
    bulk: new Lanes(bounds.bulk),
    get: new Lanes(bounds.get),
    other: new Lanes(bounds.other),
  };
  /** The store's clock less ours, from its last answer. */
  #skewMs = 0;
  /** What is added to our clock for signatures: set only when the store refused one. */
  #correctionMs = 0;

  constructor(options: BucketClientOptions) {
    const { location } = options;
    this.#options = options;
    this.location = location;
    this.#limits = { ...limitsDefault, ...options.limits };
    this.#signer = new Signer(location.region);
    const isTls = location.endpoint.protocol === "https:";
    const { Agent } = process.getBuiltinModule(isTls ? "node:https" : "node:http");
    this.#agent = new Agent({
      keepAlive: true,
      maxSockets: socketsMax,
      maxFreeSockets: socketsMax,
      scheduling: "lifo",
      timeout: idleSocketMs,
    });
    this.reachability = new Reachability(describeLocation(location), options);
    this.metrics = new S3Metrics(options.meter, options.clock, () => ({
      unreachableMs: this.reachability.unreachableMs,
      waitingBytes: this.waitingBytes,
      clockSkewMs: this.#skewMs,
      inFlight: Object.values(this.#lanes).reduce((sum, { inFlight }) => sum + inFlight, 0),
    }));
  }

  get clock(): Clock {
    return this.#options.clock;
  }

  get random(): Random {
    return this.#options.random;
  }

  /** How far the store's clock is ahead, by its last answer; to the second. */
  get skewMs(): number {
    return this.#skewMs;
  }

  /** Whether a second put of so many bytes would leave at once, to a bucket that answers. */
  hasRoom(bytes: number): boolean {
    return this.reachability.unreachableMs === 0 && this.#lanes.put.hasRoom(bytes);
  }

  /** Rejects with `OutcomeUnknownError` or with `BucketError`. */
  async ask(request: BucketRequest, signal?: AbortSignal): Promise<Answered> {
    const leave = await this.#enter(request);
    try {
      if (signal?.aborted === true) throw new OutcomeUnknownError("given up before it was sent");
      for (let mended = false; ; mended = true) {
        const found = await this.#once(request, signal, mended);
        if (found !== null) return found;
      }
    } finally {
      leave();
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Resolves when this request may leave; the function that is returned says that it is over. */
  async #enter({ kind, length = 0, answerBytesMax }: BucketRequest): Promise<() => void> {
    const { put, bulk, get, other } = this.#lanes;
    const lanes = kind === "put" ? (length > bulkBytes ? bulk : put) : kind === "get" ? get : other;
    const bytes = kind === "put" ? length : kind === "get" ? Math.min(answerBytesMax, wholeBytesGuess) : 0;
    for (;;) {
      const isProbe = await this.reachability.enter();
      const leave = await lanes.enter(bytes);
      // While it waited in line the bucket may have gone: then it waits with all others.
      if (isProbe || this.reachability.unreachableMs === 0) return leave;
      leave();
    }
  }

  /** Null: what was wrong is mended, and it may be asked again. */
  async #once(
    request: BucketRequest,
    signal: AbortSignal | undefined,
    wasMended: boolean,
  ): Promise<Answered | null> {
    const { clock, credentials } = this.#options;
    const { kind } = request;
    const who = await credentials.current();
    const key = request.key === null ? null : this.location.prefix + request.key;
    const method = methods[kind];
    const url = addressOf(this.location, key, request.query);
    const unsigned = { method, url, headers: request.headers ?? {}, chunks: request.chunks ?? [] };
    const headers = await this.#signer.sign(unsigned, who, clock.wallMs() + this.#correctionMs);
    const begunMs = clock.monotonicMs();
    let answer: HttpAnswer;
    try {
      const wire = { agent: this.#agent, clock, limits: this.#limits };
      answer = await exchange({ ...request, method, url, headers }, wire, signal);
    } catch (cause) {
      if (!(cause instanceof NoAnswerError)) throw cause;
      this.metrics.answered(kind, "unknown", clock.monotonicMs() - begunMs, 0);
      // Whoever gives up a request learns nothing of the bucket.
      if (signal?.aborted !== true) this.reachability.failed(cause.message);
      throw new OutcomeUnknownError(cause.message, { cause });
    }
    const found = judge(kind, answer, this.location);
    const bodyBytes = kind === "put" ? (request.length ?? 0) : kind === "get" ? answer.body.byteLength : 0;
    this.metrics.answered(kind, outcomeOf(found), clock.monotonicMs() - begunMs, bodyBytes);
    this.#lookAtClock(answer);
    if (found.kind === "unknown" && found.isFailing) this.reachability.failed(found.why);
    else this.reachability.succeeded();
    switch (found.kind) {
      case "unknown":
        throw new OutcomeUnknownError(`${method} ${request.key ?? ""} of ${url.host}: ${found.why}`);
      case "stop":
        throw found.error;
      case "mend":
        if (wasMended || !this.#mend(found.what, who)) throw found.otherwise;
        return null;
      default:
        return { ...found, answer };
    }
  }

  #lookAtClock({ headers }: HttpAnswer): void {
    const theirs = Date.parse(headers["date"] ?? "");
    if (Number.isNaN(theirs)) return;
    const skewMs = theirs - Math.floor(this.clock.wallMs() / 1000) * 1000;
    this.#skewMs = Math.abs(skewMs) < skewMsMin ? 0 : skewMs;
  }

  #mend(what: "clock" | "credentials", who: Credentials): boolean {
    if (what === "credentials") return this.#options.credentials.forget(who);
    if (this.#skewMs === 0) return false;
    this.#correctionMs = this.#skewMs;
    this.#options.log.warn("s3.clock-corrected", { aheadMs: this.#skewMs, by: this.location.endpoint.host });
    return true;
  }
}

function outcomeOf(found: Judgement): Outcome {
  switch (found.kind) {
    case "good":
    case "beyond":
      return "good";
    case "exists":
    case "absent":
      return found.kind;
    case "unknown":
      return found.isConflict ? "conflict" : found.isFailing ? "throttled" : "unknown";
    case "mend":
    case "stop":
      return "refused";
  }
}
