/**
 * The way to one life of one broker: a connection on which both sides have proved who they are, opened when it
 * is first needed and again after it ended, with growing pauses. Calls leave in the order in which they were
 * made. What can be under way is bounded; beyond it a call is refused at once. A call is never sent twice: whoever
 * wants that asks again, since only he knows what a second time would do.
 */
import { equalSecrets } from "../../base/hmac.ts";
import type { BrokerEpoch } from "../../base/ids.ts";
import { type Dialer, type Env, type Sha256, type Socket, sleep } from "../../base/ports.ts";
import type { Api } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { PeerHello } from "../../protocol/messages/peer-hello.ts";
import { PeerProve } from "../../protocol/messages/peer-prove.ts";
import { PeerError } from "./errors.ts";
import { PeerExchange } from "./peer-exchange.ts";
import { peerNonceBytes, proofOf } from "./peer-proof.ts";

export interface PeerLinkOptions {
  readonly env: Env;
  readonly dialer: Dialer;
  readonly sha256: Sha256;
  readonly key: Uint8Array;
  readonly clusterId: string;
  /** This broker. */
  readonly from: BrokerEpoch;
  readonly to: BrokerEpoch;
  /** What the connection is for; a peer has one of each. */
  readonly line: PeerLine;
  readonly address: { readonly host: string; readonly port: number };
  /** How long it may take to connect and prove, and how long an answer may take. */
  readonly connectMs: number;
  readonly answerMs: number;
  /** The other one says that this broker is fenced. */
  readonly onFenced?: () => void;
}

const lines = ["pulse", "calls", "question"] as const;
export type PeerLine = (typeof lines)[number];

/** What a broker calls itself on this line. */
const nameOf = (from: BrokerEpoch, line: PeerLine): string => `holdfast-peer-${from}-${line}`;

/** False: as older versions call themselves, on each connection alike. */
export const namesLine = (name: string): boolean => lines.some((line) => name.endsWith(`-${line}`));

/** Calls that have no answer yet, sent or not. */
const callsMax = 1_000;
const callBytesMax = 32 * 1024 * 1024;
/** The pause after a failed attempt doubles from the first to the last. */
const pauseFirstMs = 50;
const pauseLastMs = 500;

type Versions = ReadonlyMap<number, readonly [first: number, last: number]>;

interface Way {
  readonly exchange: PeerExchange;
  readonly versions: Versions;
}

export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #whom: string;
  /** Null: there is no connection and none is being made. */
  #way: Promise<Way> | null = null;
  #exchange: PeerExchange | null = null;
  #calls = 0;
  #failures = 0;
  #failedMs = 0;
  #closed: PeerError | null = null;

  constructor(options: PeerLinkOptions) {
    this.#options = options;
    const { to, address } = options;
    this.#whom = `the broker of epoch ${to} at ${address.host}:${address.port}`;
  }

  /** Rejects with `PeerError`. */
  async call<Req, Res>(api: Api<Req, Res>, request: Req): Promise<Res> {
    if (this.#closed !== null) throw this.#closed;
    if (this.#calls >= callsMax || (this.#exchange?.bytesInFlight ?? 0) >= callBytesMax) {
      throw new PeerError(`${api.name} was not sent: ${this.#calls} calls wait for ${this.#whom}.`, {
        trouble: "full",
        sent: false,
      });
    }
    this.#calls++;
    try {
      this.#way ??= this.#open();
      const { exchange, versions } = await this.#way;
      // Nothing between the await and the sending: the order of the calls is the order on the wire.
      return await exchange.ask(api, this.#versionOf(api, versions), request, this.#options.answerMs);
    } finally {
      this.#calls--;
    }
  }

  /** Every call that has no answer is rejected, and every later one. */
  close(why: string): void {
    if (this.#closed !== null) return;
    this.#closed = new PeerError(`${this.#whom} gets no calls any more: ${why}.`, {
      trouble: "gone",
      sent: false,
    });
    this.#exchange?.end(why, "gone");
  }

  async #open(): Promise<Way> {
    let exchange: PeerExchange | null = null;
    try {
      await this.#pause();
      if (this.#closed !== null) throw this.#closed;
      exchange = this.#converse(await this.#dial());
      const versions = await this.#prove(exchange);
      this.#failures = 0;
      // Not before: until here the way is this one, and only its failure ends it.
      exchange.onEnd(() => this.#forget());
      return { exchange, versions };
    } catch (cause) {
      exchange?.end("it is no peer");
      this.#forget();
      this.#failures++;
      this.#failedMs = this.#options.env.clock.monotonicMs();
      // What waits for the connection was not sent, whatever became of the words before it.
      if (!(cause instanceof PeerError)) throw cause;
      throw new PeerError(cause.message, { trouble: cause.trouble, sent: false, cause });
    }
  }

  #converse(socket: Socket): PeerExchange {
    const { env, from, line } = this.#options;
    const exchange = new PeerExchange(socket, {
      clock: env.clock,
      clientId: nameOf(from, line),
      whom: this.#whom,
    });
    this.#exchange = exchange;
    if (this.#closed !== null) exchange.end("it is not wanted any more", "gone");
    return exchange;
  }

  #forget(): void {
    this.#way = null;
    this.#exchange = null;
  }

  async #pause(): Promise<void> {
    if (this.#failures === 0) return;
    const { connectMs, env } = this.#options;
    const { clock, random } = env;
    const full = Math.min(pauseLastMs, connectMs / 4, pauseFirstMs * 2 ** Math.min(this.#failures - 1, 10));
    const untilMs = this.#failedMs + full * (0.5 + random.u32() / 0x2_0000_0000);
    const leftMs = untilMs - clock.monotonicMs();
    if (leftMs > 0) await sleep(clock, leftMs);
  }

  async #dial(): Promise<Socket> {
    const { dialer, address, connectMs } = this.#options;
    try {
      return await dialer.dial(address, { timeoutMs: connectMs });
    } catch (cause) {
      throw new PeerError(`${this.#whom} cannot be reached: ${(cause as Error).message}.`, {
        trouble: "unreachable",
        sent: false,
        cause,
      });
    }
  }

  /** Shows that we have the key, and that the other one has it. */
  async #prove(exchange: PeerExchange): Promise<Versions> {
    const { env, sha256, key, clusterId, from, to, connectMs, onFenced } = this.#options;
    const hello = await exchange.ask(PeerHello, 0, { clusterId, from, to }, connectMs);
    if (hello.errorCode !== ErrorCode.NONE) {
      if (hello.errorCode === ErrorCode.BROKER_ID_NOT_REGISTERED && hello.epoch === to) onFenced?.();
      throw this.#refused("another", describeHello(hello.errorCode, hello.epoch));
    }
    const fromNonce = env.random.bytes(peerNonceBytes);
    const handshake = { clusterId, from, to, fromNonce, toNonce: hello.nonce };
    const proof = proofOf("from", key, handshake, sha256);
    const answer = await exchange
      .ask(PeerProve, 0, { nonce: fromNonce, proof }, connectMs)
      .catch((cause: unknown) => {
        throw this.#refused("unproved", `it does not take our proof (${(cause as Error).message})`);
      });
    if (!equalSecrets(answer.proof, proofOf("to", key, handshake, sha256))) {
      throw this.#refused(
        "unproved",
        "it has not the key of this cluster (the object peer/key of the store)",
      );
    }
    return new Map(answer.apis.map(({ key: api, first, last }) => [api, [first, last]]));
  }

  #refused(trouble: "another" | "unproved", why: string): PeerError {
    return new PeerError(`${this.#whom} is no peer: ${why}.`, { trouble, sent: false });
  }

  /** The newest that both sides speak: in a rolling upgrade the other one may be older or newer. */
  #versionOf<Req, Res>(api: Api<Req, Res>, versions: Versions): number {
    const [first, last] = versions.get(api.key) ?? [0, -1];
    const version = Math.min(last, api.versions[1]);
    if (version >= first && version >= api.versions[0]) return version;
    throw new PeerError(`${api.name} was not sent: ${this.#whom} does not speak it as we do.`, {
      trouble: "unspoken",
      sent: false,
    });
  }
}

function describeHello(errorCode: ErrorCode, epoch: BrokerEpoch): string {
  switch (errorCode) {
    case ErrorCode.INCONSISTENT_CLUSTER_ID:
      return "a broker of another cluster answers there";
    case ErrorCode.BROKER_ID_NOT_REGISTERED:
      return "it says that this broker is fenced";
    default:
      return `epoch ${epoch} answers there`;
  }
}
