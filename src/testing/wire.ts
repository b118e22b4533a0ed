/**
 * The TCP port with somebody who listens in: notes what clients ask and are told, and lets answers be lost
 * or late as the faults say. What passes is not changed, and answers keep their order.
 */
import { concatBytes } from "../base/bytes.ts";
import { MalformedError } from "../base/errors.ts";
import type { Clock, Listener, Network, Socket } from "../base/ports.ts";
import { tcp } from "../io/tcp.ts";
import { decodeCorrelationId } from "../protocol/frame.ts";
import { apiName, type Exchange, type Exchanges, keptBytesMax } from "./exchanges.ts";
import type { Faults } from "./faults.ts";
import { answersIn, FrameScanner } from "./frames.ts";

export interface WireOptions {
  readonly faults: Faults;
  readonly exchanges: Exchanges;
  readonly clock: Clock;
}

export class Wire implements Network {
  readonly #options: WireOptions;
  readonly #sockets = new Set<WiredSocket>();
  #listener: Listener | null = null;

  constructor(options: WireOptions) {
    this.#options = options;
  }

  async listen(
    address: { readonly host: string; readonly port: number },
    onConnection: (socket: Socket) => void,
  ): Promise<Listener> {
    this.#listener = await tcp.listen(address, (inner) => {
      const socket = new WiredSocket(inner, this.#options, () => this.#sockets.delete(socket));
      this.#sockets.add(socket);
      onConnection(socket);
    });
    return this.#listener;
  }

  /** As when the process dies: nobody listens, every connection ends, nothing that waits is sent. */
  async cut(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await this.#listener?.close();
  }
}

/** More than a broker works on at a time; beyond it the oldest are forgotten, and no fault strikes them. */
const askedMax = 4096;

interface Held {
  readonly chunks: readonly Uint8Array[];
  readonly bytes: number;
  readonly dueMs: number;
}

class WiredSocket implements Socket {
  readonly #inner: Socket;
  readonly #number: number;
  readonly #faults: Faults;
  readonly #exchanges: Exchanges;
  readonly #clock: Clock;
  readonly #onGone: () => void;
  /** Asked and not answered, in order; at most `askedMax`, since some requests have no answer. */
  #asked: Exchange[] = [];
  /** Answers that are late, and those behind them. */
  readonly #held: Held[] = [];
  #heldBytes = 0;
  #ending = false;
  /** An answer was dropped: nothing passes any more. */
  #cut = false;

  constructor(inner: Socket, options: WireOptions, onGone: () => void) {
    this.#inner = inner;
    this.#number = options.exchanges.nextConnection();
    this.#faults = options.faults;
    this.#exchanges = options.exchanges;
    this.#clock = options.clock;
    this.#onGone = onGone;
  }

  get remoteAddress(): string {
    return this.#inner.remoteAddress;
  }
  get localAddress(): string {
    return this.#inner.localAddress;
  }
  get localPort(): number {
    return this.#inner.localPort;
  }
  get pendingBytes(): number {
    return this.#heldBytes + this.#inner.pendingBytes;
  }

  open(events: Parameters<Socket["open"]>[0]): void {
    const requests = new FrameScanner(keptBytesMax, (frame, bytes) => this.#onRequest(frame, bytes));
    this.#inner.open({
      onData: (bytes) => {
        if (this.#cut) return;
        // First, because the broker may write into the bytes.
        requests.push(bytes);
        events.onData(bytes);
      },
      onEnd: () => events.onEnd(),
      onDrain: () => events.onDrain(),
      onClose: () => {
        this.#onGone();
        events.onClose();
      },
    });
  }

  write(chunks: readonly Uint8Array[]): boolean {
    if (this.#cut) return true;
    const passed: Uint8Array[] = [];
    for (const answer of answersIn(chunks)) {
      const exchange = this.#answered(answer);
      const api = exchange === undefined ? "" : apiName(exchange.apiKey);
      if (exchange !== undefined && this.#faults.takeDrop(api)) {
        exchange.dropped = true;
        this.#cutBehind(passed);
        return true;
      }
      const delayMs = this.#faults.delayMs(api);
      if (delayMs > 0 || this.#held.length > 0) this.#hold(answer, delayMs);
      else passed.push(...answer);
    }
    return this.#inner.write(passed) && this.#held.length === 0;
  }

  pause(): void {
    this.#inner.pause();
  }
  resume(): void {
    this.#inner.resume();
  }
  end(): void {
    this.#ending = true;
    if (this.#held.length === 0) this.#inner.end();
  }
  destroy(): void {
    this.#held.length = 0;
    this.#heldBytes = 0;
    this.#inner.destroy();
  }

  #onRequest(frame: Uint8Array, bytes: number): void {
    try {
      this.#asked.push(this.#exchanges.add(frame, bytes, this.#number, this.#clock.monotonicMs()));
      if (this.#asked.length > askedMax) this.#asked.shift();
    } catch (error) {
      // The broker sees the same bytes, and closes the connection.
      if (!(error instanceof MalformedError)) throw error;
    }
  }

  /** Finds the request of an answer; those before it have none (Produce with acks 0). */
  #answered(answer: readonly Uint8Array[]): Exchange | undefined {
    const bytes = answer.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const kept = bytes <= keptBytesMax ? concatBytes(answer) : (answer[0] as Uint8Array);
    const correlationId = decodeCorrelationId(kept.subarray(4));
    const at = this.#asked.findIndex((exchange) => exchange.correlationId === correlationId);
    if (at < 0) return undefined;
    const exchange = this.#asked[at] as Exchange;
    this.#asked = this.#asked.slice(at + 1);
    exchange.answeredMs = this.#clock.monotonicMs();
    exchange.response = bytes <= keptBytesMax ? kept.slice(4) : null;
    return exchange;
  }

  /** What was answered before still leaves; nothing after it does. */
  #cutBehind(passed: readonly Uint8Array[]): void {
    this.#cut = true;
    if (passed.length === 0 && this.#held.length === 0) return this.destroy();
    this.#inner.write(passed);
    this.end();
  }

  #hold(chunks: readonly Uint8Array[], delayMs: number): void {
    const bytes = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
    this.#held.push({ chunks, bytes, dueMs: this.#clock.monotonicMs() + delayMs });
    this.#heldBytes += bytes;
    if (this.#held.length === 1) this.#armHeld();
  }

  #armHeld(): void {
    const first = this.#held[0];
    if (first === undefined) return;
    this.#clock.schedule(first.dueMs - this.#clock.monotonicMs(), () => {
      if (this.#held[0] !== first) return;
      this.#held.shift();
      this.#heldBytes -= first.bytes;
      this.#inner.write(first.chunks);
      if (this.#held.length > 0) this.#armHeld();
      else if (this.#ending) this.#inner.end();
    });
  }
}
