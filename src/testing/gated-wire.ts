/**
 * Sockets of a process that can stand still: nothing is read, no connection is taken, and what closes is told
 * later. Bytes that were written before leave all the same, since the kernel has them.
 */
import type { Dialer, Listener, Network, Socket } from "../base/ports.ts";
import type { Gate } from "./gate.ts";

/** Connections that come in: the ones of clients and of other brokers. */
export class GatedNetwork implements Network {
  readonly #inner: Network;
  readonly #gate: Gate;

  constructor(inner: Network, gate: Gate) {
    this.#inner = inner;
    this.#gate = gate;
  }

  listen(
    address: { readonly host: string; readonly port: number },
    onConnection: (socket: Socket) => void,
  ): Promise<Listener> {
    const gate = this.#gate;
    return this.#inner.listen(address, (socket) =>
      gate.pass(() => onConnection(new GatedSocket(socket, gate))),
    );
  }
}

/** Connections that go out, to other brokers; all of them die with the process. */
export class GatedDialer implements Dialer {
  readonly #inner: Dialer;
  readonly #gate: Gate;
  readonly #sockets = new Set<Socket>();

  constructor(inner: Dialer, gate: Gate) {
    this.#inner = inner;
    this.#gate = gate;
  }

  dial(
    address: { readonly host: string; readonly port: number },
    options: { readonly timeoutMs: number },
  ): Promise<Socket> {
    const gate = this.#gate;
    return new Promise((resolve, reject) => {
      this.#inner.dial(address, options).then(
        (inner) => {
          if (gate.hasEnded) return inner.destroy();
          this.#sockets.add(inner);
          const socket = new GatedSocket(inner, gate, () => this.#sockets.delete(inner));
          gate.pass(() => resolve(socket));
        },
        (cause: unknown) => gate.pass(() => reject(cause as Error)),
      );
    });
  }

  /** As when the process dies. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }
}

class GatedSocket implements Socket {
  readonly #inner: Socket;
  readonly #gate: Gate;
  readonly #onGone: () => void;
  #isOpen = false;
  /** By its owner. */
  #isPaused = false;

  constructor(inner: Socket, gate: Gate, onGone: () => void = () => undefined) {
    this.#inner = inner;
    this.#gate = gate;
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
    return this.#inner.pendingBytes;
  }

  open(events: Parameters<Socket["open"]>[0]): void {
    const gate = this.#gate;
    this.#isOpen = true;
    const unwatch = gate.watch((isOpen) => {
      if (!isOpen) this.#inner.pause();
      else if (!this.#isPaused) this.#inner.resume();
    });
    this.#inner.open({
      // Nothing is read while the gate is closed, so the bytes need not be kept.
      onData: (bytes) => gate.pass(() => events.onData(bytes)),
      onEnd: () => gate.pass(() => events.onEnd()),
      onDrain: () => gate.pass(() => events.onDrain()),
      onClose: () => {
        unwatch();
        this.#onGone();
        gate.pass(() => events.onClose());
      },
    });
  }

  write(chunks: readonly Uint8Array[]): boolean {
    return this.#inner.write(chunks);
  }
  pause(): void {
    this.#isPaused = true;
    this.#inner.pause();
  }
  resume(): void {
    this.#isPaused = false;
    if (this.#isOpen) this.#inner.resume();
  }
  end(): void {
    this.#inner.end();
  }
  destroy(): void {
    this.#inner.destroy();
  }
}
