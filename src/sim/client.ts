/**
 * One connection of a simulated client: requests out, answers back in order. Knows nothing of retries;
 * when the connection ends, whoever waits is told that the fate of his request is unknown.
 */
import { assert } from "../base/assert.ts";
import { Reader, concatBytes } from "../base/bytes.ts";
import type { Socket } from "../base/ports.ts";
import type { Api } from "../protocol/api.ts";
import { decodeCorrelationId, decodeResponse, encodeRequest } from "../protocol/frame.ts";
import type { SimNetwork } from "./network.ts";

export class Disconnected extends Error {
  override readonly name = "Disconnected";
}

/** What a simulated client asks: one connection, or a cluster. */
export interface Caller {
  readonly closed: boolean;
  /** Rejects with `Disconnected`. */
  call<Req, Res>(api: Api<Req, Res>, version: number, request: Req): Promise<Res>;
  close(): void;
}

interface Waiting {
  readonly correlationId: number;
  readonly resolve: (frame: Uint8Array) => void;
  readonly reject: (cause: Error) => void;
}

export class SimClient implements Caller {
  readonly #socket: Socket;
  readonly #clientId: string;
  readonly #waiting: Waiting[] = [];
  #nextId = 1;
  #received: Uint8Array = new Uint8Array(0);
  #closed = false;

  private constructor(socket: Socket, clientId: string) {
    this.#socket = socket;
    this.#clientId = clientId;
    socket.open({
      onData: (bytes) => this.#take(bytes),
      onEnd: () => this.#close(),
      onDrain: () => undefined,
      onClose: () => this.#close(),
    });
  }

  /** Null: nobody listens there. `onDeath`: a fault of the world ends the client's process. */
  static connect(
    network: SimNetwork,
    port: number,
    clientId: string,
    onDeath?: () => void,
  ): SimClient | null {
    const socket = network.connect(port, onDeath);
    return socket === null ? null : new SimClient(socket, clientId);
  }

  /** Over a connection of any network. */
  static over(socket: Socket, clientId: string): SimClient {
    return new SimClient(socket, clientId);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Rejects with `Disconnected`. */
  async call<Req, Res>(api: Api<Req, Res>, version: number, request: Req): Promise<Res> {
    if (this.#closed) throw new Disconnected("the connection is closed");
    const correlationId = this.#nextId++;
    const frame = await new Promise<Uint8Array>((resolve, reject) => {
      this.#waiting.push({ correlationId, resolve, reject });
      this.#socket.write(
        encodeRequest(api, { apiVersion: version, correlationId, clientId: this.#clientId }, request),
      );
    });
    return decodeResponse(api, version, frame);
  }

  /** Without an answer: Produce with acks 0. */
  send<Req, Res>(api: Api<Req, Res>, version: number, request: Req): void {
    const header = { apiVersion: version, correlationId: this.#nextId++, clientId: this.#clientId };
    if (!this.#closed) this.#socket.write(encodeRequest(api, header, request));
  }

  close(): void {
    this.#socket.destroy();
    this.#close();
  }

  #take(bytes: Uint8Array): void {
    this.#received = concatBytes([this.#received, bytes]);
    for (;;) {
      if (this.#received.byteLength < 4) return;
      const length = new Reader(this.#received).int32();
      if (this.#received.byteLength < 4 + length) return;
      const frame = this.#received.subarray(4, 4 + length);
      this.#received = this.#received.subarray(4 + length);
      const first = this.#waiting.shift();
      assert(first !== undefined, "every answer belongs to a request");
      assert(
        first.correlationId === decodeCorrelationId(frame),
        "answers come in the order of their requests",
      );
      first.resolve(frame);
    }
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const each of this.#waiting.splice(0)) each.reject(new Disconnected("the connection was cut"));
  }
}
