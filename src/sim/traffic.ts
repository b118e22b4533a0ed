/**
 * What is on the wires of a simulated network: which requests have no answer yet, from the moment the client
 * writes one until the answer's first bytes reach it. Reads nothing of a frame but its head.
 */
import type { SimNetwork, WatchedSocket } from "./network.ts";

/** Of a request's frame: length, API key, version, correlation id. */
const requestHeadBytes = 12;
/** Of an answer's frame: length, correlation id. */
const answerHeadBytes = 8;

export interface Flight {
  readonly line: Line;
  readonly apiKey: number;
  readonly correlationId: number;
}

/** One connection. */
export interface Line {
  /** Oldest first; answers come in the same order. */
  readonly flights: readonly Flight[];
  readonly client: WatchedSocket;
  readonly server: WatchedSocket;
  /** Ends the client's process; undefined: it is none that can die. */
  readonly onDeath: (() => void) | undefined;
}

export class Traffic {
  readonly #lines = new Set<Line>();
  /** Requests that were written. */
  requests = 0;
  /** A request is about to leave the client. */
  onRequest: ((flight: Flight) => void) | null = null;
  /** An answer is about to leave the broker. */
  onAnswer: ((flight: Flight) => void) | null = null;

  constructor(network: SimNetwork) {
    network.onConnection = (client, server, onDeath) => this.#follow(client, server, onDeath);
  }

  *inFlight(): Iterable<Flight> {
    for (const line of this.#lines) yield* line.flights;
  }

  #follow(client: WatchedSocket, server: WatchedSocket, onDeath: (() => void) | undefined): void {
    const flights: Flight[] = [];
    const line: Line = { flights, client, server, onDeath };
    this.#lines.add(line);
    const requests = new FrameHeads(requestHeadBytes, (head) => {
      const flight = { line, apiKey: head.getInt16(4), correlationId: head.getInt32(8) };
      flights.push(flight);
      this.requests++;
      this.onRequest?.(flight);
    });
    const answers = new FrameHeads(answerHeadBytes, (head) => {
      const correlationId = head.getInt32(4);
      const flight = flights.find((each) => each.correlationId === correlationId);
      if (flight !== undefined) this.onAnswer?.(flight);
    });
    const arrivals = new FrameHeads(answerHeadBytes, (head) => {
      const correlationId = head.getInt32(4);
      const at = flights.findIndex((each) => each.correlationId === correlationId);
      flights.splice(0, at + 1);
    });
    client.watch = {
      wrote: (bytes) => requests.take(bytes),
      arrived: (bytes) => arrivals.take(bytes),
      closed: () => {
        this.#lines.delete(line);
        flights.length = 0;
      },
    };
    server.watch = { wrote: (bytes) => answers.take(bytes) };
  }
}

/** Finds the head of each frame in a stream of bytes, however it is cut. */
class FrameHeads {
  readonly #head: Buffer;
  readonly #tell: (head: DataView) => void;
  /** Bytes of the head that are there. */
  #have = 0;
  /** Bytes of the frame behind the head that are still to come. */
  #left = 0;

  constructor(headBytes: number, tell: (head: DataView) => void) {
    this.#head = Buffer.alloc(headBytes);
    this.#tell = tell;
  }

  take(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength; ) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, bytes.byteLength - at);
        this.#left -= skipped;
        at += skipped;
        continue;
      }
      this.#head[this.#have++] = bytes[at++] as number;
      if (this.#have < this.#head.byteLength) continue;
      const head = new DataView(this.#head.buffer, this.#head.byteOffset, this.#have);
      this.#left = 4 + head.getInt32(0) - this.#have;
      this.#have = 0;
      this.#tell(head);
    }
  }
}
