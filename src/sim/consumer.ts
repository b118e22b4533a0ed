/** A simulated consumer of one partition by assignment: follows the log from a random place and checks what it is shown. */
import type { Operation } from "../audit/operation.ts";
import type { OperationKind, PartitionNumber } from "../audit/words.ts";
import { leaderEpoch, NO_TOPIC_ID, nodeId, type Offset, offset, partitionIndex } from "../base/ids.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { Fetch } from "../protocol/messages/fetch.ts";
import { ListedOffset, ListOffsets } from "../protocol/messages/list-offsets.ts";
import { type BatchView, wholeBatchesIn } from "../record/batch.ts";
import { readControl } from "../record/control.ts";
import { recordsIn } from "../record/record.ts";
import type { Actor } from "./actor.ts";
import { Disconnected, type Caller } from "./client.ts";
import { recordFacts, recordName } from "./history.ts";

const fetchVersion = 11;
const listVersion = 5;
const inflatedBytesMax = 1 << 24;
/** Of times, in each partition at the end. */
const lookups = 3;

/** An uncommitted reader is shown records of open and aborted transactions too. */
export type Isolation = "committed" | "uncommitted";

export class SimConsumer {
  readonly #actor: Actor;
  readonly topic: string;
  readonly partition: number;
  /** Where the checker knows it to be. */
  #told: number | null = null;
  /** Whether the last answer brought it to the high watermark. */
  hasAll = false;

  readonly #pollMs: number;
  #isolation: Isolation = "committed";

  /** `pollMs`: how long it lets the broker wait for records. */
  constructor(actor: Actor, topic: string, partition: number, pollMs = actor.pace.pollMs) {
    this.#actor = actor;
    this.#pollMs = pollMs;
    this.topic = topic;
    this.partition = partition;
  }

  /** What it is shown may come to nothing, so it proves nothing. */
  get #isGlimpsing(): boolean {
    return this.#isolation === "uncommitted" && this.#actor.history.hasTransactions(this.topic);
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      try {
        await this.#session(isOver);
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        await this.#actor.pause(30);
      }
    }
  }

  async #session(isOver: () => boolean): Promise<void> {
    const client = await this.#actor.connect("consumer");
    this.#isolation = this.#actor.random.pick(["committed", "uncommitted"]);
    try {
      let position = offset(await this.end(client, ListedOffset.earliest));
      const end = await this.end(client, ListedOffset.latest);
      if (end > position) position = offset(position + this.#actor.random.below(end - position));
      while (!isOver()) {
        const found = await this.fetch(client, position, (value, at) => {
          if (this.#isGlimpsing) return;
          this.#actor.history.observed(value, { topic: this.topic, partition: this.partition, offset: at });
        });
        if (found === null) return;
        position = found;
        if (this.#actor.random.below(40) === 0) return;
      }
    } finally {
      client.close();
    }
  }

  /** The whole log, for the judgement at the end. Rejects with `Disconnected`. */
  async readAll(): Promise<ReadonlyMap<number, string>> {
    const client = await this.#actor.connect("judge");
    try {
      const all = new Map<number, string>();
      const times = new Set<number>();
      const start = await this.end(client, ListedOffset.earliest);
      this.#actor.history.startSeen(this.topic, this.partition, start);
      const end = await this.end(client, ListedOffset.latest);
      this.#beAt(start);
      const lateMs = this.#actor.clock.monotonicMs() + this.#actor.pace.peaceMs;
      for (let position = offset(start); position < end; ) {
        const next = await this.fetch(client, position, (value, at, timestampMs) => {
          all.set(at, value);
          times.add(timestampMs);
        });
        if (next === null) {
          // Retention may have passed the reader; nothing else excuses an answer without records.
          const moved = await this.end(client, ListedOffset.earliest);
          if (moved > position) {
            this.#actor.history.startSeen(this.topic, this.partition, moved);
            position = offset(moved);
            continue;
          }
        }
        // A transaction whose producer is gone keeps its readers until its time-out.
        const mayWait = next === position && this.#actor.clock.monotonicMs() < lateMs;
        if (mayWait && this.#actor.history.hasTransactions(this.topic)) continue;
        if (next === null || next === position) {
          this.#actor.history.violations.push(
            `${this.topic}/${this.partition} cannot be read at ${position}, its end is ${end}`,
          );
          break;
        }
        position = next;
      }
      this.reachedEnd();
      await this.#lookUp(client, [...times]);
      return all;
    } finally {
      client.close();
    }
  }

  /** All faults are healed, and nothing follows. */
  reachedEnd(): void {
    this.#operation("poll", (operation) => operation.reachedEnd(this.#place));
  }

  /** Where the log ends, however long that takes to hear. */
  async readEnd(): Promise<number> {
    for (;;) {
      try {
        const client = await this.#actor.connect("judge");
        try {
          return await this.end(client, ListedOffset.latest);
        } finally {
          client.close();
        }
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        await this.#actor.pause(20);
      }
    }
  }

  /** Asks where records of some times begin, for the checker to judge. */
  async #lookUp(client: Caller, timesMs: readonly number[]): Promise<void> {
    // A lookup finds records of aborted transactions as well, of which the checker knows no place.
    if (this.#actor.history.hasTransactions(this.topic)) return;
    for (let left = timesMs.length === 0 ? 0 : lookups; left > 0; left--) {
      await this.end(client, this.#actor.random.pick(timesMs) + this.#actor.random.below(2));
    }
    // What retention has passed meanwhile was not to be found.
    await this.end(client, ListedOffset.earliest);
  }

  // ── What the checker is told ──

  get #place(): PartitionNumber {
    return this.#actor.history.place(this.topic, this.partition);
  }

  /** This reader goes its own way, whatever else its actor reads. */
  #begin(kind: OperationKind): Operation {
    const how = this.#isGlimpsing ? " uncommitted" : "";
    return this.#actor.begin(kind, ` of ${this.topic}/${this.partition}${how}`);
  }

  /** One that needs no time. */
  #operation(kind: OperationKind, tell: (operation: Operation) => void): void {
    const operation = this.#begin(kind);
    tell(operation);
    operation.ok(this.#actor.nowMs);
  }

  /** Told only where it is not where its last answer left it. */
  #beAt(position: number): void {
    if (this.#told === position || this.#isGlimpsing) return;
    this.#operation("assign", (operation) => operation.takes(this.#place, position));
    this.#told = position;
  }

  // ── Requests ──

  /** One of `ListedOffset`, or the first record at or after a time. Rejects with `Disconnected`, also when it is not told. */
  async end(client: Caller, timestamp: number): Promise<number> {
    const look = this.#begin("look");
    const answer = await client.call(ListOffsets, listVersion, {
      replicaId: nodeId(-1),
      isolationLevel: 0,
      topics: [
        {
          name: this.topic,
          partitions: [
            {
              partitionIndex: partitionIndex(this.partition),
              currentLeaderEpoch: leaderEpoch(-1),
              timestamp,
            },
          ],
        },
      ],
      timeoutMs: 30_000,
    });
    const result = answer.topics[0]?.partitions[0];
    if (result === undefined || result.errorCode !== ErrorCode.NONE) {
      throw new Disconnected(`offsets are not told: ${result?.errorCode}`);
    }
    if (timestamp === ListedOffset.earliest) look.watermarks(this.#place, { logStart: result.offset });
    else if (timestamp === ListedOffset.latest)
      look.watermarks(this.#place, { highWatermark: result.offset });
    else look.lookedUp(this.#place, timestamp, result.offset);
    look.ok(this.#actor.nowMs);
    return result.offset;
  }

  /** Where to read on; null: start over. */
  async fetch(
    client: Caller,
    position: Offset,
    take: (value: string, at: Offset, timestampMs: number, name: string) => void,
  ): Promise<Offset | null> {
    this.#beAt(position);
    // Without an answer its end is never told: it is unknown.
    const poll = this.#begin("poll");
    const answer = await client.call(Fetch, fetchVersion, {
      clusterId: null,
      replicaId: nodeId(-1),
      replicaState: { replicaId: nodeId(-1), replicaEpoch: -1 },
      maxWaitMs: this.#pollMs,
      minBytes: 1,
      maxBytes: 1 << 20,
      isolationLevel: this.#isolation === "committed" ? 1 : 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [
        {
          topic: this.topic,
          topicId: NO_TOPIC_ID,
          partitions: [
            {
              partition: partitionIndex(this.partition),
              currentLeaderEpoch: leaderEpoch(-1),
              fetchOffset: position,
              lastFetchedEpoch: leaderEpoch(-1),
              logStartOffset: offset(-1),
              partitionMaxBytes: 1 << (8 + this.#actor.random.below(12)),
              replicaDirectoryId: NO_TOPIC_ID,
              highWatermark: 0x7fff_ffff_ffff_ffffn,
            },
          ],
        },
      ],
      forgottenTopicsData: [],
      rackId: "",
    });
    const result = answer.responses[0]?.partitions[0];
    if (result === undefined) return null;
    if (result.errorCode !== ErrorCode.NONE) {
      this.#actor.record(
        `fetch ${this.topic}/${this.partition}@${position} ${errorFacts(result.errorCode).name}`,
      );
      if (result.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
        this.#actor.history.startSeen(this.topic, this.partition, result.logStartOffset);
      }
      return null;
    }
    const place = this.#place;
    const ends = { lastStable: result.lastStableOffset, highWatermark: result.highWatermark };
    poll.watermarks(place, { logStart: result.logStartOffset, ...(!this.#actor.hasSeveralBrokers && ends) });
    let next = position;
    const aborted = new Aborted(result.abortedTransactions ?? []);
    const tell = this.#isGlimpsing ? "glimpsed" : "polled";
    for (const chunk of result.records ?? []) {
      for (const batch of wholeBatchesIn(chunk)) {
        if (!batch.isIntact())
          this.#actor.history.violations.push(`a damaged batch was served at ${batch.baseOffset}`);
        const isAborted = aborted.reach(batch);
        const isHidden = batch.isControl || (this.#isolation === "committed" && isAborted);
        for (const record of isHidden ? [] : recordsIn(batch, inflatedBytesMax)) {
          if (record.offset < position) continue;
          const bytes = record.value ?? new Uint8Array(0);
          const value = Buffer.from(bytes).toString("utf8");
          // A record with a key has its name in a header, since a tombstone has no value.
          const key = record.key === null ? null : Buffer.from(record.key).toString("utf8");
          const name =
            key === null ? recordName(value) : Buffer.from(record.headers[0]?.value ?? []).toString();
          poll[tell](place, record.offset, name, recordFacts(bytes, record.timestamp, key));
          take(value, record.offset, record.timestamp, name);
        }
        next = batch.nextOffset;
      }
    }
    // Also where compaction left a gap, an answer without an error brings its reader forward.
    const end = this.#isolation === "committed" ? result.lastStableOffset : result.highWatermark;
    if (next === position && position < end) {
      this.#actor.history.violations.push(
        `${this.topic}/${this.partition} gave nothing at ${position}, and goes up to ${end}`,
      );
    }
    if (next > Math.max(position, end)) {
      this.#actor.history.violations.push(`${this.topic}/${this.partition} was served above ${end}`);
    }
    poll.ok(this.#actor.nowMs);
    if (!this.#isGlimpsing) this.#told = next;
    this.hasAll = next >= result.highWatermark;
    return next;
  }
}

/** What a committed reader leaves out, by the list that comes with each answer. */
class Aborted {
  /** By first offset, ascending. */
  readonly #ahead: { readonly producerId: number; readonly firstOffset: number }[];
  readonly #open = new Set<number>();

  constructor(transactions: readonly { readonly producerId: number; readonly firstOffset: number }[]) {
    this.#ahead = transactions.toSorted((one, other) => one.firstOffset - other.firstOffset);
  }

  /** Whether the next batch, control batches too, is one of an aborted transaction. */
  reach(batch: BatchView): boolean {
    while (this.#ahead[0] !== undefined && this.#ahead[0].firstOffset < batch.nextOffset) {
      this.#open.add((this.#ahead.shift() as { readonly producerId: number }).producerId);
    }
    const isAborted = batch.isTransactional && this.#open.has(batch.producerId);
    if (batch.isControl && readControl(batch).kind === "abort") this.#open.delete(batch.producerId);
    return isAborted;
  }
}
