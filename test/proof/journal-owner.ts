/**
 * A broker as journal-owners.ts needs it: what it holds in memory by its own view of the journal, and what is
 * durable beside the journal, which all of them share.
 */
import { type BrokerEpoch, partitionKey, walPosition } from "../../src/base/ids.ts";
import type { FlushRow } from "../../src/log/segment-ref.ts";
import type { Journal } from "../../src/metadata/journal.ts";
import type { PartitionState, TopicState } from "../../src/metadata/state.ts";
import { Violation } from "./journal-truth.ts";
import { aFlushRow, aSegment } from "./journal-world.ts";

interface Record {
  readonly partition: string;
  readonly offset: number;
  readonly id: number;
}

/** Durable as soon as it is appended. Null: deleted. */
interface Wal {
  readonly records: (Record | null)[];
  sealedAt: number | null;
}

/** The ids of a partition's records by offset. */
type Log = number[];

/** Everything that is durable beside the journal, and what was promised. */
export class Durable {
  readonly wals = new Map<BrokerEpoch, Wal>();
  readonly #segments = new Map<string, readonly number[]>();
  readonly acknowledged = new Map<string, Log>();
  #ids = 0;

  wal(epoch: BrokerEpoch): Wal {
    let wal = this.wals.get(epoch);
    if (wal === undefined) {
      wal = { records: [], sealedAt: null };
      this.wals.set(epoch, wal);
    }
    return wal;
  }

  append(epoch: BrokerEpoch, partition: string, log: Log): void {
    const id = ++this.#ids;
    const promised = this.acknowledged.get(partition) ?? [];
    if (promised.length !== log.length) {
      throw new Violation(
        `epoch ${epoch} gives offset ${log.length} of ${partition}, ${promised.length} is next`,
      );
    }
    this.wal(epoch).records.push({ partition, offset: log.length, id });
    log.push(id);
    this.acknowledged.set(partition, [...promised, id]);
  }

  /** Looks from what is released on, and puts the seal where nothing is found: what was deleted looks as if it never was. */
  seal(epoch: BrokerEpoch, released: number): number {
    const wal = this.wal(epoch);
    wal.sealedAt ??= wal.records.findIndex((record, at) => at >= released && record === null);
    if (wal.sealedAt < 0) wal.sealedAt = wal.records.length;
    return wal.sealedAt;
  }

  putSegment(ids: readonly number[]): string {
    const name = `seg/${this.#segments.size}`;
    this.#segments.set(name, ids);
    return name;
  }

  /** What segments and dependencies hold. Null: a part of it was deleted. */
  load(partition: string, state: PartitionState): Log | null {
    const log: Log = [];
    for (const { object, base } of state.recent) {
      if (base !== log.length) throw new Violation(`segments of ${partition} do not follow each other`);
      log.push(...(this.#segments.get(object) as readonly number[]));
    }
    for (const { epoch, from, to } of state.dependencies) {
      for (let at: number = from; at < to; at++) {
        const record = this.wal(epoch).records[at];
        if (record === null) return null;
        if (record !== undefined) continueLog(log, partition, record);
      }
    }
    return log;
  }
}

/** What lies below the end is in segments or an older WAL, too. */
export function continueLog(log: Log, partition: string, record: Record): void {
  if (record.partition !== partition || record.offset < log.length) return;
  if (record.offset > log.length) throw new Violation(`offset ${log.length} of ${partition} is missing`);
  log.push(record.id);
}

interface Owned {
  readonly topic: TopicState;
  readonly partition: PartitionState;
}

/** What one process holds in memory, by its own view of the journal and nothing else. */
export class Broker {
  readonly journal: Journal;
  readonly epoch: BrokerEpoch;
  readonly #durable: Durable;
  /** Loaded partitions by key. */
  readonly #logs = new Map<string, { readonly leaderEpoch: number; readonly log: Log }>();
  readonly #moving = new Set<string>();
  /** Flushes that nobody waits for, as one that began before everything changed. */
  readonly uploads: Promise<void>[] = [];
  isStopping = false;

  constructor(journal: Journal, epoch: BrokerEpoch, durable: Durable) {
    this.journal = journal;
    this.epoch = epoch;
    this.#durable = durable;
  }

  get isLive(): boolean {
    return this.journal.state.brokers.get(this.epoch)?.status === "live" && this.#wal.sealedAt === null;
  }

  get #wal(): Wal {
    return this.#durable.wal(this.epoch);
  }

  owned(): readonly Owned[] {
    return [...this.journal.state.topics.values()].flatMap((topic) =>
      topic.partitions.filter(({ owner }) => owner === this.epoch).map((partition) => ({ topic, partition })),
    );
  }

  /** Loads what is ours now and was not, and drops what is not ours any more. */
  follow(): void {
    const owned = new Map(
      this.owned().map(({ topic, partition }) => [partitionKey(topic.id, partition.index), partition]),
    );
    for (const [key, { leaderEpoch }] of this.#logs) {
      if (owned.get(key)?.leaderEpoch !== leaderEpoch) this.#logs.delete(key);
    }
    for (const [key, partition] of owned) {
      if (this.#logs.has(key)) continue;
      // Something is gone: the view is old, and a newer one will say where it is.
      const log = this.#durable.load(key, partition);
      if (log !== null) this.#logs.set(key, { leaderEpoch: partition.leaderEpoch, log });
    }
  }

  append(below: (bound: number) => number): void {
    const open = [...this.#logs].filter(([key]) => !this.#moving.has(key));
    // A seal stands in our next slot: that is where a zombie ends.
    if (open.length === 0 || this.#wal.sealedAt !== null) return;
    const [key, { log }] = open[below(open.length)] as (typeof open)[number];
    this.#durable.append(this.epoch, key, log);
  }

  /** A row for every partition, so that all below the release is in segments. Null: not all is loaded. */
  gather(): { readonly rows: readonly FlushRow[]; readonly release: number } | null {
    const rows: FlushRow[] = [];
    for (const { topic, partition } of this.owned()) {
      const { index, flushed, leaderEpoch } = partition;
      const found = this.#logs.get(partitionKey(topic.id, index));
      if (found === undefined) return null;
      const [from, to] = [flushed as number, found.log.length];
      const segment =
        from === to ? null : aSegment(from, to, this.#durable.putSegment(found.log.slice(from)));
      rows.push(aFlushRow({ topic: topic.id, partition: index, leaderEpoch, from, to, segment }));
    }
    return { rows, release: this.#wal.records.length };
  }

  /** Takes no more appends; what MOVE says of it. Null: it is not here, or moves already. */
  stop(topicId: TopicState["id"], index: number) {
    const key = partitionKey(topicId, index as PartitionState["index"]);
    const partition = this.owned().find(
      ({ topic, partition }) => partitionKey(topic.id, partition.index) === key,
    );
    if (partition === undefined || !this.#logs.has(key) || this.#moving.has(key)) return null;
    this.#moving.add(key);
    const { leaderEpoch } = partition.partition;
    const end = walPosition(this.#wal.records.length);
    return { topicId, partition: partition.partition.index, leaderEpoch, end };
  }

  resume(topicId: TopicState["id"], index: number): void {
    this.#moving.delete(partitionKey(topicId, index as PartitionState["index"]));
  }
}
