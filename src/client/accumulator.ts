/**
 * Where records become batches: chooses the partition, encodes the record into the partition's open batch,
 * and keeps all of it within the producer's buffer. A record that finds no room, or whose topic is not
 * known yet, waits in a line, in order; when the line is full too, it is refused at once.
 */
import type { Timer } from "../base/ports.ts";
import { BatchWriter, headersLength, recordOverheadMax } from "../record/batch-writer.ts";
import { Batch } from "./batch.ts";
import type { Cluster } from "./cluster.ts";
import {
  BufferFullError,
  ClosedError,
  DeadlineError,
  DeliveryError,
  OptionError,
  RecordTooLargeError,
  UnknownPartitionError,
} from "./errors.ts";
import { Lane } from "./lane.ts";
import { copyOf, headersOf, noHeaders, sizeOf } from "./outgoing-record.ts";
import { partitionOfKey, StickyChoice } from "./partitioner.ts";
import type { ProducerSettings } from "./producer-settings.ts";
import type { Bytes, OutgoingRecord } from "./records.ts";
import type { Sender } from "./sender.ts";

/** Where a record went. */
export interface Place {
  readonly batch: Batch;
  readonly index: number;
  readonly timestampMs: number;
}

/** Who is told what becomes of a record that waits: one of the two, once and synchronously. */
export interface Waiter {
  placed(place: Place): void;
  refused(cause: Error): void;
}

interface Waiting {
  readonly record: OutgoingRecord;
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly waiter: Waiter;
}

class TopicLanes {
  readonly name: string;
  readonly lanes: Lane[] = [];
  readonly sticky: StickyChoice;
  /** Before the topic is known: what waits for that. Null afterwards. */
  waiting: Waiting[] | null = [];

  constructor(name: string, sticky: StickyChoice) {
    this.name = name;
    this.sticky = sticky;
  }
}

/** How often deadlines are looked at. */
const sweepMsMax = 1_000;
/** Keys up to this size are encoded here to be hashed; others on their own. */
const keyScratch = Buffer.alloc(1024);

export class Accumulator {
  readonly #cluster: Cluster;
  readonly #settings: ProducerSettings;
  readonly #sender: Sender;
  readonly #topics = new Map<string, TopicLanes>();
  /** Records for which there is no room, in order. */
  #line: Waiting[] = [];
  /** Of all that waits, here and for topics. */
  #waitingBytes = 0;
  #usedBytes = 0;
  readonly #lingering: { readonly batch: Batch; readonly dueMs: number }[] = [];
  #linger: Timer | null = null;
  #sweep: Timer | null = null;
  #flushing = 0;
  #roomListeners: (() => void)[] = [];

  constructor(cluster: Cluster, settings: ProducerSettings, sender: Sender) {
    this.#cluster = cluster;
    this.#settings = settings;
    this.#sender = sender;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }
  /** Bytes of records that found no room yet. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }
  /** Records that wait for their topic count: they will want the room that is left. */
  get hasRoom(): boolean {
    return this.#line.length === 0 && this.#usedBytes + this.#waitingBytes < this.#settings.bufferBytes;
  }

  /** Resolves when there is room. */
  room(): Promise<void> {
    if (this.hasRoom) return Promise.resolve();
    return new Promise((resolve) => this.#roomListeners.push(resolve));
  }

  /**
   * The batch that took the record, as its last one; null when it has to wait (`wait`). Throws
   * `DeliveryError` when it can never go, `OptionError` when it is no record.
   */
  append(record: OutgoingRecord, timestampMs: number): Batch | null {
    const topic = this.#topics.get(record.topic);
    if (topic === undefined || topic.waiting !== null || this.#line.length > 0) return null;
    return this.#append(topic, record, timestampMs);
  }

  /**
   * Puts the record into the line of its topic or of the buffer; refuses what `append` throws. A line that
   * is not full takes a record of any size, so that nobody is refused who asked for room before.
   */
  wait(record: OutgoingRecord, waiter: Waiter): void {
    const { bufferBytes, deliveryTimeoutMs } = this.#settings;
    let bytes: number;
    try {
      bytes = this.#bytesOf(record);
    } catch (cause) {
      waiter.refused(cause as Error);
      return;
    }
    if (this.#waitingBytes >= bufferBytes) {
      const cause = new BufferFullError(
        `the producer's buffer and the line before it are full (bufferBytes is ${bufferBytes}); wait for ready() or for earlier records before sending more`,
      );
      waiter.refused(refused(record, cause));
      return;
    }
    const deadlineMs = this.#nowMs + deliveryTimeoutMs;
    const waiting: Waiting = { record: copyOf(record), bytes, deadlineMs, waiter };
    this.#waitingBytes += bytes;
    this.#armSweep();
    const topic = this.#topic(record.topic);
    if (topic.waiting !== null) topic.waiting.push(waiting);
    else {
      this.#line.push(waiting);
      this.#drainLine();
    }
  }

  /** A batch takes so many bytes more, or less. */
  charge(bytes: number): void {
    this.#usedBytes += bytes;
    if (bytes >= 0) return;
    if (this.#line.length > 0) this.#drainLine();
    this.#tellRoom();
  }

  /** Until the returned function is called, no batch waits for others to join it. */
  beginFlush(): () => void {
    this.#flushing++;
    for (const { lanes } of this.#topics.values()) for (const lane of lanes) this.#hurry(lane);
    return () => {
      this.#flushing--;
    };
  }

  /** Whether records wait for room or for their topic. */
  get isWaiting(): boolean {
    return this.#waitingBytes > 0;
  }

  /** Refuses what waits in lines. */
  close(): void {
    this.#linger?.cancel();
    this.#sweep?.cancel();
    this.abandon(new ClosedError("The producer was closed."));
  }

  /** Refuses what waits in lines now. */
  abandon(cause: Error): void {
    this.#refuseUnless(() => false, cause);
  }

  /** The topic is not there any more: who sends to it next asks for it again. */
  forget(topic: string): void {
    this.#topics.delete(topic);
  }

  #armSweep(): void {
    const everyMs = Math.max(1, Math.min(sweepMsMax, this.#settings.deliveryTimeoutMs / 10));
    this.#sweep ??= this.#cluster.settings.clock.schedule(everyMs, () => {
      this.#sweep = null;
      this.#expire();
      if (this.isWaiting) this.#armSweep();
    });
  }

  /** Gives up what has waited longer than its deadline. */
  #expire(): void {
    const nowMs = this.#nowMs;
    const cause = new DeadlineError(
      `it found no room in the buffer within ${this.#settings.deliveryTimeoutMs} ms (deliveryTimeoutMs), since the broker takes no records at the moment`,
    );
    this.#refuseUnless(({ deadlineMs }) => deadlineMs > nowMs, cause);
  }

  #refuseUnless(stays: (each: Waiting) => boolean, cause: Error): void {
    const keep = (each: Waiting): boolean => {
      if (stays(each)) return true;
      this.#refuse(each, cause);
      return false;
    };
    this.#line = this.#line.filter(keep);
    for (const topic of this.#topics.values()) {
      if (topic.waiting !== null) topic.waiting = topic.waiting.filter(keep);
    }
    this.#tellRoom();
  }

  // ── Records into batches ──

  #append(topic: TopicLanes, record: OutgoingRecord, timestampMs: number): Batch | null {
    const key = record.key ?? null;
    const value = record.value ?? null;
    const keyBytes = sizeOf("key", key);
    const valueBytes = sizeOf("value", value);
    const headers = record.headers === undefined ? noHeaders : headersOf(record.headers);
    const bytes =
      recordOverheadMax + keyBytes + valueBytes + (headers === noHeaders ? 0 : headersLength(headers));
    this.#checkSize(record, bytes);
    if (this.#usedBytes + bytes > this.#settings.bufferBytes && this.#usedBytes > 0) return null;
    const count = topic.lanes.length;
    const partition = record.partition ?? this.#choose(topic, key, keyBytes, bytes);
    const lane = topic.lanes[partition];
    if (lane === undefined) throw refused(record, new UnknownPartitionError(topic.name, partition, count));
    let batch = lane.open;
    if (batch === null || !batch.writer.fits(bytes)) {
      if (batch !== null) {
        batch.closed = true;
        lane.sizeHint = batch.writer.size;
      }
      batch = this.#openBatch(lane);
    }
    const { writer } = batch;
    writer.append(key, keyBytes, value, valueBytes, headers, timestampMs);
    const growth = writer.capacity - batch.chargedBytes;
    batch.chargedBytes += growth;
    this.#usedBytes += growth;
    if (!lane.queued && (lane.due || lane.waiting.length > 1)) this.#sender.enqueue(lane);
    return batch;
  }

  /** Of a record that is to wait, as `#append` counts. Throws `OptionError`, and `DeliveryError` when it is too large. */
  #bytesOf(record: OutgoingRecord): number {
    if (typeof record.topic !== "string" || record.topic === "") {
      throw new OptionError("a record needs the name of a topic.");
    }
    const headers = record.headers === undefined ? noHeaders : headersOf(record.headers);
    const bytes =
      recordOverheadMax + sizeOf("key", record.key) + sizeOf("value", record.value) + headersLength(headers);
    this.#checkSize(record, bytes);
    return bytes;
  }

  #checkSize(record: OutgoingRecord, bytes: number): void {
    const { recordBytesMax } = this.#settings;
    if (bytes <= recordBytesMax) return;
    throw refused(
      record,
      new RecordTooLargeError(
        `it has ${bytes} bytes, more than the ${recordBytesMax} that this producer takes (recordBytesMax)`,
      ),
    );
  }

  #openBatch(lane: Lane): Batch {
    const { batchBytes, deliveryTimeoutMs, lingerMs } = this.#settings;
    const nowMs = this.#nowMs;
    const batch = new Batch(lane, new BatchWriter(batchBytes, lane.sizeHint), nowMs + deliveryTimeoutMs);
    lane.sizeHint = 0;
    lane.waiting.push(batch);
    this.#usedBytes += batch.chargedBytes;
    this.#sender.track(batch);
    if (lingerMs === 0 || this.#flushing > 0) lane.due = true;
    else {
      this.#lingering.push({ batch, dueMs: nowMs + lingerMs });
      this.#armLinger();
    }
    return batch;
  }

  #choose(topic: TopicLanes, key: Bytes | null, keyBytes: number, bytes: number): number {
    const count = topic.lanes.length;
    const { partitioner } = this.#settings;
    if (partitioner !== null) {
      const encoded = typeof key === "string" ? Buffer.from(key, "utf8") : key;
      return partitioner(topic.name, encoded, count);
    }
    if (count === 1) return 0;
    if (key === null) {
      return topic.sticky.next(bytes, count, (partition) => this.#hasLeader(topic.name, partition));
    }
    if (typeof key !== "string") return partitionOfKey(key, count);
    if (keyBytes > keyScratch.byteLength) return partitionOfKey(Buffer.from(key, "utf8"), count);
    keyScratch.write(key, 0, keyBytes, "utf8");
    return partitionOfKey(keyScratch, count, keyBytes);
  }

  #hasLeader(topic: string, partition: number): boolean {
    return (this.#cluster.peek(topic)?.partitions[partition]?.leader ?? -1) >= 0;
  }

  #hurry(lane: Lane): void {
    if (lane.waiting.length === 0) return;
    lane.due = true;
    this.#sender.enqueue(lane);
  }

  #armLinger(): void {
    if (this.#linger !== null) return;
    const first = this.#lingering[0];
    if (first === undefined) return;
    this.#linger = this.#cluster.settings.clock.schedule(Math.max(0, first.dueMs - this.#nowMs), () => {
      this.#linger = null;
      const nowMs = this.#nowMs;
      let passed = 0;
      for (const { batch, dueMs } of this.#lingering) {
        if (dueMs > nowMs) break;
        passed++;
        if (batch.lane.open === batch) this.#hurry(batch.lane);
      }
      this.#lingering.splice(0, passed);
      this.#armLinger();
    });
  }

  // ── Lines ──

  get #nowMs(): number {
    return this.#cluster.settings.clock.monotonicMs();
  }

  #drainLine(): void {
    let passed = 0;
    for (const each of this.#line) {
      if (!this.#place(each)) break;
      passed++;
    }
    if (passed > 0) this.#line.splice(0, passed);
  }

  /** False: there is no room yet. */
  #place(waiting: Waiting): boolean {
    const { record, bytes, waiter } = waiting;
    const topic = this.#topic(record.topic);
    if (topic.waiting !== null) {
      // Its topic was deleted meanwhile, and may be another one soon.
      topic.waiting.push(waiting);
      return true;
    }
    const timestampMs = record.timestampMs ?? this.#cluster.settings.clock.wallMs();
    let batch: Batch | null;
    try {
      batch = this.#append(topic, record, timestampMs);
    } catch (cause) {
      this.#waitingBytes -= bytes;
      waiter.refused(cause as Error);
      return true;
    }
    if (batch === null) return false;
    this.#waitingBytes -= bytes;
    waiter.placed({ batch, index: batch.recordCount - 1, timestampMs });
    return true;
  }

  #tellRoom(): void {
    if (this.#roomListeners.length === 0 || !this.hasRoom) return;
    for (const listener of this.#roomListeners.splice(0)) listener();
  }

  #topic(name: string): TopicLanes {
    let topic = this.#topics.get(name);
    if (topic === undefined) {
      topic = new TopicLanes(
        name,
        new StickyChoice(this.#cluster.settings.random, this.#settings.batchBytes),
      );
      this.#topics.set(name, topic);
      void this.#learn(topic);
    }
    return topic;
  }

  async #learn(topic: TopicLanes): Promise<void> {
    const { deliveryTimeoutMs, createTopics } = this.#settings;
    try {
      await this.#cluster.topic(topic.name, { searchMs: deliveryTimeoutMs, create: createTopics });
      this.grow();
      const waiting = topic.waiting ?? [];
      topic.waiting = null;
      // Not spread into a call: as many arguments as may wait here are more than a stack holds.
      this.#line = this.#line.concat(waiting);
      this.#drainLine();
    } catch (cause) {
      this.#topics.delete(topic.name);
      for (const each of topic.waiting ?? []) this.#refuse(each, cause as Error);
    }
    this.#tellRoom();
  }

  /** Makes lanes for partitions that were added. */
  grow(): void {
    for (const topic of this.#topics.values()) {
      const count = this.#cluster.peek(topic.name)?.partitions.length ?? 0;
      for (let index = topic.lanes.length; index < count; index++)
        topic.lanes.push(new Lane(topic.name, index));
    }
  }

  #refuse(each: Waiting, cause: Error): void {
    this.#waitingBytes -= each.bytes;
    each.waiter.refused(refused(each.record, cause));
  }
}

/** Of a record that was never put into a batch. */
export function refused(record: OutgoingRecord, cause: Error): DeliveryError {
  const { topic, partition = -1 } = record;
  return new DeliveryError({ fate: "not-written", topic, partition, recordCount: 1, cause });
}
