/**
 * The network port in memory: byte streams between actors of one world, with latency, arbitrary splits,
 * and cuts. A message may be lost only together with its connection, as with TCP.
 */
import { assert } from "../base/assert.ts";
import { concatBytes } from "../base/bytes.ts";
import { RefusedError, UnreachableError } from "../base/errors.ts";
import type { Dialer, Listener, Network, Socket } from "../base/ports.ts";
import { type Host, outside } from "./process.ts";
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
  readonly host: Host;
  readonly #network: SimNetwork;
  /** Sent and not arrived, in order. */
  readonly #wire: (() => void)[] = [];
  /** How many of them would have arrived if the way were free. */
  #heldUp = 0;
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

  constructor(network: SimNetwork, localPort: number, host: Host) {
    this.#network = network;
    this.localPort = localPort;
    this.host = host;
  }

  open(events: Events): void {
    this.#events = events;
    // The peer may have come and gone before it was accepted.
    if (this.#closed) this.#network.scheduler.schedule(0, () => this.host.deliver(() => events.onClose()));
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
          this.host.deliver(() => {
            if (!this.#closed) this.#events?.onDrain();
          });
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
    this.#wire.push(run);
    this.#network.scheduler.schedule(this.#lastArrivalMs - now, () => this.#arriveNext());
  }

  #arriveNext(): void {
    if (this.#heldUp > 0 || this.#network.isCut(this)) this.#heldUp++;
    else this.#wire.shift()?.();
  }

  /** The way is free again: what was sent meanwhile arrives, in order. */
  healed(): void {
    const { scheduler } = this.#network;
    for (; this.#heldUp > 0; this.#heldUp--)
      scheduler.schedule(this.#network.latencyMs(), () => this.#arriveNext());
  }

  arrive(bytes: Uint8Array): void {
    this.host.deliver(() => {
      if (this.#closed) return;
      this.watch?.arrived?.(bytes);
      this.#inbox.push(bytes);
      this.#deliver();
    });
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
    this.#network.scheduler.schedule(0, () => this.host.deliver(() => this.#deliver()));
  }

  end(): void {
    this.#later(() => this.peer?.peerEnds());
    this.#later(() => this.#close());
  }

  peerEnds(): void {
    this.host.deliver(() => {
      this.#peerEnded = true;
      this.#deliver();
    });
  }

  destroy(): void {
    if (this.#closed) return;
    this.#close();
    const { peer } = this;
    if (peer === null) return;
    const network = this.#network;
    network.scheduler.schedule(network.latencyMs(), () => network.whenConnected(this, () => peer.reset()));
  }

  reset(): void {
    this.host.deliver(() => this.#close());
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbox.length = 0;
    this.watch?.closed?.();
    const events = this.#events;
    this.#network.scheduler.schedule(0, () => this.host.deliver(() => events?.onClose()));
    this.#network.forget(this);
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
}

interface Listening {
  readonly host: Host;
  readonly onConnection: (socket: Socket) => void;
}

const pairOf = (one: Host, other: Host): string =>
  one.name < other.name ? `${one.name} ${other.name}` : `${other.name} ${one.name}`;

export class SimNetwork implements Network, Dialer {
  readonly scheduler: Scheduler;
  readonly #random: SimRandom;
  readonly #listeners = new Map<number, Listening>();
  readonly #sockets = new Set<SimSocket>();
  /** Pairs of hosts between which nothing passes, and the resets that wait for them. */
  readonly #cuts = new Map<string, (() => void)[]>();
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

  listen(address: Address, onConnection: (socket: Socket) => void): Promise<Listener> {
    return this.#listen(outside, address, onConnection);
  }

  #listen(host: Host, address: Address, onConnection: (socket: Socket) => void): Promise<Listener> {
    const port = address.port === 0 ? this.#nextPort++ : address.port;
    if (this.#listeners.has(port)) return Promise.reject(new RefusedError(`Port ${port} is in use.`));
    const listening: Listening = { host, onConnection };
    this.#listeners.set(port, listening);
    return Promise.resolve({
      host: address.host,
      port,
      close: () => {
        if (this.#listeners.get(port) === listening) this.#listeners.delete(port);
        return Promise.resolve();
      },
    });
  }

  /** Null: nobody listens there. */
  connect(port: number, onDeath?: () => void): Socket | null {
    return this.#connect(outside, port, onDeath);
  }

  #connect(from: Host, port: number, onDeath?: () => void): Socket | null {
    const listening = this.#listeners.get(port);
    if (listening === undefined) return null;
    const client = new SimSocket(this, this.#nextPort++, from);
    const server = new SimSocket(this, port, listening.host);
    client.peer = server;
    server.peer = client;
    this.#sockets.add(client);
    this.#sockets.add(server);
    this.onConnection?.(client, server, onDeath);
    this.scheduler.schedule(this.latencyMs(), () => {
      listening.host.deliver(() => listening.onConnection(server));
    });
    return client;
  }

  /** As real programs connect: it takes a moment, and then somebody listens there or not. Hosts are all the same. */
  dial(address: Address, options?: { readonly timeoutMs: number }): Promise<Socket> {
    return this.#dial(outside, address, options);
  }

  #dial(from: Host, address: Address, options?: { readonly timeoutMs: number }): Promise<Socket> {
    return new Promise((resolve, reject) => {
      if (from.isDead) return;
      const later = (ms: number, run: () => void) => this.scheduler.schedule(ms, () => from.deliver(run));
      const refused = (message: string, reason: string) => () =>
        reject(new UnreachableError(message, { reason }));
      this.scheduler.schedule(this.latencyMs(), () => {
        const to = this.#listeners.get(address.port)?.host;
        if (to !== undefined && this.#cuts.has(pairOf(from, to))) {
          later(options?.timeoutMs ?? 0, refused("nobody answers there", "ETIMEDOUT"));
          return;
        }
        const socket = this.#connect(from, address.port);
        later(0, socket === null ? refused("nothing listens there", "ECONNREFUSED") : () => resolve(socket));
      });
    });
  }

  /** The network as one process has it. */
  of(host: Host): Network & Dialer {
    return {
      listen: (address, onConnection) => this.#listen(host, address, onConnection),
      dial: (address, options) => this.#dial(host, address, options),
    };
  }

  /** From now on nothing passes between the two, and neither is told: what they send waits on its way. */
  cut(one: Host, other: Host): void {
    const pair = pairOf(one, other);
    if (!this.#cuts.has(pair)) this.#cuts.set(pair, []);
  }

  heal(one: Host, other: Host): void {
    const resets = this.#cuts.get(pairOf(one, other));
    if (resets === undefined) return;
    this.#cuts.delete(pairOf(one, other));
    for (const reset of resets) reset();
    for (const socket of Array.from(this.#sockets)) if (!this.isCut(socket)) socket.healed();
  }

  /** For `SimSocket`. */
  isCut({ host, peer }: SimSocket): boolean {
    return peer !== null && this.#cuts.size > 0 && this.#cuts.has(pairOf(host, peer.host));
  }

  /** For `SimSocket`. */
  whenConnected({ host, peer }: SimSocket, run: () => void): void {
    const held = peer === null ? undefined : this.#cuts.get(pairOf(host, peer.host));
    if (held === undefined) run();
    else held.push(run);
  }

  /** The process died: nothing listens for it, and its connections are reset. */
  killHost(host: Host): void {
    for (const [port, listening] of this.#listeners)
      if (listening.host === host) this.#listeners.delete(port);
    for (const socket of Array.from(this.#sockets)) if (socket.host === host) socket.destroy();
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
