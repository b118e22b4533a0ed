/**
 * Two brokers as a client sees them, which are one simulated broker behind two doors: each passes frames
 * on, tells in Metadata who leads, and does to Produce requests what a test asks for. So a test can take
 * an answer away, refuse, cut, or move a leader, and the log behind is a real one.
 */
import { nodeId, NO_TOPIC_ID, offset } from "../src/base/ids.ts";
import type { Socket } from "../src/base/ports.ts";
import type { ErrorCode } from "../src/protocol/errors.ts";
import {
  decodeRequest,
  decodeRequestHeader,
  decodeResponse,
  encodeResponse,
  type RequestHeader,
} from "../src/protocol/frame.ts";
import { FrameReader } from "../src/protocol/frame-reader.ts";
import { ErrorCode as Code } from "../src/protocol/errors.ts";
import { Metadata } from "../src/protocol/messages/metadata.ts";
import { Produce, type ProduceRequest } from "../src/protocol/messages/produce.ts";
import type { SimulatedBroker } from "./simulated-broker.ts";

export type Meddling =
  | "pass"
  /** The broker gets the request, and the client no answer but the end of the connection. */
  | "cut-after"
  /** The connection ends before the broker gets anything. */
  | "cut-before"
  /** The broker gets the request, and the answer never comes. */
  | "swallow-answer"
  /** The broker gets nothing; every partition is answered with this. */
  | { readonly error: ErrorCode }
  /** The broker gets the request and carries it out; every partition is answered with this all the same. */
  | { readonly errorAfter: ErrorCode };

/** What waits for its turn: answers keep the order of their requests. */
interface Slot {
  readonly header: RequestHeader;
  readonly meddling: Meddling;
  answer: Uint8Array[] | null;
}

const ports = [7100, 7101] as const;

export class Meddler {
  readonly bootstrap = `127.0.0.1:${ports[0]}`;
  readonly #broker: SimulatedBroker;
  /** 0 or 1. The other refuses with NOT_LEADER_OR_FOLLOWER. */
  leader = 0;
  onProduce: (request: ProduceRequest, node: number) => Meddling = () => "pass";
  /** Produce requests that came, by node. */
  readonly produced = [0, 0];

  private constructor(broker: SimulatedBroker) {
    this.#broker = broker;
  }

  static async before(broker: SimulatedBroker): Promise<Meddler> {
    const meddler = new Meddler(broker);
    for (const [node, port] of ports.entries()) {
      await broker.network.listen({ host: "127.0.0.1", port }, (socket) => meddler.#accept(socket, node));
    }
    return meddler;
  }

  #accept(client: Socket, node: number): void {
    const broker = this.#broker.network.connect(9092);
    if (broker === null) return client.destroy();
    const slots: Slot[] = [];
    const end = (): void => {
      client.destroy();
      broker.destroy();
    };
    const silent = { onEnd: end, onDrain: () => undefined, onClose: end };
    const flush = (): void => {
      while (slots[0] !== undefined && slots[0].answer !== null)
        client.write((slots.shift() as Slot).answer as Uint8Array[]);
    };
    const requests = new FrameReader(1e9);
    const answers = new FrameReader(1e9);
    client.open({
      ...silent,
      onData: (bytes) => {
        const frames: Uint8Array[] = [];
        requests.push(bytes, frames);
        for (const frame of frames) {
          const header = decodeRequestHeader(frame);
          const meddling = header.apiKey === Produce.key ? this.#meddle(header, frame, node) : "pass";
          if (meddling === "cut-before") return end();
          const slot: Slot = { header, meddling, answer: null };
          slots.push(slot);
          if (typeof meddling === "object" && "error" in meddling) {
            slot.answer = refusal(header, decodeRequest(Produce, header, frame), meddling.error);
            flush();
          } else broker.write([lengthOf(frame), frame]);
        }
      },
    });
    broker.open({
      ...silent,
      onData: (bytes) => {
        const frames: Uint8Array[] = [];
        answers.push(bytes, frames);
        for (const frame of frames) {
          const slot = slots.find(
            (each) =>
              each.answer === null && (typeof each.meddling === "string" || "errorAfter" in each.meddling),
          ) as Slot;
          if (slot.meddling === "cut-after") return end();
          if (slot.meddling === "swallow-answer") slot.answer = [];
          else if (typeof slot.meddling === "object" && "errorAfter" in slot.meddling)
            slot.answer = refusalAfter(slot.header, frame, slot.meddling.errorAfter);
          else
            slot.answer =
              slot.header.apiKey === Metadata.key
                ? this.#rewrite(slot.header, frame)
                : [lengthOf(frame), frame];
          if (slot.meddling === "swallow-answer") return;
          flush();
        }
      },
    });
  }

  #meddle(header: RequestHeader, frame: Uint8Array, node: number): Meddling {
    this.produced[node] = (this.produced[node] ?? 0) + 1;
    if (node !== this.leader) return { error: Code.NOT_LEADER_OR_FOLLOWER };
    return this.onProduce(decodeRequest(Produce, header, frame), node);
  }

  #rewrite(header: RequestHeader, frame: Uint8Array): Uint8Array[] {
    const answer = decodeResponse(Metadata, header.apiVersion, frame);
    return encodeResponse(Metadata, header.apiVersion, header.correlationId, {
      ...answer,
      brokers: ports.map((port, node) => ({ nodeId: nodeId(node), host: "127.0.0.1", port, rack: null })),
      topics: answer.topics.map((topic) => ({
        ...topic,
        partitions: topic.partitions.map((each) => ({ ...each, leaderId: nodeId(this.leader) })),
      })),
    });
  }
}

function refusal(header: RequestHeader, request: ProduceRequest, errorCode: ErrorCode): Uint8Array[] {
  return encodeResponse(Produce, header.apiVersion, header.correlationId, {
    responses: request.topicData.map(({ name, topicId, partitionData }) => ({
      name,
      topicId: topicId ?? NO_TOPIC_ID,
      partitionResponses: partitionData.map(({ index }) => ({
        index,
        errorCode,
        baseOffset: offset(-1),
        logAppendTimeMs: -1,
        logStartOffset: offset(-1),
        recordErrors: [],
        errorMessage: null,
        currentLeader: { leaderId: nodeId(-1), leaderEpoch: -1 as never },
      })),
    })),
    throttleTimeMs: 0,
    nodeEndpoints: [],
  });
}

/** The broker's answer, with the error in place of each success. */
function refusalAfter(header: RequestHeader, frame: Uint8Array, errorCode: ErrorCode): Uint8Array[] {
  const answer = decodeResponse(Produce, header.apiVersion, frame);
  return encodeResponse(Produce, header.apiVersion, header.correlationId, {
    ...answer,
    responses: answer.responses.map((topic) => ({
      ...topic,
      partitionResponses: topic.partitionResponses.map((each) => ({
        ...each,
        errorCode,
        baseOffset: offset(-1),
      })),
    })),
  });
}

function lengthOf(frame: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeInt32BE(frame.byteLength);
  return length;
}
