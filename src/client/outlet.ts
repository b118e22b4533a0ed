/**
 * One broker as a producer sees it: the partitions that have something to send there, and the requests on
 * their way. Puts many partitions' batches into one request, keeps a few requests under way, and tells the
 * sender what became of each batch; what that means is decided there.
 */
import { NO_TOPIC_ID, partitionIndex, type NodeId, type TopicId } from "../base/ids.ts";
import { Produce, type ProduceRequest, type ProduceResponse } from "../protocol/messages/produce.ts";
import type { Batch } from "./batch.ts";
import type { Cluster } from "./cluster.ts";
import type { Connection } from "./connection.ts";
import type { Lane } from "./lane.ts";
import type { Links } from "./links.ts";
import type { ProducerSettings } from "./producer-settings.ts";

export type PartitionAnswer = ProduceResponse["responses"][number]["partitionResponses"][number];

/** Who decides. All of it is called synchronously. */
export interface OutletEvents {
  /** Newer versions of Produce would mean something else. */
  readonly produceVersionMax: number;
  /** The next batch of the lane, on its way now; null: nothing can go, and the lane sees to it that it is queued again. */
  take(lane: Lane, node: NodeId, bytesLeft: number): Batch | null;
  answered(batch: Batch, answer: PartitionAnswer): void;
  /** Nobody knows whether the broker wrote it. */
  lost(batch: Batch, cause: Error): void;
  /** It never left. */
  unsent(batch: Batch, cause: Error): void;
  /** Acks 0: it left, and there will be no answer. */
  posted(batch: Batch): void;
  /** No request is on its way there. */
  idle(): void;
  /** The broker cannot be reached; tried again after a pause. */
  unreachable(lanes: readonly Lane[], cause: Error): void;
}

/** Topics by id, and none by name (KIP-516). */
const topicIdVersion = 13;

interface SentTopic {
  readonly name: string;
  readonly topicId: TopicId;
  readonly partitionData: { index: ReturnType<typeof partitionIndex>; records: Uint8Array[] }[];
  readonly batches: Map<number, Batch>;
}

export class Outlet {
  readonly node: NodeId;
  /** Lanes that may have something to send, each once (`lane.queued`). */
  readonly #queue: Lane[] = [];
  readonly #cluster: Cluster;
  readonly #links: Links;
  readonly #settings: ProducerSettings;
  readonly #events: OutletEvents;
  #inFlight = 0;
  #pumping = false;
  #connecting = false;

  constructor(
    node: NodeId,
    parts: { cluster: Cluster; links: Links; settings: ProducerSettings; events: OutletEvents },
  ) {
    this.node = node;
    this.#cluster = parts.cluster;
    this.#links = parts.links;
    this.#settings = parts.settings;
    this.#events = parts.events;
  }

  /** Requests that are on their way. */
  get inFlight(): number {
    return this.#inFlight;
  }

  push(lane: Lane): void {
    lane.queued = true;
    this.#queue.push(lane);
    this.pumpSoon();
  }

  /** When this turn's work is done, so that what it sends goes together. */
  pumpSoon(): void {
    if (this.#pumping || this.#inFlight >= this.#settings.inFlightMax) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      this.pump();
    });
  }

  /** Takes all lanes out of the queue. */
  drain(): Lane[] {
    const lanes = this.#queue.splice(0);
    for (const lane of lanes) lane.queued = false;
    return lanes;
  }

  pump(): void {
    if (this.#queue.length === 0) return;
    const broker = this.#cluster.broker(this.node);
    const connection = broker === undefined ? null : this.#links.peek(broker);
    if (connection === null) return this.#connect();
    while (this.#inFlight < this.#settings.inFlightMax && connection.isOpen) {
      const batches = this.#assemble();
      if (batches.length === 0) return;
      this.#send(connection, batches);
    }
  }

  #connect(): void {
    if (this.#connecting) return;
    const broker = this.#cluster.broker(this.node);
    if (broker === undefined) {
      this.#events.unreachable(this.drain(), new Error(`broker ${this.node} is not in the cluster any more`));
      return;
    }
    this.#connecting = true;
    this.#links.to(broker).then(
      () => {
        this.#connecting = false;
        this.pump();
      },
      (cause: unknown) => {
        this.#connecting = false;
        this.#events.unreachable(this.drain(), cause as Error);
      },
    );
  }

  #assemble(): Batch[] {
    const batches: Batch[] = [];
    let bytes = 0;
    for (let left = this.#queue.length; left > 0; left--) {
      const lane = this.#queue[0] as Lane;
      const bytesLeft = batches.length === 0 ? Number.POSITIVE_INFINITY : this.#settings.requestBytes - bytes;
      if (bytesLeft <= 0) break;
      this.#queue.shift();
      lane.queued = false;
      const batch = this.#events.take(lane, this.node, bytesLeft);
      if (batch === null) continue;
      bytes += batch.bytes.byteLength;
      batches.push(batch);
    }
    return batches;
  }

  #send(connection: Connection, batches: readonly Batch[]): void {
    let version: number;
    const topics = new Map<string, SentTopic>();
    for (const batch of batches) {
      const { topic: name, partition } = batch.lane;
      let topic = topics.get(name);
      if (topic === undefined) {
        const topicId = this.#cluster.peek(name)?.id ?? NO_TOPIC_ID;
        topics.set(name, (topic = { name, topicId, partitionData: [], batches: new Map() }));
      }
      topic.partitionData.push({ index: partitionIndex(partition), records: [batch.bytes] });
      topic.batches.set(partition, batch);
    }
    const topicData = [...topics.values()];
    const hasIds = topicData.every(({ topicId }) => topicId !== NO_TOPIC_ID);
    const versionMax = Math.min(
      hasIds ? Produce.versions[1] : topicIdVersion - 1,
      this.#events.produceVersionMax,
    );
    try {
      version = connection.versionOf(Produce, versionMax);
    } catch (cause) {
      for (const batch of batches) this.#events.unsent(batch, cause as Error);
      return;
    }
    const timeoutMs = this.#cluster.settings.requestTimeoutMs;
    const request: ProduceRequest = {
      transactionalId: this.#settings.transactionalId,
      acks: this.#settings.acks,
      timeoutMs,
      topicData,
    };
    const options = { versionMax: version, timeoutMs };
    this.#inFlight++;
    const done = (settle: () => void): void => {
      this.#inFlight--;
      settle();
      this.pump();
      if (this.#inFlight === 0) this.#events.idle();
    };
    const failed = (cause: unknown): void =>
      done(() => {
        for (const batch of batches) this.#events.lost(batch, cause as Error);
      });
    if (this.#settings.acks === 0) {
      connection
        .post(Produce, request, options)
        .then(() => done(() => batches.forEach((batch) => this.#events.posted(batch))), failed);
      return;
    }
    const byId = version >= topicIdVersion;
    connection
      .call(Produce, request, options)
      .then((answer) => done(() => this.#answer(answer, topics, byId)), failed);
  }

  #answer(answer: ProduceResponse, topics: ReadonlyMap<string, SentTopic>, byId: boolean): void {
    const sent = byId
      ? new Map([...topics.values()].map((topic) => [topic.topicId as string, topic]))
      : topics;
    for (const { name, topicId, partitionResponses } of answer.responses) {
      const batches = sent.get(byId ? topicId : name)?.batches;
      for (const each of partitionResponses) {
        const batch = batches?.get(each.index);
        if (batch === undefined) continue;
        batches?.delete(each.index);
        this.#events.answered(batch, each);
      }
    }
    for (const { batches } of topics.values()) {
      for (const batch of batches.values())
        this.#events.lost(batch, new Error("the answer did not name the partition"));
    }
  }
}
