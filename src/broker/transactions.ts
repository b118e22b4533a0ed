/**
 * The transactions of this broker: those whose partition of `__transaction_state` it owns. Who has which
 * transactional id, and how transactions end, is decided in `coordinator/transaction/` and lies there; the
 * second phase is driven in `transactions/driver.ts`. About a transaction that is looked after somewhere else
 * nothing is decided here: its coordinator is asked what may be written to partitions of this broker.
 */
import { NO_PRODUCER, NO_PRODUCER_EPOCH, type ProducerId } from "../base/ids.ts";
import type { Env, Timer } from "../base/ports.ts";
import {
  type TransactionRecord,
  transactionRecords,
  type TransactionTurn,
} from "../coordinator/transaction/records.ts";
import { type EndRequest, type Init, type Told, TransactionShard } from "../coordinator/transaction/shard.ts";
import type { TransactionalClaim, TransactionPartition } from "../coordinator/transaction/transaction.ts";
import type { MarkerWish } from "../log/outcomes.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Wal } from "../log/wal.ts";
import type { PartitionState } from "../metadata/state.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { alone, type Cluster } from "./cluster/cluster.ts";
import type { BrokerConfig } from "./config.ts";
import type { Groups } from "./groups.ts";
import { memoryShares } from "./memory.ts";
import { type Away, Shards } from "./shards.ts";
import type { Topics } from "./topics.ts";
import { Admission } from "./transactions/admission.ts";
import { Driver } from "./transactions/driver.ts";
import { Hanging } from "./transactions/hanging.ts";
import { type Marked, Markers } from "./transactions/markers.ts";
import { type Knowledge, Orphans } from "./transactions/orphans.ts";
import { Participation } from "./transactions/participation.ts";
import { RemoteMarkers } from "./transactions/remote-markers.ts";

export const transactionsTopic = "__transaction_state";

const topicConfigs = new Map([
  ["cleanup.policy", "compact"],
  ["compression.type", "uncompressed"],
  ["segment.bytes", "104857600"],
]);

/** Markers that one step writes: the loop is not held for a transaction over thousands of partitions. */
export const markersAtOnceDefault = 1_000;

export interface TransactionsOptions {
  readonly env: Env;
  /** Default: `alone`. */
  readonly cluster?: Cluster;
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
  readonly #cluster: Cluster;
  readonly #shards: Shards<TransactionShard, TransactionRecord>;
  readonly #markers: Markers;
  readonly #driver: Driver;
  readonly #orphans: Orphans;
  readonly #hanging: Hanging;
  /** What may be written in transactions. */
  readonly participation: Participation;
  #expiryTimer: Timer | null = null;
  #expiresMore = false;

  constructor(options: TransactionsOptions) {
    this.#options = options;
    const { env, cluster = alone, config, topics, partitions, wal, groups, onFailure } = options;
    const { epoch } = wal;
    this.#cluster = cluster;
    const { clock, log } = env;
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
      onOpen: () => this.#whenGroupsAreRead(() => this.#onOpen()),
      onDecided: (shard) => this.#driver.drive(shard),
      onFailure,
    });
    const isOver = (): boolean => this.#shards.isOver;
    this.#markers = new Markers({ clock, topics, partitions, epoch, groups });
    this.#driver = new Driver({
      env,
      partitions,
      wal,
      markers: this.#markers,
      remote: new RemoteMarkers(cluster.peers, log),
      markersAtOnce: options.markersAtOnce,
      isOver,
      onFailure,
    });
    this.#orphans = new Orphans({
      clock,
      log,
      topics,
      markers: this.#markers,
      knowledge: () => this.#known,
      isOver,
    });
    this.participation = new Participation({
      clock,
      config,
      topics,
      partitions,
      epoch,
      shards: this.#shards,
      admission: new Admission(cluster.peers, clock),
      coordinatorOf: (id) => this.#states[this.#shards.partitionOf(id)],
    });
    this.#hanging = new Hanging({
      peers: cluster.peers,
      epoch,
      partitions: () => this.#states,
      ask: async (decide) => (this.isComplete ? this.runAll(decide) : null),
    });
    const { meter } = env;
    meter.gauge("holdfast_transactions_bytes", "About what transactions take in memory.", () => this.bytes);
    meter.gauge("holdfast_transactions_ids", "Transactional ids that are known.", () => this.count);
    meter.gauge(
      "holdfast_transactions_ending",
      "Transactions that wait for markers in partitions of other brokers.",
      () => this.#driver.count,
    );
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

  /** Begins to read what is there, after the groups have, and follows what this broker owns. */
  start(): void {
    this.#shards.start();
    this.#options.partitions.onServe((partition) => this.#orphans.notice(partition));
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

  // ── Before a request is decided ──

  /** To be asked before stage one of a request about these transactional ids; see `Shards.enter`. */
  enter(ids: string | readonly string[], bytes = 0): Promise<void> | undefined {
    return this.#shards.enter(ids, bytes);
  }

  /** Resolves when their topic is made, by us or by another broker; undefined: it is there. */
  whenMade(): Promise<void> | undefined {
    return this.#shards.whenMade();
  }

  /** Resolves when every transaction that is here is read, or that takes too long; without making the topic. */
  whenListable(): Promise<void> | undefined {
    return this.#shards.whenListable();
  }

  /** Whether every transaction that this broker looks after is read. */
  get isComplete(): boolean {
    return this.#shards.isComplete;
  }

  // ── Decisions ──

  /**
   * Decides about one transactional id, after `enter`; resolves when that, and all it relies on, is durable.
   * `elsewhere`: the answer where it is not here.
   */
  run<T>(
    id: string,
    decide: (shard: TransactionShard, turn: TransactionTurn) => T,
    elsewhere: (errorCode: Away) => T,
    admittedBytes = 0,
  ): Promise<T> {
    const away = this.#shards.away(id);
    if (away === null) return this.#shards.run(id, decide, admittedBytes);
    if (admittedBytes > 0) this.#options.partitions.tail.dismiss(admittedBytes);
    return Promise.resolve(elsewhere(away));
  }

  /** Looks at every id that is here, after `whenListable`; resolves when all that it saw is durable. */
  runAll<T>(decide: (shard: TransactionShard, turn: TransactionTurn) => T): Promise<readonly T[]> {
    return this.#shards.runAll(decide);
  }

  // ── Requests that may need a new producer id ──

  /** Rejects as `Journal.append` does. */
  async init(init: Omit<Init, "freshProducerId">): Promise<Told> {
    const { transactionalId: id } = init;
    const decided = (freshProducerId: ProducerId | null): Promise<Told> =>
      this.run(id, (shard, turn) => shard.init(turn, { ...init, freshProducerId }), toldElsewhere);
    const told = await decided(await this.#freshIdFor(id));
    const isEnded = this.#shardOf(id)?.preparedOf(id) === null;
    if (told.errorCode !== ErrorCode.CONCURRENT_TRANSACTIONS || !isEnded) return told;
    // The transaction of its predecessor is complete: the client need not ask again.
    return decided(await this.#freshIdFor(id));
  }

  /** Decides in the same step, but for the one epoch in 32,766 that is the last of its producer id. */
  end(claim: TransactionalClaim, request: Omit<EndRequest, "freshProducerId">): Promise<Told> {
    const { transactionalId: id } = claim;
    const decided = (freshProducerId: ProducerId | null): Promise<Told> =>
      this.run(id, (shard, turn) => shard.end(turn, claim, { ...request, freshProducerId }), toldElsewhere);
    const shard = this.#shardOf(id);
    return shard?.transaction(id) !== undefined && shard.wantsProducerId(id)
      ? this.#freshIdFor(id).then(decided)
      : decided(null);
  }

  async #freshIdFor(id: string): Promise<ProducerId | null> {
    return this.#shardOf(id)?.wantsProducerId(id) === true ? this.#options.takeProducerId() : null;
  }

  /** Undefined: it is not here. */
  #shardOf(id: string): TransactionShard | undefined {
    return this.#shards.away(id) === null ? this.#shards.shardOf(id).shard : undefined;
  }

  /** Of their topic, as the journal has them; none before it is made. */
  get #states(): readonly PartitionState[] {
    return this.#options.topics.byName(transactionsTopic)?.partitions ?? [];
  }

  get #known(): Knowledge {
    const open = this.#shards.all;
    return { shards: open.map(({ shard }) => shard), isWhole: open.length === this.#states.length };
  }

  // ── Markers ──

  /** Ends a producer's transaction in one partition, if that is here and its group, if it is one's, is read. */
  mark(place: TransactionPartition, wish: MarkerWish): Marked {
    return this.#markers.mark(place, wish);
  }

  /** As `mark`, by somebody who is no coordinator. */
  markByHand(place: TransactionPartition, wish: MarkerWish): Marked {
    const { topics, partitions } = this.#options;
    const topic = topics.idOf(place.topic);
    const log = topic === undefined ? undefined : partitions.get(topic, place.partition);
    const last = log?.producer(wish.producerId)?.coordinatorEpoch ?? -1;
    const epochs = this.#states.map(({ leaderEpoch }) => leaderEpoch);
    // An epoch above the coordinator's own would have it refused in that partition ever after, and its next
    // transaction there would never end.
    const max = Math.max(last, epochs.length === 0 ? 0 : Math.min(...epochs));
    return this.#markers.mark(place, { ...wish, coordinatorEpoch: Math.min(wish.coordinatorEpoch, max) });
  }

  /** Whether somebody who is no coordinator may abort the producer's transaction in the place. A broker that is alone allows it always, as Kafka does. */
  async mayAbortByHand(producerId: ProducerId, place: TransactionPartition): Promise<boolean> {
    return this.#cluster === alone || this.#hanging.hangs(producerId, place);
  }

  /** A shard is read: what a crash, a move, or a transaction without end left. */
  #onOpen(): void {
    for (const runtime of this.#shards.all) this.#driver.drive(runtime);
    if (this.#shards.isComplete) this.#orphans.judge(this.#options.partitions);
  }

  /** Until the groups are read their partitions take no marker. */
  #whenGroupsAreRead(act: () => void): void {
    const reading = this.#options.groups.whenRead();
    if (reading === undefined) act();
    else reading.then(act).catch((cause: unknown) => this.#options.onFailure(cause as Error));
  }

  // ── What happens by itself ──

  #armExpiry(): void {
    if (this.#shards.isOver) return;
    const { env, config } = this.#options;
    const delayMs = config.get("transaction.remove.expired.transaction.cleanup.interval.ms");
    this.#expiryTimer = env.clock.schedule(this.#expiresMore ? 0 : delayMs, () => {
      this.#expiresMore = false;
      if (!this.#shards.isOver) {
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
    this.#driver.close();
    this.#orphans.close();
    this.#shards.close();
  }
}

function toldElsewhere(errorCode: Away): Told {
  return { errorCode, producerId: NO_PRODUCER, producerEpoch: NO_PRODUCER_EPOCH, tookFreshId: false };
}
