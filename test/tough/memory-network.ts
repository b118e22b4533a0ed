/**
 * The network port as plain calls: what the attacker delivers is with the broker before `deliver` returns,
 * and what the broker writes is taken at once, or kept when the peer does not read. No latency and no
 * events, so that millions of frames cost little beside what the broker does with them.
 */
import { RefusedError } from "../../src/base/errors.ts";
import type { Listener, Network, Socket } from "../../src/base/ports.ts";

type Events = Parameters<Socket["open"]>[0];

/** The peer's end of a connection. */
export class MemoryPeer {
  /** Told of everything the broker writes while the peer reads. */
  onBytes: (chunk: Uint8Array) => void = () => undefined;
  /** Answers stay with the broker, as behind a full TCP window. */
  reading = true;
  closed = false;
  readonly #socket: MemorySocket;

  constructor(socket: MemorySocket) {
    this.#socket = socket;
  }

  /** The bytes are overwritten when the broker has had them. */
  deliver(bytes: Uint8Array): void {
    if (!this.closed) this.#socket.arrive(bytes);
  }
  /** Half close: the peer says nothing more and still reads. */
  end(): void {
    if (!this.closed) this.#socket.peerEnds();
  }
  destroy(): void {
    this.#socket.close();
  }
  /** Reads what has waited. */
  readOn(): void {
    this.reading = true;
    this.#socket.drain();
  }
}

class MemorySocket implements Socket {
  readonly remoteAddress = "127.0.0.1";
  readonly localAddress = "127.0.0.1";
  readonly localPort: number;
  readonly peer: MemoryPeer;
  #events: Events | null = null;
  #paused = false;
  readonly #inbox: Uint8Array[] = [];
  #ended = false;
  #waiting: Uint8Array[] = [];
  #drainDue = false;
  pendingBytes = 0;

  constructor(localPort: number) {
    this.localPort = localPort;
    this.peer = new MemoryPeer(this);
  }

  open(events: Events): void {
    this.#events = events;
  }

  write(chunks: readonly Uint8Array[]): boolean {
    if (this.peer.closed) return true;
    for (const chunk of chunks) {
      this.pendingBytes += chunk.byteLength;
      this.#waiting.push(chunk);
    }
    if (this.peer.reading) this.drain();
    return this.pendingBytes === 0;
  }

  /** Hands over at once; the broker hears of it a microtask later, never within its own call. */
  drain(): void {
    if (this.#drainDue || this.#waiting.length === 0) return;
    this.#drainDue = true;
    queueMicrotask(() => {
      this.#drainDue = false;
      if (this.peer.closed || !this.peer.reading) return;
      const chunks = this.#waiting;
      this.#waiting = [];
      this.pendingBytes = 0;
      for (const chunk of chunks) this.peer.onBytes(chunk);
      this.#events?.onDrain();
      if (this.#closing) this.close();
    });
  }

  arrive(bytes: Uint8Array): void {
    if (this.#ended) return;
    if (this.#paused) this.#inbox.push(bytes);
    else this.#handOver(bytes);
  }

  /** As a socket's buffer, which is filled again: who kept a view reads garbage. */
  #handOver(bytes: Uint8Array): void {
    this.#events?.onData(bytes);
    bytes.fill(0xdd);
  }

  peerEnds(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#inbox.length === 0) this.#events?.onEnd();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    queueMicrotask(() => {
      while (!this.#paused && this.#inbox.length > 0) {
        this.#handOver(this.#inbox.shift() as Uint8Array);
        if (this.#inbox.length === 0 && this.#ended) this.#events?.onEnd();
      }
    });
  }

  #closing = false;
  end(): void {
    this.#closing = true;
    if (this.#waiting.length === 0) queueMicrotask(() => this.close());
  }
  destroy(): void {
    queueMicrotask(() => this.close());
  }

  close(): void {
    if (this.peer.closed) return;
    this.peer.closed = true;
    this.#inbox.length = 0;
    this.#waiting = [];
    this.pendingBytes = 0;
    this.#events?.onClose();
  }
}

export class MemoryNetwork implements Network {
  readonly #listeners = new Map<number, (socket: Socket) => void>();

  listen(
    address: { readonly host: string; readonly port: number },
    onConnection: (socket: Socket) => void,
  ): Promise<Listener> {
    const { host, port } = address;
    if (this.#listeners.has(port)) return Promise.reject(new RefusedError(`Port ${port} is in use.`));
    this.#listeners.set(port, onConnection);
    const close = () => {
      this.#listeners.delete(port);
      return Promise.resolve();
    };
    return Promise.resolve({ host, port, close });
  }

  connect(port: number): MemoryPeer {
    const accept = this.#listeners.get(port);
    if (accept === undefined) throw new Error(`nobody listens on ${port}`);
    const socket = new MemorySocket(port);
    accept(socket);
    return socket.peer;
  }
}
