/**
 * A broker of the room-level proof of take-overs: the real rooms between the journal and the partitions, put
 * together as `broker/cluster/member.ts` does it, without connections, groups and peers. Who is suspected, what
 * is moved and when somebody hears of the journal is decided by the story.
 */
import {
  type BrokerEpoch,
  nodeId,
  offset,
  partitionIndex,
  producerEpoch,
  producerId,
  type TopicId,
} from "../../src/base/ids.ts";
import { type Clock, type Env, type ObjectStore, sleep } from "../../src/base/ports.ts";
import { StoreBarrier } from "../../src/broker/cluster/barrier.ts";
import { Moves } from "../../src/broker/cluster/moves.ts";
import { Ownership } from "../../src/broker/cluster/ownership.ts";
import { TakeOver } from "../../src/broker/cluster/take-over.ts";
import { BrokerConfig } from "../../src/broker/config.ts";
import { garbageView } from "../../src/metadata/unneeded.ts";
import { Topics } from "../../src/broker/topics.ts";
import { sha256 } from "../../src/io/sha256.ts";
import { Flusher } from "../../src/log/flush.ts";
import { Garbage } from "../../src/log/garbage.ts";
import { ObjectNames } from "../../src/log/object-names.ts";
import { deleteSlots } from "../../src/log/object-wal-seal.ts";
import { ObjectWal } from "../../src/log/object-wal.ts";
import type { AppendOutcome } from "../../src/log/outcomes.ts";
import type { Partition } from "../../src/log/partition.ts";
import { Partitions } from "../../src/log/partitions.ts";
import { SegmentReader } from "../../src/log/segment-reader.ts";
import { Journal } from "../../src/metadata/journal.ts";
import { unneededSlots } from "../../src/metadata/unneeded.ts";
import { batchesIn, BatchView } from "../../src/record/batch.ts";
import { buildBatch } from "../../src/record/builder.ts";
import { recordsIn } from "../../src/record/record.ts";
import type { SimBucket } from "../../src/sim/bucket.ts";
import { simEnv } from "../../src/sim/env.ts";
import { SimProcess } from "../../src/sim/process.ts";
import type { SimRandom } from "../../src/sim/random.ts";
import type { Scheduler } from "../../src/sim/scheduler.ts";
import type { Trace } from "../../src/sim/trace.ts";

export interface SmallBrokerOptions {
  readonly number: number;
  readonly scheduler: Scheduler;
  readonly random: SimRandom;
  readonly trace: Trace;
  readonly bucket: SimBucket;
  readonly lanes: number;
  readonly unreleasedSlotsMax: number;
  readonly chapterSlots: number;
  readonly flushAgeMs: number;
  /** So many times as often as in earnest it is looked whether something is to be moved. */
  readonly moveHaste: number;
  /** So long a segment is on its way before the store hears of it: partitions come and go meanwhile. */
  readonly uploadMs: number;
  /** Epochs of the brokers that answer, as the story has it. */
  readonly answering: () => ReadonlySet<BrokerEpoch>;
  /** It ended by itself. */
  readonly onEnd: (cause: Error) => void;
}

/** One record of one producer, to be appended by whoever serves the partition. */
export interface Attempt {
  readonly partition: number;
  readonly producer: number;
  readonly sequence: number;
  readonly value: string;
}

const tailBounds = { unflushedBytesMax: 1 << 20, heldBytesMax: 2_000 };
const cacheBytes = 1 << 16;

export class SmallBroker {
  readonly process: SimProcess;
  readonly journal: Journal;
  readonly epoch: BrokerEpoch;
  readonly takeOver: TakeOver;
  readonly #options: SmallBrokerOptions;
  readonly #env: Env;
  readonly #store: ObjectStore;
  readonly #partitions: Partitions;
  readonly #wal: ObjectWal;
  readonly #flusher: Flusher;
  readonly #barrier: StoreBarrier;
  readonly #garbage: Garbage;
  readonly #ownership: Ownership;

  private constructor(
    options: SmallBrokerOptions,
    process: SimProcess,
    env: Env,
    store: ObjectStore,
    journal: Journal,
  ) {
    this.#options = options;
    this.process = process;
    this.#env = env;
    this.#store = store;
    this.journal = journal;
    const epoch = journal.epoch as BrokerEpoch;
    this.epoch = epoch;
    const { clusterId } = journal.state;
    const end = (cause: Error): void => this.end(cause);
    const { log } = env;
    const cold = new SegmentReader({
      store,
      log,
      blockBytesMax: cacheBytes,
      indexBytesMax: cacheBytes,
      refresh: () => journal.catchUp(),
    });
    this.#partitions = new Partitions(tailBounds, end);
    this.#wal = new ObjectWal({
      ...env,
      store,
      clusterId,
      epoch,
      lanes: options.lanes,
      unreleasedSlotsMax: options.unreleasedSlotsMax,
      events: {
        onDurable: (group) => {
          this.#partitions.onDurable(group);
          this.#flusher.noticeDurable();
          this.#barrier.noticeDurable();
        },
        onFailure: (cause) => this.#partitions.onFailure(cause),
      },
    });
    const wal = this.#wal;
    const partitions = this.#partitions;
    partitions.attach(wal);
    const config = new BrokerConfig(new Map());
    const topics = new Topics({ journal, partitions, cold, config, random: env.random, log });
    topics.follow();
    const names = new ObjectNames(clusterId, epoch);
    this.#flusher = new Flusher({
      env,
      store,
      names,
      index: cold.index,
      wal: {
        get durablePosition() {
          return wal.durablePosition;
        },
        release: (below) => {
          partitions.release(below);
          wal.release(below);
        },
      },
      sources: () => partitions.serving(),
      publishFlush: async (flush) => {
        const outcome = await journal.append({ kind: "flush", ...flush });
        return outcome.kind === "applied" ? "published" : "void";
      },
      publishFold: async (fold) => {
        const outcome = await journal.append({ kind: "fold", ...fold });
        return outcome.kind === "applied" ? "published" : "void";
      },
      unflushedBytes: () => partitions.tail.unflushedBytes,
      unflushedBytesTrigger: 1 << 19,
      isAwaited: () => partitions.tail.waiting > 0,
      ageMs: options.flushAgeMs,
      onFailure: end,
    });
    const flusher = this.#flusher;
    const answering = (): ReadonlySet<BrokerEpoch> => new Set(options.answering()).add(epoch);
    this.#ownership = new Ownership({
      env,
      store,
      journal,
      partitions,
      topics,
      index: cold.index,
      onLoaded: () => flusher.noticeLoaded(),
      onFailure: end,
    });
    this.takeOver = new TakeOver({
      env,
      store,
      journal,
      ownership: this.#ownership,
      answering,
      onFailure: end,
    });
    const hastyEnv = { ...env, clock: hasty(env.clock, options.moveHaste) };
    const moves = new Moves({ env: hastyEnv, journal, partitions, wal, flusher, answering, onFailure: end });
    this.#barrier = new StoreBarrier({ wal, journal, clock: env.clock, isMoving: () => moves.isOpen });
    this.#garbage = new Garbage({
      env,
      store,
      index: cold.index,
      view: () => garbageView(journal.state),
      graceMs: 0,
      intervalMs: 1e9,
      isUrgent: () => true,
      onFailure: end,
    });
    journal.onFailure(end);
    journal.onFenced(end);
    journal.follow();
    this.#ownership.start();
    this.takeOver.start();
    moves.start();
    flusher.start();
  }

  /** Rejects when its journal cannot be opened; null when it is killed before. */
  static async start(options: SmallBrokerOptions): Promise<SmallBroker> {
    const { number, scheduler, random, trace, bucket, chapterSlots } = options;
    const process = new SimProcess(`broker ${number}`, scheduler);
    const env = simEnv({ clock: process.clock, random: random.fork(`broker-${number}`), trace });
    const store = withSlowUploads(bucket.connect(process), process.clock, options.uploadMs);
    const journal = await Journal.open({
      store,
      env,
      sha256,
      walKind: "object",
      chapterSlots,
      snapshotBytesMin: 1_000,
    });
    await journal.register({
      nodeId: nodeId(-1),
      rack: null,
      listeners: [{ name: "PLAINTEXT", host: "127.0.0.1", port: 9000 + number }],
      window: options.lanes,
      software: "test",
      name: `127.0.0.1:${9000 + number}`,
    });
    return new SmallBroker(options, process, env, store, journal);
  }

  get isAlive(): boolean {
    return !this.process.isDead;
  }

  /** Its last step: nothing reaches it any more, and what it sent may still land. */
  end(cause: Error): void {
    if (this.process.isDead) return;
    this.process.kill();
    this.#options.onEnd(cause);
  }

  partition(topic: TopicId, index: number): Partition | undefined {
    return this.#partitions.get(topic, partitionIndex(index));
  }

  get isSettled(): boolean {
    return this.#ownership.isSettled;
  }

  /**
   * What a producer is answered: an offset once it is durable, a refusal once it is sure; null: it should ask
   * somebody else. Does not settle when this process dies before.
   */
  async produce(
    topic: TopicId,
    { partition: index, producer, sequence, value }: Attempt,
  ): Promise<AppendOutcome | null> {
    const partition = this.partition(topic, index);
    if (partition?.takesAppends !== true) return null;
    const mark = this.#barrier.mark();
    const batch = buildBatch([{ value, timestamp: 1_000 }], {
      producerId: producerId(producer),
      producerEpoch: producerEpoch(0),
      baseSequence: sequence,
    });
    const outcome = this.#append(partition, batch);
    if (outcome === null) return null;
    await this.#wal.whenDurable(outcome.walNumber);
    if (outcome.kind !== "appended" && outcome.kind !== "duplicate") await this.#barrier.pass(mark);
    return outcome;
  }

  #append(partition: Partition, batch: Uint8Array): AppendOutcome | null {
    try {
      const session = this.#partitions.begin();
      const outcome = partition.append(session, BatchView.at(batch), this.#env.clock.wallMs());
      session.commit();
      return outcome;
    } catch (cause) {
      this.end(cause as Error);
      return null;
    }
  }

  /** Records from an offset on, as a fetch gives them at once; null: not served here. */
  async read(
    topic: TopicId,
    index: number,
    from: number,
  ): Promise<{
    readonly records: readonly { readonly offset: number; readonly value: string }[];
    readonly end: number;
  } | null> {
    const partition = this.partition(topic, index);
    if (partition?.isServing !== true) return null;
    const outcome = await partition.read({ offset: offset(from), bytesMax: 1 << 20, orOneBatch: true });
    if (outcome.kind !== "read") return null;
    const records = [];
    for (const chunk of outcome.chunks) {
      for (const batch of batchesIn(chunk)) {
        for (const record of recordsIn(batch, 1e9)) {
          records.push({ offset: record.offset, value: Buffer.from(record.value ?? []).toString() });
        }
      }
    }
    return { records, end: outcome.highWatermark };
  }

  /** The end of a partition, as ListOffsets answers it; null: not served here, or no longer ours. */
  async endOffset(topic: TopicId, index: number, pauseMs: number): Promise<number | null> {
    const mark = this.#barrier.mark();
    const partition = this.partition(topic, index);
    if (partition?.isServing !== true) return null;
    const end = partition.highWatermark;
    // As an answer that is looked up in segments.
    if (pauseMs > 0) await new Promise<void>((resume) => this.#env.clock.schedule(pauseMs, resume));
    try {
      await this.#barrier.pass(mark);
    } catch {
      return null;
    }
    return end;
  }

  async flush(): Promise<void> {
    await this.#flusher.flush().catch(() => undefined);
  }

  /** Deletes what the journal, as it is known here, says that nobody needs. */
  async collectGarbage(): Promise<void> {
    const { state } = this.journal;
    for (const [epoch, { below, sealedAt }] of unneededSlots(state)) {
      await deleteSlots({ store: this.#store, epoch }, below, sealedAt).catch(retriable);
    }
    await this.#garbage.round().catch(retriable);
  }
}

/** Segments, and nothing else, arrive late. */
function withSlowUploads(store: ObjectStore, clock: Clock, uploadMs: number): ObjectStore {
  if (uploadMs === 0) return store;
  return {
    ...store,
    putIfAbsent: async (key, chunks, length) => {
      if (key.startsWith("seg/")) await sleep(clock, uploadMs);
      return store.putIfAbsent(key, chunks, length);
    },
  };
}

/** A clock that goes `factor` times as fast. */
function hasty(clock: Clock, factor: number): Clock {
  return {
    wallMs: () => clock.wallMs(),
    monotonicMs: () => clock.monotonicMs() * factor,
    schedule: (delayMs, run) => clock.schedule(delayMs / factor, run),
  };
}

function retriable(cause: unknown): void {
  if (!(cause instanceof Error && "retriable" in cause && cause.retriable === true)) throw cause;
}
