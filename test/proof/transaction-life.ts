/**
 * Transactions of one partition in a drawn world: producers that send, end and abandon transactions and
 * begin new epochs, markers for nobody, frames that become durable one by one, flushes, deletions, passes
 * of compaction with much and with little memory, objects that vanish once nothing refers to them, restarts
 * from segments and from any prefix of the log, and committed readers at the same time. A reader works as
 * Kafka's clients do and is held against the list of everything that was appended; after each restart the
 * partition is held against one that has replayed its whole life. `variant` breaks one rule, so that it can
 * be seen that the check sees it.
 */
import { assert } from "../../src/base/assert.ts";
import {
  brokerEpoch,
  leaderEpoch,
  offset,
  partitionIndex,
  producerEpoch,
  producerId,
} from "../../src/base/ids.ts";
import { AbortedLookup } from "../../src/log/aborted-lookup.ts";
import { Compaction } from "../../src/log/compaction.ts";
import { CompactionJudge } from "../../src/log/compaction-judge.ts";
import { logConfigDefaults } from "../../src/log/log-config.ts";
import { ObjectNames } from "../../src/log/object-names.ts";
import { storeObject } from "../../src/log/object-writer.ts";
import type { Partition } from "../../src/log/partition.ts";
import { aPartition, StepWal } from "../../src/log/partition-fixture.ts";
import { Partitions } from "../../src/log/partitions.ts";
import type { FooterState } from "../../src/log/segment-format.ts";
import { SegmentReader } from "../../src/log/segment-reader.ts";
import type { FlushRow, Replacement, SegmentRef } from "../../src/log/segment-ref.ts";
import { buildObject } from "../../src/log/segment-writer.ts";
import { Transactions } from "../../src/log/transactions.ts";
import type { WalEntry } from "../../src/log/wal.ts";
import { flushPartition, replacePartition } from "../../src/metadata/partition.ts";
import type { PartitionState } from "../../src/metadata/state.ts";
import { BatchView } from "../../src/record/batch.ts";
import { buildBatch } from "../../src/record/builder.ts";
import type { SimRandom } from "../../src/sim/random.ts";
import { liveWorlds, type Worlds } from "./live-worlds.ts";
import { anEnv, atOnce, ManualClock, MemoryStore, orders } from "./segment-world.ts";
import { readCommitted, TransactionModel } from "./transaction-model.ts";

export const variants = [
  "aborted transactions missing in a segment",
  "aborted transactions missing behind the range that is read",
  "a marker counts before it is durable",
  "compaction drops markers",
] as const;
export type Variant = (typeof variants)[number];

export interface TransactionCounts {
  worlds: number;
  batches: number;
  commits: number;
  aborts: number;
  strayMarkers: number;
  flushes: number;
  replacements: number;
  trims: number;
  restarts: number;
  lostMarkers: number;
  reads: number;
  recordsRead: number;
  abortedPassed: number;
  /** Committed records that a reader did not get, because compaction rightly took them. */
  superseded: number;
}

/** Throws at the first violation, with the seed. */
export async function run(options: Worlds & { readonly variant?: Variant }): Promise<TransactionCounts> {
  const counts: TransactionCounts = {
    worlds: 0,
    batches: 0,
    commits: 0,
    aborts: 0,
    strayMarkers: 0,
    flushes: 0,
    replacements: 0,
    trims: 0,
    restarts: 0,
    lostMarkers: 0,
    reads: 0,
    recordsRead: 0,
    abortedPassed: 0,
    superseded: 0,
  };
  const mend = breakRule(options.variant ?? null);
  try {
    const variant = options.variant ?? null;
    return await liveWorlds(options, counts, (random) => new World(random, counts, variant).live());
  } finally {
    mend();
  }
}

/** Breaks what a variant breaks in the code itself; returns how to mend it. */
function breakRule(variant: Variant | null): () => void {
  switch (variant) {
    case "aborted transactions missing behind the range that is read":
      return exchange(
        AbortedLookup.prototype,
        "in",
        (honest) =>
          async function (this: AbortedLookup, source, range) {
            return (await honest.call(this, source, range)).filter(({ lastOffset }) => lastOffset < range.to);
          },
      );
    case "a marker counts before it is durable":
      return exchange(
        Transactions.prototype,
        "apply",
        (honest) =>
          function (this: Transactions, change, entry) {
            honest.call(this, change, entry);
            this.settle(offset(entry.baseOffset + 1));
          },
      );
    case "compaction drops markers":
      return exchange(
        CompactionJudge.prototype,
        "judge",
        (honest) =>
          function (this: CompactionJudge, batch) {
            return batch.isControl ? { kind: "drop" } : honest.call(this, batch);
          },
      );
    default:
      return () => undefined;
  }
}

/** Another method in place of one; returns how to take that back. */
function exchange<T extends object, K extends keyof T>(
  owner: T,
  name: K,
  make: (honest: T[K]) => T[K],
): () => void {
  const honest = owner[name];
  owner[name] = make(honest);
  return () => {
    owner[name] = honest;
  };
}

const producerCount = 4;

/** A producer as its client knows it. */
interface Producer {
  epoch: number;
  sequence: number;
}

class World {
  readonly #random: SimRandom;
  readonly #counts: TransactionCounts;
  readonly #variant: Variant | null;
  readonly #store = new MemoryStore();
  readonly #clock = new ManualClock();
  readonly #config;
  readonly #keyBytesMax: number;
  readonly #bytesTarget: number;
  readonly #heldBytesMax: number;
  readonly #producers: Producer[] = Array.from({ length: producerCount }, () => ({ epoch: 0, sequence: 0 }));
  readonly #model = new TransactionModel();
  /** All entries that are certain, of all lives. */
  #past: readonly WalEntry[] = [];
  /** Entries that no release has let go: of older lives, and how many of this one have been. */
  #older: readonly WalEntry[] = [];
  #released = 0;
  #footer: FooterState | undefined = undefined;
  #state: PartitionState = {
    index: partitionIndex(3),
    owner: brokerEpoch(1),
    leaderEpoch: leaderEpoch(3),
    start: offset(0),
    flushed: offset(0),
    folded: null,
    recent: [],
    compacted: null,
    preferred: null,
    dependencies: [],
  };
  #epoch = 1;
  #names = new ObjectNames("cluster", brokerEpoch(1));
  #reader: SegmentReader;
  #partitions: Partitions;
  #wal: StepWal;
  #partition: Partition;

  constructor(random: SimRandom, counts: TransactionCounts, variant: Variant | null) {
    this.#random = random;
    this.#counts = counts;
    this.#variant = variant;
    const compacts = variant === "compaction drops markers" || random.chance(0.6);
    this.#config = {
      ...logConfigDefaults,
      compacts,
      dirtyRatioMin: random.pick([0, 0.3]),
      deleteRetentionMs: random.pick([0, 60, 200]),
    };
    // One key a pass, or all.
    this.#keyBytesMax = random.pick([1, 1 << 20]);
    this.#bytesTarget = random.pick([300, 2_000, 1 << 20]);
    this.#heldBytesMax = random.pick([0, 3_000, 20_000]);
    ({
      reader: this.#reader,
      partitions: this.#partitions,
      wal: this.#wal,
      partition: this.#partition,
    } = this.#open());
  }

  async live(): Promise<void> {
    for (let life = this.#random.between(2, 4); life > 0; life--) {
      for (let i = this.#random.between(10, 80); i > 0; i--) {
        await this.#step();
        this.#checkEnds();
      }
      this.#restart();
      this.#checkEnds();
      await this.#readFrom(this.#partition.logStart);
    }
  }

  async #step(): Promise<void> {
    const random = this.#random;
    for (let n = random.between(1, 6); n > 0; n--) this.#append();
    if (random.chance(0.7)) this.#wal.sync(random.between(1, 8));
    if (random.chance(0.03)) this.#trim();
    const doing: Promise<void>[] = [];
    const { logStart, durableEnd } = this.#partition;
    if (random.chance(0.6)) doing.push(this.#readFrom(random.between(logStart, durableEnd)));
    const other = random.pick(["flush", "flush", "compact", "nothing"] as const);
    if (other === "flush") doing.push(this.#flush());
    if (other === "compact") doing.push(this.#compact());
    if (random.chance(0.4)) doing.push(this.#readFrom(logStart));
    for (let n = random.below(3); n > 0; n--) this.#append();
    if (random.chance(0.3)) this.#wal.sync();
    await Promise.all(doing);
    this.#clock.nowMs += random.below(40);
  }

  // ── What producers and the coordinator do ──

  #append(): void {
    const random = this.#random;
    if (random.chance(0.15)) return this.#send(null);
    const id = random.below(producerCount);
    const isOpen = this.#partition.hasOpenTransaction(producerId(id));
    if (isOpen && random.chance(0.35)) return this.#mark(id);
    if (!isOpen && random.chance(0.03)) return this.#mark(id);
    this.#send(id);
  }

  #send(id: number | null): void {
    const random = this.#random;
    const base = this.#partition.logEnd;
    const records = Array.from({ length: random.between(1, 3) }, (_, i) => ({
      key: `k${random.below(5)}`,
      value: random.chance(0.2) ? null : `${base + i}/${random.below(1000)}`,
      timestamp: this.#clock.nowMs,
    }));
    const producer = id === null ? null : (this.#producers[id] as Producer);
    const own =
      producer === null ? {} : { producerEpoch: producerEpoch(producer.epoch), isTransactional: true };
    const bytes = buildBatch(records, {
      producerId: producerId(id ?? -1),
      baseSequence: producer?.sequence ?? -1,
      ...own,
    });
    const session = this.#partitions.begin();
    const outcome = this.#partition.append(session, BatchView.at(bytes), this.#clock.nowMs);
    session.commit();
    assert(outcome.kind === "appended", `what its producer sends in order is appended, not ${outcome.kind}`);
    if (producer !== null) producer.sequence += records.length;
    this.#counts.batches++;
    this.#model.add({
      base: outcome.baseOffset,
      records,
      producer: id,
      marker: null,
      walNumber: outcome.walNumber,
    });
  }

  #mark(id: number): void {
    const random = this.#random;
    const producer = this.#producers[id] as Producer;
    const isOpen = this.#partition.hasOpenTransaction(producerId(id));
    const outcome = random.pick(["commit", "abort"] as const);
    // With an epoch for each transaction (KIP-890), and without.
    if (random.chance(0.5)) Object.assign(producer, { epoch: producer.epoch + 1, sequence: 0 });
    const session = this.#partitions.begin();
    const marker = { producerId: producerId(id), producerEpoch: producerEpoch(producer.epoch) };
    const marked = this.#partition.mark(
      session,
      { ...marker, coordinatorEpoch: 0, outcome },
      this.#clock.nowMs,
    );
    session.commit();
    assert(marked.kind === "marked", "the coordinator's marker is taken");
    if (!isOpen) this.#counts.strayMarkers++;
    else if (outcome === "commit") this.#counts.commits++;
    else this.#counts.aborts++;
    this.#model.add({
      base: marked.offset,
      records: [],
      producer: id,
      marker: outcome,
      walNumber: marked.walNumber,
    });
  }

  /** Also of records that no committed reader could have read. */
  #trim(): void {
    const { logStart, durableEnd } = this.#partition;
    const start = this.#random.between(logStart, durableEnd);
    const session = this.#partitions.begin();
    this.#partition.trim(session, offset(start), this.#clock.nowMs);
    session.commit();
    this.#wal.sync();
    this.#counts.trims++;
  }

  // ── What the broker does ──

  async #flush(): Promise<void> {
    const below = this.#wal.durablePosition;
    const covered = this.#wal.durable;
    const unflushed = this.#partition.unflushed(below);
    if (unflushed === null) return;
    const { from, to, start, state, batches, leaderEpoch: epoch } = unflushed;
    let segment: SegmentRef | null = null;
    if (to > from) {
      const isBroken = this.#variant === "aborted transactions missing in a segment";
      const draft = {
        ...orders,
        base: from,
        end: to,
        batches: batches.map((batch) => ({ ...batch, payload: Uint8Array.from(batch.payload) })),
        appendedFirstMs: unflushed.appendedFirstMs,
        appendedLastMs: unflushed.appendedLastMs,
        state: isBroken ? { ...state, aborted: [] } : state,
      };
      const stored = await storeObject(this.#store, this.#names, (origin) =>
        // Blocks of one batch or two.
        buildObject(origin, [draft], atOnce, this.#random.pick([1, 200])),
      );
      this.#names.settle(stored.origin);
      segment = stored.content.refs[0] as SegmentRef;
    }
    const row: FlushRow = { ...orders, leaderEpoch: epoch, from, to, start, segment };
    const changed = flushPartition(this.#state, row);
    // Too many references and nothing that folds them here: later, after a compaction.
    if (changed.kind === "void") return assert(changed.reason === "too-many-segments", changed.reason);
    this.#state = changed.partition;
    this.#footer = state;
    this.#counts.flushes++;
    this.#partition.published(row);
    // The process may die before the WAL is released, too.
    if (this.#random.chance(0.2)) return;
    this.#older = [];
    this.#released = covered;
    this.#partitions.release(below);
  }

  async #compact(): Promise<void> {
    const onFailure = (cause: Error): void => {
      throw cause;
    };
    await new Compaction({
      env: anEnv(this.#clock),
      store: this.#store,
      names: this.#names,
      index: this.#reader.index,
      sources: () => [this.#partition],
      known: () => this.#state,
      publishReplace: (replacement) => this.#publishReplace(replacement),
      settings: () => ({
        isEnabled: true,
        intervalMs: 1 << 30,
        keyBytesMax: this.#keyBytesMax,
        bytesPerSecondMax: Infinity,
      }),
      bytesTarget: this.#bytesTarget,
      onFailure,
    }).round();
    await this.#sweep();
  }

  #publishReplace(replacement: Replacement): Promise<"published" | "void"> {
    for (const row of replacement.rows) {
      const changed = replacePartition(this.#state, row);
      if (changed.kind === "void") return Promise.resolve("void");
      this.#state = changed.partition;
      this.#counts.replacements++;
    }
    return Promise.resolve("published");
  }

  /** Deletes what nothing refers to and nobody reads. */
  async #sweep(): Promise<void> {
    const state = this.#state;
    const { index } = this.#reader;
    const source = { ...orders, segments: () => state };
    const named = new Set<string>();
    for (let pointer = state.folded; pointer !== null; ) {
      named.add(pointer.object);
      pointer = (await index.list(orders, pointer)).previous;
    }
    for (const { object } of await index.from(source, offset(0))) named.add(object);
    if (state !== this.#state) return;
    for (const key of this.#store.objects.keys()) {
      if (!named.has(key) && !index.inUse.has(key)) this.#store.objects.delete(key);
    }
  }

  // ── Restarts ──

  #open(load: readonly WalEntry[] = []) {
    const reader = new SegmentReader({ store: this.#store, blockBytesMax: 1 << 16, indexBytesMax: 1 << 20 });
    const partitions = new Partitions({ heldBytesMax: this.#heldBytesMax }, () => undefined);
    const wal = new StepWal(partitions);
    partitions.attach(wal);
    const partition = partitions.open({
      ...aPartition(),
      ...orders,
      config: this.#config,
      leaderEpoch: this.#state.leaderEpoch,
      logStart: this.#state.start,
      flushedEnd: this.#state.flushed,
      isDependent: this.#epoch > 1,
      state: this.#footer,
      segments: () => this.#state,
      cold: reader,
    });
    for (const entry of load) partitions.load([entry], { jumped: false });
    partition.serve();
    return { reader, partitions, wal, partition };
  }

  /** The process dies: of what is not durable, any number of entries is there all the same. */
  #restart(): void {
    const wal = this.#wal;
    const kept = this.#random.between(wal.durable, wal.appended);
    const lost = this.#model.forgetAbove(kept);
    this.#counts.lostMarkers += lost.filter(({ marker }) => marker !== null).length;
    this.#past = [...this.#past, ...wal.entries.slice(0, kept)];
    this.#older = [...this.#older, ...wal.entries.slice(this.#released, kept)];
    this.#released = 0;
    this.#epoch++;
    this.#names = new ObjectNames("cluster", brokerEpoch(this.#epoch));
    const position = wal.durablePosition;
    this.#state = {
      ...this.#state,
      owner: brokerEpoch(this.#epoch),
      leaderEpoch: leaderEpoch(this.#state.leaderEpoch + 1),
      dependencies: [{ epoch: brokerEpoch(this.#epoch - 1), from: position, to: position }],
    };
    ({
      reader: this.#reader,
      partitions: this.#partitions,
      wal: this.#wal,
      partition: this.#partition,
    } = this.#open(this.#older));
    this.#counts.restarts++;
    this.#compareWithReplay();
    // Clients ask where they are.
    for (const [id, producer] of this.#producers.entries()) {
      const active = [...this.#partition.activeProducers()].find((each) => each.producerId === id);
      const epoch = active?.producerEpoch ?? 0;
      const isBehind = active !== undefined && epoch >= producer.epoch;
      Object.assign(producer, {
        epoch: Math.max(epoch, producer.epoch),
        sequence: isBehind ? active.lastSequence + 1 : 0,
      });
    }
  }

  /** What footers and a part of the WAL give is what the whole WAL gives. */
  #compareWithReplay(): void {
    const partitions = new Partitions({}, () => undefined);
    const replayed = partitions.open({ ...aPartition(), ...orders, leaderEpoch: this.#state.leaderEpoch });
    for (const entry of this.#past) partitions.load([entry], { jumped: false });
    replayed.serve();
    const told = (partition: Partition): string =>
      JSON.stringify({
        producers: [...partition.activeProducers()],
        open: [...partition.openTransactions()],
        ends: [partition.logStart, partition.lastStable, partition.durableEnd],
      });
    const [is, was] = [told(this.#partition), told(replayed)];
    if (is !== was) throw new Error(`a restart has ${is}, a replay of everything ${was}`);
  }

  // ── What must hold ──

  #checkEnds(): void {
    const { logStart, lastStable, durableEnd } = this.#partition;
    const expected = Math.max(logStart, this.#model.lastStable(this.#wal.durable));
    if (lastStable !== expected) {
      throw new Error(`the last stable offset is ${lastStable} of ${durableEnd}, and should be ${expected}`);
    }
  }

  async #readFrom(first: number): Promise<void> {
    const random = this.#random;
    const partition = this.#partition;
    const bytesMax = random.pick([1, 400, 2_000, 100_000]);
    const outcome = await readCommitted(partition, first, bytesMax);
    if (partition !== this.#partition || outcome === null) return;
    const { from, next, records } = outcome;
    this.#counts.reads++;
    this.#counts.recordsRead += records.length;
    const found = this.#model.compare(
      { from: Math.max(from, partition.logStart), next, records },
      { durable: this.#wal.durable, compacts: this.#config.compacts },
    );
    this.#counts.superseded += found.superseded;
    this.#counts.abortedPassed += found.aborted;
  }
}
