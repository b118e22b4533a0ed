/**
 * The dead letters of one share-partition: from records that died to records that are archived. Where the state and
 * a partition of the dead-letter topic are both here, the letters and what archives their records are one frame of
 * the log (I4): a crash leaves both or neither. Else it takes three steps, each durable before the next (I1): the
 * intention with the producer and sequence that the letters will have, the letters, the end; whoever loads an
 * intention goes on from there, and a letter that is there already is a duplicate and not a second one. No record
 * disappears: while letters cannot be written, their records wait, and are told of.
 */
import { assert } from "../../base/assert.ts";
import { offset, type Offset, type ProducerId } from "../../base/ids.ts";
import { type Env, sleep } from "../../base/ports.ts";
import type { DeadRecords } from "../../coordinator/share/delivery/state.ts";
import type { LetterIdentity, StateBatch } from "../../coordinator/share/state-batch.ts";
import type { AppendSession } from "../../log/memory-tail.ts";
import type { ReadOutcome } from "../../log/outcomes.ts";
import type { Partition } from "../../log/partition.ts";
import type { Wal } from "../../log/wal.ts";
import type { TopicState } from "../../metadata/state.ts";
import { batchesIn, BatchView } from "../../record/batch.ts";
import type { Peers } from "../cluster/cluster.ts";
import type { ProducerIds } from "../producer-ids.ts";
import { type Author, bytesOfLetters, type LetterBatch, letterBatch, recordsFrom } from "./letter-batch.ts";
import { carryLetters, type Carried } from "./letter-carrier.ts";
import { letterPartitionHere, type LetterRoom, letterTopicOf } from "./letter-topic.ts";
import type { SharePartitionKey, SharePersister } from "./persister.ts";
import type { ShareSettings } from "./settings.ts";
import type { ShareMetrics } from "./share-metrics.ts";
import type { Persisted } from "./state-line.ts";

export interface LetterServices extends LetterRoom {
  readonly env: Pick<Env, "clock" | "log">;
  readonly wal: Wal;
  readonly peers: Peers;
  readonly producerIds: ProducerIds;
  readonly persister: SharePersister;
}

export interface DeadLettersOptions {
  readonly key: SharePartitionKey;
  readonly source: Partition;
  readonly services: LetterServices;
  readonly settings: () => ShareSettings;
  readonly metrics: ShareMetrics;
  /** Their letters are written, or about to be in the same frame. */
  readonly archive: (first: number, last: number) => void;
  /** What was decided leaves; resolves when it is durable. */
  readonly settle: () => Promise<Persisted>;
  readonly isOver: () => boolean;
}

interface Dead extends DeadRecords {
  /** As whom its letters are written: then they are one batch, and no other. */
  readonly letter: LetterIdentity | null;
}

/** Letters that go into the frame of the state's next change. */
export interface ReadyLetters {
  readonly first: number;
  readonly last: number;
  readonly attach: (session: AppendSession) => void;
}

const batchBytesMax = 512 * 1024;
/** Of one batch with an identity: records that are read again must be the same. */
const readBytes = 1024 * 1024;
const retryMsMin = 50;
const retryMsMax = 5_000;
/** What is in the way is told once in so long. */
const complaintMs = 60_000;

export class DeadLetters {
  readonly #options: DeadLettersOptions;
  /** In the order in which they died; as many as are archiving. */
  #queue: Dead[] = [];
  /** Letters of the first of them, read ahead. */
  #prepared: LetterBatch | null = null;
  /** An intention that is not kept yet. */
  #intention: StateBatch | null = null;
  /** One for all letters of this share-partition, with their next sequence. */
  #author: { readonly producerId: ProducerId; sequence: number } | null = null;
  #isCarrying = false;
  #complainedMs = -Infinity;

  constructor(options: DeadLettersOptions) {
    this.#options = options;
  }

  /** `kept`: what the state said of them when it was loaded. */
  add(dead: readonly DeadRecords[], kept: readonly StateBatch[] = []): void {
    for (const each of dead) {
      const run = kept.find(
        ({ state, first, last }) => state === 3 && first <= each.first && last >= each.last,
      );
      const letter = run?.letter ?? null;
      const sequence = letter === null ? 0 : letter.sequence + each.first - (run?.first ?? each.first);
      const entry = { ...each, letter: letter === null ? null : { ...letter, sequence } };
      // What was begun is finished first.
      if (letter === null) this.#queue.push(entry);
      else this.#queue.unshift(entry);
    }
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  /** The log lost them: their letters will not be written. */
  forget(before: number): void {
    this.#queue = this.#queue
      .filter(({ last }) => last >= before)
      .map((dead) => {
        if (dead.first >= before) return dead;
        const { letter } = dead;
        const moved = letter && { ...letter, sequence: letter.sequence + before - dead.first };
        return { ...dead, first: before, letter: moved };
      });
    if (this.#prepared !== null && this.#prepared.first < before) this.#prepared = null;
  }

  // ── One frame ──

  /** Synchronous; to be called where the state is here. Null: none can go now. Its records are archived by it. */
  leave(): ReadyLetters | null {
    const [dead] = this.#queue;
    // Who was told as whom its letters are written, writes them so.
    if (dead === undefined || dead.letter !== null || this.#intention !== null) return null;
    const topic = this.#topic();
    if (topic === null) return null;
    const { source, services } = this.#options;
    const target = letterPartitionHere(topic, source.partition, services);
    if (target === null) return null;
    const batch = this.#prepared ?? this.#readNow(dead);
    if (batch === null || !fits(batch, target)) return null;
    this.#prepared = null;
    this.#done(dead, batch);
    const wallMs = services.env.clock.wallMs();
    return {
      first: batch.first,
      last: batch.last,
      attach: (session) => {
        if (batch.count === 0) return;
        const { kind } = target.append(session, BatchView.at(bytesOfLetters(batch, null)), wallMs);
        assert(kind === "appended", "letters without a producer are always appended");
      },
    };
  }

  #readNow(dead: Dead): LetterBatch | null {
    const outcome = this.#read(offset(dead.first), batchBytesMax);
    if (!(outcome instanceof Promise)) return this.#built(dead, outcome, batchBytesMax);
    // It is read again step by step; what goes wrong with it is told there.
    outcome.catch(() => undefined);
    return null;
  }

  // ── Step by step ──

  /** What else the state has to keep with the change that leaves now. */
  takeIntention(): StateBatch | null {
    const intention = this.#intention;
    this.#intention = null;
    return intention;
  }

  /** Looks after those that could not leave at once. */
  carry(): void {
    if (this.#isCarrying || this.isEmpty) return;
    this.#isCarrying = true;
    void this.#carryAll().finally(() => {
      this.#isCarrying = false;
      const { services, isOver } = this.#options;
      // A log that closed stays so: who goes on at once would let nobody else come to anything.
      if (!this.isEmpty && !isOver() && services.partitions.failure === null) this.carry();
    });
  }

  async #carryAll(): Promise<void> {
    const { services, isOver } = this.#options;
    let pauseMs = retryMsMin;
    // In the same step a change may leave that takes them along.
    await Promise.resolve();
    while (!this.isEmpty && !isOver() && services.partitions.failure === null) {
      let hasMoved = false;
      try {
        hasMoved = await this.#step();
      } catch (cause) {
        // The log closed, or this broker was replaced: whoever loads the state next goes on.
        if (services.partitions.failure !== null || isOver()) return;
        this.#complain(cause instanceof Error ? cause.message : String(cause));
      }
      if (hasMoved) pauseMs = retryMsMin;
      else {
        await sleep(services.env.clock, pauseMs);
        pauseMs = Math.min(pauseMs * 2, retryMsMax);
      }
    }
  }

  /** False: nothing could be done now. */
  async #step(): Promise<boolean> {
    const { settle, source, services, key } = this.#options;
    const [dead] = this.#queue;
    if (dead === undefined) return true;
    const topic = this.#topic() ?? (await this.#made());
    if (topic === null) {
      await settle();
      return this.#queue[0] !== dead;
    }
    const batch = await this.#batchOf(dead);
    if (batch === null || this.#queue[0] !== dead) return batch !== null;
    const target = letterPartitionHere(topic, source.partition, services);
    if (dead.letter === null && services.persister.isHere(key) && target !== null) {
      if (!fits(batch, target)) return this.#tooLarge(batch, topic);
      this.#prepared = batch;
      await settle();
      return this.#queue[0] !== dead;
    }
    return this.#carryElsewhere(dead, batch, topic);
  }

  async #carryElsewhere(dead: Dead, batch: LetterBatch, topic: TopicState): Promise<boolean> {
    const { settle, source, services, metrics, archive, isOver } = this.#options;
    const author = dead.letter ?? (await this.#sign(dead, batch));
    if (author === null || isOver()) return false;
    const carried: Carried =
      batch.count === 0 ? "written" : await carryLetters(batch, author, topic, source.partition, services);
    if (isOver()) return true;
    switch (carried) {
      case "written":
        this.#queue = this.#queue.filter((each) => each.first !== dead.first);
        metrics.deadLettered(dead.reason, batch.count);
        archive(batch.first, batch.last);
        await settle();
        return true;
      case "forgotten":
        // Nobody knows the producer any more, so nothing of it is there that a retry could find: it begins anew.
        this.#author = null;
        this.#queue = this.#queue.map((each) =>
          each.first === dead.first ? { ...each, letter: null } : each,
        );
        return false;
      case "too-large":
        return this.#tooLarge(batch, topic);
      case "away":
        return false;
      default:
        return carried satisfies never;
    }
  }

  /** Decides as whom the letters are written, and makes that durable. Null: the share-partition is over. */
  async #sign(dead: Dead, batch: LetterBatch): Promise<Author | null> {
    const { services, settle } = this.#options;
    if (this.#author === null) {
      const taken = await services.producerIds.take();
      if (taken === null) return null;
      this.#author = { producerId: taken, sequence: 0 };
    }
    const { producerId, sequence } = this.#author;
    if (this.#queue[0] !== dead) return null;
    this.#author.sequence += batch.count;
    const letter = { producerId, sequence };
    const { deliveryCount } = dead;
    this.#intention = {
      first: offset(batch.first),
      last: offset(batch.last),
      state: 3,
      deliveryCount,
      letter,
    };
    // What follows it in the same range has letters of its own.
    const rest = batch.last < dead.last ? [{ ...dead, first: batch.last + 1 }] : [];
    this.#queue.splice(0, 1, { ...dead, last: batch.last, letter }, ...rest);
    return (await settle()) === null ? letter : null;
  }

  // ── What they have in common ──

  /** Taken out of the queue: their letters are in the frame that leaves now. */
  #done(dead: Dead, batch: LetterBatch): void {
    const { metrics, archive } = this.#options;
    this.#queue.shift();
    if (batch.last < dead.last) this.#queue.unshift({ ...dead, first: batch.last + 1 });
    metrics.deadLettered(dead.reason, batch.count);
    archive(batch.first, batch.last);
  }

  /** Null: nowhere now. Where the group has none any more, they are dropped. */
  #topic(): TopicState | null {
    const { services } = this.#options;
    const found = letterTopicOf(this.#options.settings(), this.#sourceName, services);
    switch (found.kind) {
      case "ready":
        return found.topic;
      case "none":
        this.#drop();
        return null;
      case "wrong":
        this.#complain(found.why);
        return null;
      case "missing":
        return null;
      default:
        return found satisfies never;
    }
  }

  /** On first use, where the broker may. */
  async #made(): Promise<TopicState | null> {
    const { services, settings } = this.#options;
    const found = letterTopicOf(settings(), this.#sourceName, services);
    if (found.kind !== "missing") return null;
    const configs = new Map([["errors.deadletterqueue.group.enable", "true"]]);
    const partitionCount = services.config.get("num.partitions");
    await services.topics.create({ name: found.name, partitionCount, configs });
    return this.#topic();
  }

  #drop(): void {
    const { metrics, archive } = this.#options;
    for (const { first, last, reason } of this.#queue.splice(0)) {
      metrics.dropped(reason, last - first + 1);
      archive(first, last);
    }
  }

  get #sourceName(): string {
    const { services, key } = this.#options;
    return services.topics.byId(key.topicId)?.name ?? key.topicId;
  }

  async #batchOf(dead: Dead): Promise<LetterBatch | null> {
    if (dead.letter !== null) return this.#whole(dead);
    if (this.#prepared?.first === dead.first) return this.#prepared;
    return this.#built(dead, await this.#read(offset(dead.first), batchBytesMax), batchBytesMax);
  }

  /** Of one batch, as it was before. */
  async #whole(dead: Dead): Promise<LetterBatch | null> {
    const chunks: Uint8Array[] = [];
    for (let at = dead.first; at <= dead.last; ) {
      const read = await this.#read(offset(at), readBytes);
      if (read.kind !== "read" || read.bytes === 0) break;
      chunks.push(...read.chunks);
      at = lastOf(read.chunks) + 1;
    }
    return this.#build(dead, chunks, dead.last, Infinity);
  }

  #read(from: Offset, bytesMax: number): ReadOutcome | Promise<ReadOutcome> {
    return this.#options.source.read({ offset: from, bytesMax, orOneBatch: true });
  }

  /** Null: the log begins behind them by now, or is somebody else's. */
  #built(dead: Dead, read: ReadOutcome, bytesMax: number): LetterBatch | null {
    switch (read.kind) {
      case "read": {
        const last = read.bytes === 0 ? dead.last : Math.min(dead.last, lastOf(read.chunks));
        return this.#build(dead, read.chunks, last, bytesMax);
      }
      case "damaged":
        // They are gone, and were reported: there is nothing to write of them.
        return this.#build(dead, [], Math.min(dead.last, read.resumeAt - 1), bytesMax);
      case "out-of-range":
        return null;
      default:
        return read satisfies never;
    }
  }

  #build(dead: Dead, chunks: readonly Uint8Array[], last: number, bytesMax: number): LetterBatch {
    const { key, services, settings } = this.#options;
    const { first, deliveryCount, reason } = dead;
    const origin = {
      topic: this.#sourceName,
      partition: key.partition,
      groupId: key.groupId,
      deliveryCount,
      reason,
      wallMs: services.env.clock.wallMs(),
    };
    const records = recordsFrom(chunks, first, last);
    return letterBatch(records, { first, last }, origin, settings().copiesRecords, bytesMax);
  }

  #tooLarge(batch: LetterBatch, topic: TopicState): false {
    this.#complain(
      `The dead letter of offset ${batch.first} is larger than max.message.bytes of ${topic.name} allows; raise that.`,
    );
    return false;
  }

  #complain(why: string): void {
    const { services, key } = this.#options;
    const { clock, log } = services.env;
    if (clock.monotonicMs() - this.#complainedMs < complaintMs) return;
    this.#complainedMs = clock.monotonicMs();
    const waiting = this.#queue.reduce((sum, { first, last }) => sum + last - first + 1, 0);
    log.warn("share-partition.dead-letters-waiting", { ...key, waiting, why });
  }
}

const fits = ({ builder }: LetterBatch, target: Partition): boolean =>
  builder.bytes <= target.config.messageBytesMax;

function lastOf(chunks: readonly Uint8Array[]): number {
  let last = -1;
  for (const batch of chunks.flatMap((chunk) => [...batchesIn(chunk)])) last = batch.lastOffset;
  return last;
}
