/**
 * One socket to one broker: requests out in the order of the calls, answers matched to them in that order,
 * as many under way as the callers like. It promises that every call settles: with its answer, or with
 * `ConnectionLostError` when the connection ends or the answer's deadline passes. It never sends anything
 * twice and knows nothing of retries.
 */
import { assert } from "../base/assert.ts";
import { MalformedError } from "../base/errors.ts";
import { nodeId } from "../base/ids.ts";
import type { Socket, Timer } from "../base/ports.ts";
import type { AnyApi, Api } from "../protocol/api.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { decodeCorrelationId, decodeResponse, encodeRequest } from "../protocol/frame.ts";
import { type FrameFault, FrameReader } from "../protocol/frame-reader.ts";
import { ApiVersions, type ApiVersionsResponse } from "../protocol/messages/api-versions.ts";
import { type Address, formatAddress } from "./address.ts";
import { ConnectionLostError, NotKafkaError, VersionGapError } from "./errors.ts";
import type { ClientSettings } from "./settings.ts";

/** The version of ApiVersions that says who we are and that brokers have understood since 2019 (KIP-511). */
const greetingVersion = 3;
/**
 * For an answer that claims to be no longer, memory is taken at once: it was asked for, and to grow with what
 * arrives would copy it several times. Above what a consumer asks for by default.
 */
const trustedBytes = 8 * 1024 * 1024;

interface Waiting {
  readonly correlationId: number;
  readonly deadlineMs: number;
  readonly what: string;
  resolve(frame: Uint8Array): void;
  reject(cause: Error): void;
}

export interface CallOptions {
  /** How long the answer may take; the default is the client's `requestTimeoutMs`. */
  readonly timeoutMs?: number;
  /** The newest version to use, where what is to be said needs an older one. */
  readonly versionMax?: number;
}

export class Connection {
  readonly address: Address;
  readonly #socket: Socket;
  readonly #settings: ClientSettings;
  readonly #frames: FrameReader;
  /** In the order in which they were sent, which is the order of the answers. */
  readonly #waiting: Waiting[] = [];
  readonly #closeListeners: (() => void)[] = [];
  readonly #drainListeners: (() => void)[] = [];
  #versions: ReadonlyMap<number, readonly [number, number]> = new Map();
  #features: ReadonlyMap<string, number> = new Map();
  #nextId = 0;
  #timer: Timer | null = null;
  #timerAtMs = 0;
  #ending: Error | null = null;
  #answered = false;

  private constructor(socket: Socket, address: Address, settings: ClientSettings) {
    this.#socket = socket;
    this.address = address;
    this.#settings = settings;
    this.#frames = new FrameReader(settings.frameBytesMax, trustedBytes);
    socket.open({
      onData: (bytes) => this.#take(bytes),
      room: () => this.#frames.room,
      onEnd: () => this.#end("the broker closed the connection"),
      onDrain: () => {
        for (const listener of this.#drainListeners.splice(0)) listener();
      },
      onClose: () => this.#end("the connection was closed"),
    });
  }

  /** Connects and asks what the broker speaks. Rejects with `UnreachableError`, `NotKafkaError` or `ConnectionLostError`. */
  static async open(address: Address, settings: ClientSettings): Promise<Connection> {
    const { connectTimeoutMs, clock } = settings;
    const beginMs = clock.monotonicMs();
    const socket = await settings.dialer.dial(address, { timeoutMs: connectTimeoutMs });
    const connection = new Connection(socket, address, settings);
    const leftMs = Math.max(1, connectTimeoutMs - (clock.monotonicMs() - beginMs));
    try {
      await connection.#greet(leftMs);
    } catch (cause) {
      connection.close();
      throw cause;
    }
    return connection;
  }

  get isOpen(): boolean {
    return this.#ending === null;
  }
  /** Requests that wait for their answers. */
  get inFlight(): number {
    return this.#waiting.length;
  }

  /** Called once, at once if it is closed already. */
  onClose(listener: () => void): void {
    if (this.#ending === null) this.#closeListeners.push(listener);
    else listener();
  }

  /** Whether the broker serves the API in a version that is known here. */
  serves(api: AnyApi): boolean {
    return this.#common(api) >= 0;
  }

  /** The level of a feature that the whole cluster has (KIP-584); 0: it does not know the feature. */
  featureLevel(name: string): number {
    return this.#features.get(name) ?? 0;
  }

  /** The newest version that both sides speak. Throws `VersionGapError`. */
  versionOf<Req, Res>(api: Api<Req, Res>, versionMax?: number): number {
    const version = this.#common(api, versionMax);
    if (version >= 0) return version;
    const range = this.#versions.get(api.key);
    const offered = range === undefined ? "does not serve it" : `serves it in versions ${range.join(" to ")}`;
    throw new VersionGapError(
      `${api.name} is needed in version ${api.versions[0]} to ${versionMax ?? api.versions[1]}; the broker at ${formatAddress(this.address)} ${offered}.`,
    );
  }

  #common(api: Pick<AnyApi, "key" | "versions">, versionMax = api.versions[1]): number {
    const [first, last] = this.#versions.get(api.key) ?? [0, -1];
    const version = Math.min(last, versionMax);
    return version >= first && version >= api.versions[0] ? version : -1;
  }

  /**
   * Sends a request now and resolves with its answer, in which long byte strings are views of what arrived.
   * Rejects with `ConnectionLostError` or `VersionGapError`.
   */
  async call<Req, Res>(api: Api<Req, Res>, request: Req, options: CallOptions = {}): Promise<Res> {
    const version = this.versionOf(api, options.versionMax);
    const frame = await this.#exchange(api, version, request, options.timeoutMs);
    try {
      return decodeResponse(api, version, frame);
    } catch (cause) {
      if (!(cause instanceof MalformedError)) throw cause;
      this.#fail(this.#notKafka(`an answer to ${api.name} that cannot be read: ${cause.message}`));
      throw this.#lost(api.name, true);
    }
  }

  /** Sends a request that has no answer (Produce with acks 0); resolves when it has left this process. */
  post<Req, Res>(api: Api<Req, Res>, request: Req, options: CallOptions = {}): Promise<void> {
    const version = this.versionOf(api, options.versionMax);
    if (this.#ending !== null) return Promise.reject(this.#lost(api.name, false));
    const header = { apiVersion: version, correlationId: this.#id(), clientId: this.#settings.clientId };
    this.#socket.write(encodeRequest(api, header, request));
    return new Promise((resolve, reject) => {
      let over = false;
      this.#drainListeners.push(() => {
        over = true;
        resolve();
      });
      this.onClose(() => {
        if (!over) reject(this.#lost(api.name, true));
      });
    });
  }

  close(): void {
    this.#end("it was closed here");
  }

  #id(): number {
    this.#nextId = (this.#nextId + 1) & 0x7fff_ffff;
    return this.#nextId;
  }

  #exchange<Req, Res>(
    api: Api<Req, Res>,
    version: number,
    request: Req,
    timeoutMs = this.#settings.requestTimeoutMs,
  ): Promise<Uint8Array> {
    if (this.#ending !== null) return Promise.reject(this.#lost(api.name, false));
    const header = { apiVersion: version, correlationId: this.#id(), clientId: this.#settings.clientId };
    const chunks = encodeRequest(api, header, request);
    return new Promise((resolve, reject) => {
      const deadlineMs = this.#settings.clock.monotonicMs() + timeoutMs;
      this.#waiting.push({
        correlationId: header.correlationId,
        deadlineMs,
        what: api.name,
        resolve,
        reject,
      });
      this.#arm();
      this.#socket.write(chunks);
    });
  }

  /** One timer for all: it looks for the earliest deadline when it rings, so that a usual call costs none. */
  #arm(): void {
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const each of this.#waiting) earliestMs = Math.min(earliestMs, each.deadlineMs);
    if (this.#waiting.length === 0 || (this.#timer !== null && this.#timerAtMs <= earliestMs)) return;
    const { clock } = this.#settings;
    this.#timer?.cancel();
    this.#timerAtMs = earliestMs;
    this.#timer = clock.schedule(Math.max(1, earliestMs - clock.monotonicMs()), () => {
      this.#timer = null;
      const nowMs = clock.monotonicMs();
      const late = this.#waiting.find((each) => each.deadlineMs <= nowMs);
      // Answers come in order: behind one that does not come there is none, so the connection is of no use.
      if (late !== undefined) this.#end(`no answer to ${late.what} came in time`);
      else this.#arm();
    });
  }

  async #greet(timeoutMs: number): Promise<void> {
    const { name, version } = this.#settings.software;
    const request = {
      clientSoftwareName: name,
      clientSoftwareVersion: version,
      clusterId: null,
      nodeId: nodeId(-1),
    };
    const frame = await this.#exchange(ApiVersions, greetingVersion, request, timeoutMs).catch(
      (cause: unknown) => {
        throw this.#ending instanceof NotKafkaError ? this.#ending : this.#silent(cause as Error);
      },
    );
    let answer: ApiVersionsResponse;
    try {
      answer = decodeGreeting(frame);
    } catch (cause) {
      throw this.#notKafka(`an answer that cannot be read (${(cause as Error).message})`);
    }
    if (answer.errorCode !== ErrorCode.NONE) {
      throw new VersionGapError(
        `The broker at ${formatAddress(this.address)} is too old for this client: it does not know ApiVersions version ${greetingVersion} (Apache Kafka 2.4).`,
      );
    }
    this.#features = new Map(
      answer.finalizedFeatures.map(({ name, maxVersionLevel }) => [name, maxVersionLevel]),
    );
    this.#versions = new Map(
      answer.apiKeys.map(({ apiKey, minVersion, maxVersion }) => [apiKey, [minVersion, maxVersion]]),
    );
  }

  /** It took the connection and said nothing: a program that waits for something else, as a TLS server does. */
  #silent(cause: Error): Error {
    return new NotKafkaError(
      `Whoever listens at ${formatAddress(this.address)} does not answer as a Kafka broker does (${cause.message}). Is it another program, or does it want TLS? This client speaks plain text.`,
      { cause },
    );
  }

  #notKafka(what: string): NotKafkaError {
    return new NotKafkaError(
      `${formatAddress(this.address)} sent ${what}; it does not speak Kafka's protocol as this client does.`,
    );
  }

  #take(bytes: Uint8Array): void {
    if (this.#ending !== null) return;
    const frames: Uint8Array[] = [];
    const fault = this.#frames.push(bytes, frames);
    for (const frame of frames) {
      const first = this.#waiting.shift();
      if (first === undefined || frame.byteLength < 4 || decodeCorrelationId(frame) !== first.correlationId) {
        if (first !== undefined) this.#waiting.unshift(first);
        return this.#fail(this.#notKafka("an answer that belongs to no request"));
      }
      this.#answered = true;
      first.resolve(frame);
    }
    if (fault !== null) this.#fail(this.#describeFault(fault));
  }

  #describeFault({ claimed, start }: FrameFault): NotKafkaError {
    const text = Buffer.from(start).toString("latin1");
    if (!this.#answered && start[0] === 0x15 && start[1] === 0x03) {
      return new NotKafkaError(
        `${formatAddress(this.address)} wants TLS, and this client speaks plain text; use the broker's plain-text port.`,
      );
    }
    if (!this.#answered && /^[\x20-\x7e]{4}$/.test(text)) {
      return new NotKafkaError(
        `${formatAddress(this.address)} answers "${text}…": it is not a Kafka broker${text === "HTTP" ? " but a web server" : ""}; check host and port.`,
      );
    }
    return this.#notKafka(
      `an answer of ${claimed >>> 0} bytes, more than the ${this.#settings.frameBytesMax} allowed`,
    );
  }

  #fail(cause: NotKafkaError): void {
    this.#settings.log.warn("client.connection.failed", {
      address: formatAddress(this.address),
      cause: cause.message,
    });
    this.#finish(cause);
  }

  #end(reason: string): void {
    this.#finish(new Error(reason));
  }

  #lost(what: string, sent: boolean): ConnectionLostError {
    assert(this.#ending !== null, "what is lost was ended by something");
    return new ConnectionLostError(
      `The connection to ${formatAddress(this.address)} ended ${sent ? "before the answer to" : "before"} ${what}: ${this.#ending.message}`,
      { sent, cause: this.#ending },
    );
  }

  #finish(cause: Error): void {
    if (this.#ending !== null) return;
    this.#ending = cause;
    this.#timer?.cancel();
    this.#socket.destroy();
    for (const each of this.#waiting.splice(0)) each.reject(this.#lost(each.what, true));
    for (const listener of this.#closeListeners.splice(0)) listener();
  }
}

/** A broker that does not know the version answers in version 0, with the error in front. */
function decodeGreeting(frame: Uint8Array): ApiVersionsResponse {
  const errorCode = ((frame[4] ?? 0) << 8) | (frame[5] ?? 0);
  const version = errorCode === ErrorCode.UNSUPPORTED_VERSION ? 0 : greetingVersion;
  return decodeResponse(ApiVersions, version, frame);
}
