/**
 * One socket to another broker: requests out in the order of the calls, answers matched to them in that order.
 * Every call settles: with its answer, or with a `PeerError` when the connection ends or the answer does not come
 * in time, and then nobody knows whether it was carried out. Nothing is sent twice, nothing is tried again.
 */
import { MalformedError } from "../../base/errors.ts";
import type { Clock, Socket, Timer } from "../../base/ports.ts";
import type { Api } from "../../protocol/api.ts";
import { decodeCorrelationId, decodeResponse, encodeRequest } from "../../protocol/frame.ts";
import { FrameReader } from "../../protocol/frame-reader.ts";
import { bytesOf } from "../dispatch.ts";
import { PeerError, type PeerTrouble } from "./errors.ts";

/** An answer of another broker is longer than that only by a mistake. */
const answerBytesMax = 16 * 1024 * 1024;
/** A timer that comes later than that tells of a pause of ours: the answer may lie here unread. */
const pauseMs = 200;

interface Asked {
  readonly correlationId: number;
  readonly what: string;
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly take: (frame: Uint8Array) => void;
  readonly fail: (cause: PeerError) => void;
}

export interface ExchangeOptions {
  readonly clock: Clock;
  /** What this broker calls itself, for the other's logs. */
  readonly clientId: string;
  /** For messages: "the broker at HOST:PORT". */
  readonly whom: string;
}

export class PeerExchange {
  readonly #socket: Socket;
  readonly #options: ExchangeOptions;
  readonly #frames = new FrameReader(answerBytesMax);
  /** In the order in which they were sent, which is the order of the answers. Bounded by the link. */
  readonly #asked: Asked[] = [];
  readonly #endListeners: (() => void)[] = [];
  #bytesInFlight = 0;
  #correlationId = 0;
  #timer: Timer | null = null;
  #end: { readonly why: string; readonly trouble: PeerTrouble } | null = null;

  constructor(socket: Socket, options: ExchangeOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.open({
      onData: (bytes) => this.#take(bytes),
      room: () => this.#frames.room,
      onEnd: () => this.end("it closed the connection"),
      onDrain: () => undefined,
      onClose: () => this.end("the connection was closed"),
    });
  }

  get isOpen(): boolean {
    return this.#end === null;
  }
  /** Requests without an answer, and their bytes. */
  get inFlight(): number {
    return this.#asked.length;
  }
  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }

  /** Called once, at once when it is over already. */
  onEnd(listener: () => void): void {
    if (this.#end === null) this.#endListeners.push(listener);
    else listener();
  }

  /** Sends now. `version` is one that both sides speak. */
  ask<Req, Res>(api: Api<Req, Res>, version: number, request: Req, timeoutMs: number): Promise<Res> {
    if (this.#end !== null) return Promise.reject(this.#error(api.name, false));
    const correlationId = this.#nextId();
    const header = { apiVersion: version, correlationId, clientId: this.#options.clientId };
    const chunks = encodeRequest(api, header, request);
    const bytes = bytesOf(chunks);
    return new Promise((resolve, reject) => {
      const take = (frame: Uint8Array): void => {
        try {
          resolve(decodeResponse(api, version, frame));
        } catch (cause) {
          if (!(cause instanceof MalformedError)) return reject(cause as Error);
          this.end(`its answer to ${api.name} cannot be read: ${cause.message}`);
          reject(this.#error(api.name, true));
        }
      };
      const deadlineMs = this.#options.clock.monotonicMs() + timeoutMs;
      this.#asked.push({ correlationId, what: api.name, bytes, deadlineMs, take, fail: reject });
      this.#bytesInFlight += bytes;
      this.#timer ??= this.#armed(timeoutMs);
      this.#socket.write(chunks);
    });
  }

  #nextId(): number {
    this.#correlationId = (this.#correlationId + 1) & 0x7fff_ffff;
    return this.#correlationId;
  }

  /** Everything without an answer is lost. `why` goes on after "the broker at HOST:PORT:". */
  end(why: string, trouble: PeerTrouble = "lost"): void {
    if (this.#end !== null) return;
    this.#end = { why, trouble };
    this.#timer?.cancel();
    this.#socket.destroy();
    for (const { what, fail } of this.#asked.splice(0)) fail(this.#error(what, true));
    for (const listener of this.#endListeners.splice(0)) listener();
  }

  #armed(delayMs: number): Timer {
    const { clock } = this.#options;
    const dueMs = clock.monotonicMs() + delayMs;
    return clock.schedule(delayMs, () => {
      const nowMs = clock.monotonicMs();
      const [first] = this.#asked;
      this.#timer = null;
      if (first === undefined) return;
      const leftMs = first.deadlineMs - nowMs;
      if (leftMs > 0) this.#timer = this.#armed(leftMs);
      else if (nowMs - dueMs > pauseMs) this.#timer = this.#armed(pauseMs);
      // Answers come in order: behind one that does not come there is none.
      else this.end(`no answer to ${first.what} came in time`);
    });
  }

  #take(bytes: Uint8Array): void {
    if (this.#end !== null) return;
    const frames: Uint8Array[] = [];
    const fault = this.#frames.push(bytes, frames);
    for (const frame of frames) {
      const [first] = this.#asked;
      if (first === undefined || frame.byteLength < 4 || decodeCorrelationId(frame) !== first.correlationId) {
        return this.end("it sent an answer that belongs to no request");
      }
      this.#asked.shift();
      this.#bytesInFlight -= first.bytes;
      first.take(frame);
    }
    if (fault !== null) this.end("what it sends are no answers");
  }

  #error(what: string, sent: boolean): PeerError {
    const { why = "it is not there", trouble = "lost" } = this.#end ?? {};
    const fate = sent ? "has no answer and may have been carried out" : "was not sent";
    return new PeerError(`${what} to ${this.#options.whom} ${fate}: ${why}.`, { trouble, sent });
  }
}
