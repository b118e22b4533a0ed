/**
 * The transactions of this broker. Who has which transactional id, and how transactions end, is decided in
 * `coordinator/transaction/` and lies in `__transaction_state`; here the second phase is driven: once the
 * intention is appended, a marker in every partition that takes part, then the record of completion.
 *
 * All of it goes into one WAL, of which a crash leaves a beginning and never a later part alone. So its
 * order does what waiting would do: no marker stays without its intention, and no completion without its
 * markers, though all of them leave in one frame (I4). What a crash cuts off is driven again at the start.
 */
import { assert } from "../base/assert.ts";
import { type PartitionIndex, type ProducerId } from "../base/ids.ts";
import type { Env, Timer } from "../base/ports.ts";
import type { ShardRuntime } from "../coordinator/runtime.ts";
import { addsImplicitly, participantCode } from "../coordinator/transaction/codes.ts";
import {
  type TransactionRecord,
  transactionRecords,
  type TransactionTurn,
} from "../coordinator/transaction/records.ts";
import {
  type EndRequest,
  type Init,
  type PreparedTransaction,
  type Told,
  TransactionShard,
} from "../coordinator/transaction/shard.ts";
import type {
  Transaction,
  TransactionalClaim,
  TransactionPartition,
} from "../coordinator/transaction/transaction.ts";
import type { AppendSession } from "../log/memory-tail.ts";
import type { MarkerWish, MarkOutcome } from "../log/outcomes.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Wal } from "../log/wal.ts";
import { ErrorCode } from "../protocol/errors.ts";
import type { BrokerConfig } from "./config.ts";
import { type Groups, offsetsTopic } from "./groups.ts";
import { memoryShares } from "./memory.ts";
import { Shards } from "./shards.ts";
import type { Topics } from "./topics.ts";

export const transactionsTopic = "__transaction_state";

const topicConfigs = new Map([
  ["cleanup.policy", "compact"],
  ["compression.type", "uncompressed"],
  ["segment.bytes", "104857600"],
]);

/** Markers that one step writes: the loop is not held for a transaction over thousands of partitions. */
export const markersAtOnceDefault = 1_000;

type Runtime = ShardRuntime<TransactionShard, TransactionRecord>;

export interface TransactionsOptions {
  readonly env: Env;
  readonly config: BrokerConfig;
  readonly topics: Topics;
  readonly partitions: Partitions;
  readonly wal: Wal;
  readonly groups: Groups;
  /** Takes an id that no other producer ever had; null: this broker is fenced. */
  readonly takeProducerId: () => Promise<ProducerId | null>;
  readonly markersAtOnce: number;
  /** A log that cannot be read ends the broker: without the intentions, transactions would end in two ways. */
  readonly onFailure: (cause: Error) => void;
}

/** A transaction is late when it is over its time by this, as in Kafka. */
const lateBufferMs = 5 * 60_000;

export class Transactions {
  readonly #options: TransactionsOptions;
  readonly #shards: Shards<TransactionShard, TransactionRecord>;
  /** Transactions with more markers than one step writes, between two steps. */
  readonly #underWay = new Set<string>();
  #expiryTimer: Timer | null = null;
  #expiresMore = false;

  constructor(options: TransactionsOptions) {
    this.#options = options;
    const { env, config, topics, partitions, wal, onFailure } = options;
    const { transactionBytesMax } = memoryShares(config);
    const settings = {
      timeoutMaxMs: config.get("transaction.max.timeout.ms"),
      idExpirationMs: config.get("transactional.id.expiration.ms"),
      mayGrow: (bytes: number): boolean => this.bytes + bytes <= transactionBytesMax,
    };
    this.#shards = new Shards({
      env,
      topics,
      partitions,
      wal,
      topic: {
        name: transactionsTopic,
        partitionCount: () => config.get("transaction.state.log.num.partitions"),
        configs: topicConfigs,
      },
      codec: transactionRecords,
      makeShard: (partition) => new TransactionShard(settings, partition.leaderEpoch),
      onOpen: () => {
        if (this.#shards.isOpen) this.#driveAll();
      },
      onDecided: (shard) => this.#drive(shard),
      onFailure,
    });
    const { meter } = env;
    meter.gauge("holdfast_transactions_bytes", "About what transactions take in memory.", () => this.bytes);
    meter.gauge("holdfast_transactions_ids", "Transactional ids that are known.", () => this.count);
    meter.gauge(
      "holdfast_transactions_late_partitions",
      "Partitions whose committed readers wait for a producer that was silent for longer than a transaction may take.",
      () => this.#latePartitions(),
    );
  }

  #latePartitions(): number {
    const { env, config, partitions } = this.#options;
    const lateMs = env.clock.wallMs() - config.get("transaction.max.timeout.ms") - lateBufferMs;
    let count = 0;
    for (const { heldSinceMs } of partitions) if (heldSinceMs !== null && heldSinceMs < lateMs) count++;
    return count;
  }

  /** Begins to read what is there, after the groups have. */
  start(): void {
    this.#shards.start();
    this.#armExpiry();
  }

  get bytes(): number {
    return this.#shards.all.reduce((sum, { shard }) => sum + shard.bytes, 0);
  }
  get count(): number {
    return this.#shards.all.reduce((sum, { shard }) => sum + shard.transactionCount, 0);
  }

  /** Of all ids together: what a pattern has to look at. */
  get idCharacters(): number {
    return this.#shards.all.reduce((sum, { shard }) => sum + shard.idCharacters, 0);
  }

  /** To be asked before stage one of every request about transactions; see `Shards.enter`. */
  enter(bytes = 0): Promise<void> | undefined {
    const { groups } = this.#options;
    // Markers go to partitions of the groups, too.
    const reading = groups.whenRead();
    if (reading === undefined) return this.#shards.enterAll(bytes);
    return reading.then(() => this.#shards.enterAll(bytes));
  }

  /** Resolves when their topic is made, by us or by another broker; undefined: it is there. */
  whenMade(): Promise<void> | undefined {
    return this.#shards.whenMade();
  }

  /** Resolves when every transaction is read, without making the topic. */
  whenRead(): Promise<void> | undefined {
    return this.#shards.whenRead();
  }

  /** Decides about one transactional id, after `enter`; resolves when that, and all it relies on, is durable. */
  run<T>(id: string, decide: (shard: TransactionShard, turn: TransactionTurn) => T, bytes = 0): Promise<T> {
    return this.#shards.run(id, decide, bytes);
  }

  /** Looks at every id, where the topic is made; resolves when all that it saw is durable. */
  runAll<T>(decide: (shard: TransactionShard, turn: TransactionTurn) => T): Promise<readonly T[]> {
    return this.#shards.runAll(decide);
  }

  // ── Requests that may need a new producer id ──

  /** Rejects as `Journal.append` does. */
  async init(init: Omit<Init, "freshProducerId">): Promise<Told> {
    const { transactionalId: id } = init;
    const freshProducerId = await this.#freshIdFor(id);
    const told = await this.run(id, (shard, turn) => shard.init(turn, { ...init, freshProducerId }));
    const isEnded = this.#shardOf(id).preparedOf(id) === null;
    if (told.errorCode !== ErrorCode.CONCURRENT_TRANSACTIONS || !isEnded) return told;
    // The transaction of its predecessor is complete: the client need not ask again.
    const another = await this.#freshIdFor(id);
    return this.run(id, (shard, turn) => shard.init(turn, { ...init, freshProducerId: another }));
  }

  /** Decides in the same step, but for the one epoch in 32,766 that is the last of its producer id. */
  end(claim: TransactionalClaim, request: Omit<EndRequest, "freshProducerId">): Promise<Told> {
    const { transactionalId: id } = claim;
    const decided = (freshProducerId: ProducerId | null): Promise<Told> =>
      this.run(id, (shard, turn) => shard.end(turn, claim, { ...request, freshProducerId }));
    const isKnown = this.#shardOf(id).transaction(id) !== undefined;
    return isKnown && this.#shardOf(id).wantsProducerId(id)
      ? this.#freshIdFor(id).then(decided)
      : decided(null);
  }

  async #freshIdFor(id: string): Promise<ProducerId | null> {
    return this.#shardOf(id).wantsProducerId(id) ? this.#options.takeProducerId() : null;
  }

  #shardOf(id: string): TransactionShard {
    return this.#shards.shardOf(id).shard;
  }

  // ── What takes part ──

  /**
   * Whether what a producer wants to write belongs to its open transaction, one code per partition; requests
   * of newer versions add what does not yet (KIP-890). In one step with the appends that follow, so that the
   * addition lies before them in the WAL. `durable`: when what was decided is; null: when the appends are.
   */
  admit(
    api: "Produce" | "TxnOffsetCommit",
    version: number,
    claim: TransactionalClaim,
    partitions: readonly TransactionPartition[],
  ): { readonly errorCodes: readonly ErrorCode[]; readonly durable: Promise<unknown> | null } {
    const { shard } = this.#shards.shardOf(claim.transactionalId);
    const accepted = partitions.map(() => ErrorCode.NONE);
    if (partitions.every((each) => shard.covers(claim, each))) return { errorCodes: accepted, durable: null };
    const isImplicit = addsImplicitly(api, version);
    if (!isImplicit && !this.#options.config.get("transaction.partition.verification.enable")) {
      return { errorCodes: accepted, durable: null };
    }
    let errorCodes: readonly ErrorCode[] = [];
    const durable = this.run(claim.transactionalId, (_shard, turn) => {
      if (!isImplicit) {
        errorCodes = shard.verify(claim, partitions);
        return;
      }
      const added = shard.admit(turn, claim, partitions);
      errorCodes = partitions.map(() => added);
    });
    return { errorCodes: errorCodes.map((each) => participantCode(api, version, each)), durable };
  }

  // ── Markers ──

  /** After a decision, in the same step: ends what it wants ended. */
  #drive(runtime: Runtime): void {
    const { groups, onFailure } = this.#options;
    // Until the groups are read their partitions take no marker.
    const reading = groups.whenRead();
    if (reading !== undefined) {
      reading.then(() => this.#drive(runtime)).catch((cause: unknown) => onFailure(cause as Error));
      return;
    }
    for (const transaction of runtime.shard.prepared()) {
      if (this.#underWay.has(transaction.transactionalId)) continue;
      this.#step(runtime, transaction, placesOf(transaction), 0);
    }
  }

  /** What a crash, or a transaction without end, left. */
  #driveAll(): void {
    const { groups, onFailure } = this.#options;
    const drive = (): void => {
      for (const runtime of this.#shards.all) this.#drive(runtime);
      this.#endOrphans();
    };
    const reading = groups.whenRead();
    if (reading === undefined) drive();
    else reading.then(drive).catch((cause: unknown) => onFailure(cause as Error));
  }

  /**
   * Ends what is open in a partition though its transaction is over. Additions lie before the data that they
   * admit, and markers before the completion, so only damage leaves such a thing. Where the coordinator tells
   * how it ended, the marker is written again. Where it does not, nobody may say "aborted" of what may have
   * been acknowledged as committed: it is reported, and its readers wait until somebody decides.
   */
  #endOrphans(): void {
    const { partitions, topics, env } = this.#options;
    const known = new Map<ProducerId, Transaction>();
    for (const { shard } of this.#shards.all) {
      for (const each of shard.transactions()) known.set(each.value.producerId, each);
    }
    for (const partition of partitions) {
      const topic = topics.byId(partition.topicId)?.name;
      if (topic === undefined) continue;
      const place = { topic, partition: partition.partition };
      for (const { producerId, firstOffset, isEnding } of partition.openTransactions()) {
        // What was driven a moment ago has its marker on the way.
        if (isEnding) continue;
        const owner = known.get(producerId);
        if (owner !== undefined && (owner.isOpen || owner.isEnding) && owner.holds(place)) continue;
        const active = [...partition.activeProducers()].find((each) => each.producerId === producerId);
        const outcome = active === undefined ? null : (owner?.outcomeOf(active.producerEpoch) ?? null);
        const facts = { ...place, producerId, firstOffset, transactionalId: owner?.id ?? null, outcome };
        env.log.error("transaction.orphan", facts);
        if (owner === undefined || outcome === null) continue;
        const { producerEpoch } = owner.value;
        this.mark(place, { producerId, producerEpoch, coordinatorEpoch: this.manualEpochMax, outcome });
      }
    }
  }

  #step(runtime: Runtime, transaction: PreparedTransaction, places: readonly Place[], from: number): void {
    if (this.#shards.isOver) return;
    const { partitions, wal, markersAtOnce, onFailure } = this.#options;
    const to = Math.min(from + markersAtOnce, places.length);
    const session = partitions.begin();
    for (const place of places.slice(from, to)) this.#markOwn(transaction, place, session);
    session.commit();
    const id = transaction.transactionalId;
    if (to === places.length) {
      this.#underWay.delete(id);
      // Nobody waits for it: if the log closes meanwhile, the next start drives it again.
      runtime.run((shard, turn) => shard.completed(turn, id)).catch(() => undefined);
      return;
    }
    this.#underWay.add(id);
    wal
      .whenDurable(wal.appended)
      .then(() => this.#step(runtime, transaction, places, to))
      .catch((cause: unknown) => onFailure(cause as Error));
  }

  #markOwn(transaction: PreparedTransaction, place: Place, session: AppendSession): void {
    const outcome = this.mark(place, transaction, session);
    // Null: the topic is gone, and its part of the transaction with it.
    if (outcome === null || outcome.kind === "marked") return;
    // Somebody ended it there by hand, or with a later epoch: nothing of it is open any more.
    const { transactionalId, producerId, producerEpoch } = transaction;
    const facts = { transactionalId, producerId, producerEpoch, ...place, why: outcome.kind };
    this.#options.env.log.warn("transaction.marker-refused", facts);
  }

  /**
   * Ends a producer's transaction in one partition, after `enter`. Into `session`, whose `commit` must follow
   * in the same step; null: into one of its own. Null: there is no such partition.
   */
  mark(
    { topic, partition }: Place,
    wish: MarkerWish,
    session: AppendSession | null = null,
  ): MarkOutcome | null {
    const { topics, partitions, groups, env } = this.#options;
    const id = topics.idOf(topic);
    const log = id === undefined ? undefined : partitions.get(id, partition);
    if (log === undefined) return null;
    if (topic === offsetsTopic) {
      const ended = groups.mark(partition, wish, session);
      assert(ended.kind !== "elsewhere", "the groups of a broker that is alone are all here, and read");
      return ended;
    }
    const appends = session ?? partitions.begin();
    const outcome = log.mark(appends, wish, env.clock.wallMs());
    if (session === null) appends.commit();
    return outcome;
  }

  /**
   * The highest epoch that a marker made by hand may have: one above the coordinator's own would have it
   * refused in that partition ever after, and its next transaction there would never end.
   */
  get manualEpochMax(): number {
    const topic = this.#options.topics.byName(transactionsTopic);
    return Math.min(...(topic?.partitions.map(({ leaderEpoch }) => leaderEpoch) ?? [0]));
  }

  // ── What happens by itself ──

  #armExpiry(): void {
    if (this.#shards.isOver) return;
    const { env, config } = this.#options;
    const delayMs = config.get("transaction.remove.expired.transaction.cleanup.interval.ms");
    this.#expiryTimer = env.clock.schedule(this.#expiresMore ? 0 : delayMs, () => {
      this.#expiresMore = false;
      if (this.#shards.isOpen && !this.#shards.isOver) {
        this.#shards.runAlone((shard, turn) => {
          if (shard.expire(turn)) this.#expiresMore = true;
        });
      }
      this.#armExpiry();
    });
  }

  /** The broker stops. */
  close(): void {
    this.#expiryTimer?.cancel();
    this.#shards.close();
  }
}

interface Place {
  readonly topic: string;
  readonly partition: PartitionIndex;
}

function placesOf({ topics }: PreparedTransaction): readonly Place[] {
  return topics.flatMap(({ topic, partitionIds }) => partitionIds.map((partition) => ({ topic, partition })));
}
