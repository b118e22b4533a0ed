/**
 * A door before a simulated broker: clients that enter by it meet what a test asks for. It passes frames
 * on, and may take an answer away, hold a request back, answer in the broker's place, or cut a connection.
 */
import type { Socket } from "../src/base/ports.ts";
import type { AnyApi, Api } from "../src/protocol/api.ts";
import {
  decodeRequest,
  decodeRequestHeader,
  decodeResponse,
  encodeResponse,
  type RequestHeader,
} from "../src/protocol/frame.ts";
import { FrameReader } from "../src/protocol/frame-reader.ts";
import { FindCoordinator } from "../src/protocol/messages/find-coordinator.ts";
import { Metadata } from "../src/protocol/messages/metadata.ts";
import type { SimulatedBroker } from "./simulated-broker.ts";

export type Treatment =
  | "pass"
  /** The broker gets the request, and the client no answer but the end of the connection. */
  | "cut-after"
  /** The connection ends before the broker gets anything. */
  | "cut-before"
  /** The broker gets nothing; the client gets this. */
  | { readonly answer: unknown }
  /** The broker gets it so much later, in ms; what follows on the connection is not held up. */
  | { readonly heldMs: number }
  /** The broker gets it, and so much later, in ms, once more over another connection; nobody hears that answer. */
  | { readonly echoMs: number }
  /** The broker gets it, and the client gets this instead of its answer. */
  | { readonly rewrite: (answer: never) => unknown };

interface Rule {
  readonly api: AnyApi;
  readonly treat: (request: unknown, version: number) => Treatment;
}

/** What waits for its turn: answers keep the order of their requests. */
interface Slot {
  readonly header: RequestHeader;
  readonly rule: Rule | undefined;
  readonly treatment: Treatment;
  answer: readonly Uint8Array[] | null;
}

export class Door {
  readonly #broker: SimulatedBroker;
  readonly #port: number;
  readonly #rules: Rule[] = [];
  readonly #ends = new Set<() => void>();
  /** Requests that came, by the name of their API. */
  readonly came = new Map<number, number>();

  private constructor(broker: SimulatedBroker, port: number) {
    this.#broker = broker;
    this.#port = port;
  }

  static async before(broker: SimulatedBroker, port = 7200): Promise<Door> {
    const door = new Door(broker, port);
    await broker.network.listen({ host: "127.0.0.1", port }, (socket) => door.#accept(socket));
    return door;
  }

  get bootstrap(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** From now on; the newest rule of an API counts. */
  on<Req, Res>(api: Api<Req, Res>, treat: (request: Req, version: number) => Treatment): void {
    this.#rules.unshift({ api: api as AnyApi, treat: treat as Rule["treat"] });
  }

  /** Every connection ends, as when the network is gone for a moment. */
  cutAll(): void {
    for (const end of this.#ends) end();
  }

  #accept(client: Socket): void {
    const broker = this.#broker.network.connect(9092);
    if (broker === null) return client.destroy();
    const slots: Slot[] = [];
    const end = (): void => {
      this.#ends.delete(end);
      client.destroy();
      broker.destroy();
    };
    this.#ends.add(end);
    const silent = { onEnd: end, onDrain: () => undefined, onClose: end };
    const requests = new FrameReader(1e9);
    const answers = new FrameReader(1e9);
    const flush = (): void => {
      while (slots[0] !== undefined && slots[0].answer !== null) {
        client.write((slots.shift() as Slot).answer as Uint8Array[]);
      }
    };
    client.open({
      ...silent,
      onData: (bytes) => {
        for (const frame of framesOf(requests, bytes)) {
          const header = decodeRequestHeader(frame);
          this.came.set(header.apiKey, (this.came.get(header.apiKey) ?? 0) + 1);
          const rule = this.#rules.find(({ api }) => api.key === header.apiKey);
          const treatment = rule?.treat(decodeRequest(rule.api, header, frame), header.apiVersion) ?? "pass";
          if (treatment === "cut-before") return end();
          const slot: Slot = { header, rule, treatment, answer: null };
          slots.push(slot);
          const pass = (): void => void broker.write([lengthOf(frame), frame]);
          if (typeof treatment === "string" || "rewrite" in treatment) pass();
          else if ("echoMs" in treatment) {
            pass();
            this.#broker.scheduler.schedule(treatment.echoMs, () => this.#sendApart(frame));
          } else if ("heldMs" in treatment) this.#broker.scheduler.schedule(treatment.heldMs, pass);
          else {
            const api = (rule as Rule).api as Api<unknown, unknown>;
            slot.answer = encodeResponse(api, header.apiVersion, header.correlationId, treatment.answer);
            flush();
          }
        }
      },
    });
    broker.open({
      ...silent,
      onData: (bytes) => {
        for (const frame of framesOf(answers, bytes)) {
          const correlationId = Buffer.from(frame).readInt32BE(0);
          const slot = slots.find(({ header }) => header.correlationId === correlationId) as Slot;
          if (slot.treatment === "cut-after") return end();
          slot.answer = rewritten(slot, frame) ?? this.#rewrite(slot.header, frame);
          flush();
        }
      },
    });
  }

  #sendApart(frame: Uint8Array): void {
    const socket = this.#broker.network.connect(9092);
    if (socket === null) return;
    const ignore = (): void => undefined;
    socket.open({ onData: () => socket.destroy(), onEnd: ignore, onDrain: ignore, onClose: ignore });
    socket.write([lengthOf(frame), frame]);
  }

  /** Whoever is told where the broker is, is told of the door. */
  #rewrite(header: RequestHeader, frame: Uint8Array): readonly Uint8Array[] {
    const { apiVersion: version, correlationId } = header;
    const place = { host: "127.0.0.1", port: this.#port };
    if (header.apiKey === Metadata.key) {
      const answer = decodeResponse(Metadata, version, frame);
      const brokers = answer.brokers.map((each) => ({ ...each, ...place }));
      return encodeResponse(Metadata, version, correlationId, { ...answer, brokers });
    }
    if (header.apiKey === FindCoordinator.key) {
      const answer = decodeResponse(FindCoordinator, version, frame);
      const coordinators = answer.coordinators.map((each) => ({ ...each, ...place }));
      return encodeResponse(FindCoordinator, version, correlationId, { ...answer, coordinators });
    }
    return [lengthOf(frame), frame];
  }
}

function rewritten({ header, rule, treatment }: Slot, frame: Uint8Array): readonly Uint8Array[] | null {
  if (rule === undefined || typeof treatment === "string" || !("rewrite" in treatment)) return null;
  const api = rule.api as Api<unknown, unknown>;
  const answer = decodeResponse(api, header.apiVersion, frame);
  const other = treatment.rewrite(answer as never);
  return encodeResponse(api, header.apiVersion, header.correlationId, other);
}

function framesOf(reader: FrameReader, bytes: Uint8Array): readonly Uint8Array[] {
  const frames: Uint8Array[] = [];
  reader.push(bytes, frames);
  return frames;
}

function lengthOf(frame: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeInt32BE(frame.byteLength);
  return length;
}
