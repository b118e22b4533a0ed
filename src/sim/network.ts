/**
 * The network port in memory: byte streams between actors of one world, with latency, arbitrary splits,
 * and cuts. A message may be lost only together with its connection, as with TCP.
 */
import { assert } from "../base/assert.ts";
import { concatBytes } from "../base/bytes.ts";
import { RefusedError, UnreachableError } from "../base/errors.ts";
import type { Dialer, Listener, Network, Socket } from "../base/ports.ts";
import type { SimRandom } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

type Events = Parameters<Socket["open"]>[0];

/** Is told what one end of a connection does. */
export interface SocketWatch {
  /** Before the bytes leave. */
  wrote?(bytes: Uint8Array): void;
  /** Before they are handed over. */
  arrived?(bytes: Uint8Array): void;
  closed?(): void;
}

/** One end of a connection, in the hands of whoever makes the faults. */
export interface WatchedSocket {
  watch: SocketWatch | null;
  destroy(): void;
  /** What it writes from now on arrives only after `ms`. */
  hold(ms: number): void;
}

/** Both ends; `onDeath` ends the process of the client, where it is one that can die. */
export type OnConnection = (
  client: WatchedSocket,
  server: WatchedSocket,
  onDeath: (() => void) | undefined,
) => void;

/** Bytes on their way above which `write` says that the buffers are full. */
const highWaterBytes = 64 * 1024;

class SimSocket implements Socket, WatchedSocket {
  readonly remoteAddress = "127.0.0.1";
  readonly localAddress = "127.0.0.1";
  readonly localPort: number;
  readonly #network: SimNetwork;
  peer: SimSocket | null = null;
  #events: Events | null = null;
  /** Arrived and not handed over yet: paused, or not opened. */
  readonly #inbox: Uint8Array[] = [];
  #paused = false;
  #closed = false;
  #peerEnded = false;
  #told = false;
  #inFlight = 0;
  #full = false;
  /** Deliveries keep their order whatever latency is drawn. */
  #lastArrivalMs = 0;
  watch: SocketWatch | null = null;

  constructor(network: SimNetwork, localPort: number) {
    this.#network = network;
    this.localPort = localPort;
  }

  open(events: Events): void {
    this.#events = events;
    // The peer may have come and gone before it was accepted.
    if (this.#closed) this.#network.scheduler.schedule(0, () => events.onClose());
    else this.#deliver();
  }

  get pendingBytes(): number {
    return this.#inFlight;
  }

  write(chunks: readonly Uint8Array[]): boolean {
    if (this.#closed || chunks.length === 0) return true;
    // The bytes are taken now: a later change by the sender would be a bug that this must not hide.
    const whole = concatBytes(chunks);
    this.watch?.wrote?.(whole);
    if (this.#closed) return true;
    this.#inFlight += whole.byteLength;
    for (const part of this.#network.split(whole)) {
      this.#later(() => {
        this.#inFlight -= part.byteLength;
        this.peer?.arrive(part);
        if (this.#full ? this.#inFlight < highWaterBytes : this.#inFlight === 0) {
          this.#full = false;
          if (!this.#closed) this.#events?.onDrain();
        }
      });
    }
    this.#full = this.#inFlight >= highWaterBytes;
    return !this.#full;
  }

  hold(ms: number): void {
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, this.#network.scheduler.nowMs + ms);
  }

  #later(run: () => void): void {
    const now = this.#network.scheduler.nowMs;
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs + 0.000_1, now + this.#network.latencyMs());
    this.#network.scheduler.schedule(this.#lastArrivalMs - now, run);
  }

  arrive(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.watch?.arrived?.(bytes);
    this.#inbox.push(bytes);
    this.#deliver();
  }

  #deliver(): void {
    while (!this.#paused && !this.#closed && this.#events !== null) {
      const next = this.#inbox.shift();
      if (next === undefined) break;
      const room = this.#events.room?.() ?? null;
      if (room === null) this.#events.onData(next);
      else {
        const taken = Math.min(room.byteLength, next.byteLength);
        room.set(next.subarray(0, taken));
        if (taken < next.byteLength) this.#inbox.unshift(next.slice(taken));
        this.#events.onData(room.subarray(0, taken));
      }
      // As a socket's buffer, which is filled again: who kept a view reads garbage.
      next.fill(0xdd);
    }
    if (this.#peerEnded && this.#inbox.length === 0 && !this.#told) {
      this.#told = true;
      this.#events?.onEnd();
    }
  }

  pause(): void {
    this.#paused = true;
  }
  resume(): void {
    this.#paused = false;
    this.#network.scheduler.schedule(0, () => this.#deliver());
  }

  end(): void {
    this.#later(() => this.peer?.peerEnds());
    this.#later(() => this.#close());
  }

  peerEnds(): void {
    this.#peerEnded = true;
    this.#deliver();
  }

  destroy(): void {
    if (this.#closed) return;
    this.#close();
    const { peer } = this;
    this.#network.scheduler.schedule(this.#network.latencyMs(), () => peer?.reset());
  }

  reset(): void {
    this.#close();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbox.length = 0;
    this.watch?.closed?.();
    const events = this.#events;
    this.#network.scheduler.schedule(0, () => events?.onClose());
    this.#network.forget(this);
  }
}

export class SimNetwork implements Network, Dialer {
  readonly scheduler: Scheduler;
  readonly #random: SimRandom;
  readonly #listeners = new Map<number, (socket: Socket) => void>();
  readonly #sockets = new Set<SimSocket>();
  #nextPort = 10_000;
  onConnection: OnConnection | null = null;

  constructor(scheduler: Scheduler, random: SimRandom) {
    this.scheduler = scheduler;
    this.#random = random.fork("network");
  }

  latencyMs(): number {
    // Mostly quick, now and then slow enough to meet a timeout or a crash.
    return this.#random.below(50) === 0 ? 5 + this.#random.below(50) : 0.05 + this.#random.below(100) / 200;
  }

  split(bytes: Uint8Array): Uint8Array[] {
    if (bytes.byteLength < 2 || this.#random.below(4) !== 0) return [bytes];
    const at = 1 + this.#random.below(bytes.byteLength - 1);
    return [bytes.subarray(0, at), bytes.subarray(at)];
  }

  listen(
    address: { readonly host: string; readonly port: number },
    onConnection: (socket: Socket) => void,
  ): Promise<Listener> {
    const port = address.port === 0 ? this.#nextPort++ : address.port;
    if (this.#listeners.has(port)) return Promise.reject(new RefusedError(`Port ${port} is in use.`));
    this.#listeners.set(port, onConnection);
    return Promise.resolve({
      host: address.host,
      port,
      close: () => {
        if (this.#listeners.get(port) === onConnection) this.#listeners.delete(port);
        return Promise.resolve();
      },
    });
  }

  /** Null: nobody listens there. */
  connect(port: number, onDeath?: () => void): Socket | null {
    const listener = this.#listeners.get(port);
    if (listener === undefined) return null;
    const client = new SimSocket(this, this.#nextPort++);
    const server = new SimSocket(this, port);
    client.peer = server;
    server.peer = client;
    this.#sockets.add(client);
    this.#sockets.add(server);
    this.onConnection?.(client, server, onDeath);
    this.scheduler.schedule(this.latencyMs(), () => listener(server));
    return client;
  }

  /** As real programs connect: it takes a moment, and then somebody listens there or not. Hosts are all the same. */
  dial(address: { readonly host: string; readonly port: number }): Promise<Socket> {
    return new Promise((resolve, reject) => {
      this.scheduler.schedule(this.latencyMs(), () => {
        const socket = this.connect(address.port);
        if (socket !== null) resolve(socket);
        else reject(new UnreachableError("nothing listens there", { reason: "ECONNREFUSED" }));
      });
    });
  }

  forget(socket: SimSocket): void {
    this.#sockets.delete(socket);
  }

  /** The process behind `port` died: nothing listens there, and each of its connections is reset. */
  kill(port: number): void {
    this.#listeners.delete(port);
    for (const socket of Array.from(this.#sockets)) if (socket.localPort === port) socket.destroy();
  }

  /** Cuts one connection, drawn by chance; false when there is none. */
  cutOne(): boolean {
    const sockets = [...this.#sockets];
    if (sockets.length === 0) return false;
    const one = sockets[this.#random.below(sockets.length)];
    assert(one !== undefined, "an index below the length names an element");
    one.destroy();
    return true;
  }
}
