/** One shard in a test: time and producer ids by hand, the records that it wrote, and the markers that it asked for. */
import {
  type PartitionIndex,
  partitionIndex,
  producerEpoch,
  type ProducerId,
  producerId,
} from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Turn } from "../turn.ts";
import {
  type TransactionLogValue,
  type TransactionRecord,
  transactionRecords,
  type TransactionTurn,
} from "./records.ts";
import type { TransactionSettings } from "./settings.ts";
import { type Told, TransactionShard } from "./shard.ts";
import type { Outcome, ProducerIdentity, TransactionalClaim, TransactionPartition } from "./transaction.ts";

export const transactionalId = "t";
export const coordinatorEpoch = 5;

export const testSettings: TransactionSettings = {
  timeoutMaxMs: 900_000,
  idExpirationMs: 7 * 24 * 3_600_000,
  mayGrow: () => true,
};

/** A marker in the log of one partition. */
export interface Marker extends ProducerIdentity, TransactionPartition {
  readonly coordinatorEpoch: number;
  readonly transactionVersion: number;
  readonly outcome: Outcome;
}

export const part = (topic: string, partition = 0): TransactionPartition => ({
  topic,
  partition: partitionIndex(partition),
});

export const identity = (id: number, epoch: number): ProducerIdentity => ({
  producerId: producerId(id),
  producerEpoch: producerEpoch(epoch),
});

export class TransactionFixture {
  shard: TransactionShard;
  /** As a restart would read them. */
  readonly records: TransactionRecord[] = [];
  readonly markers: Marker[] = [];
  /** Monotonic. */
  nowMs = 1_000;
  wallMs = 1_700_000_000_000;
  readonly #settings: TransactionSettings;
  /** The producer id that the next one who needs one gets. */
  fresh = 100;
  /** For a coordinator that is made to do wrong. */
  rewrite: (record: TransactionRecord) => TransactionRecord = (record) => record;

  constructor(settings: Partial<TransactionSettings> = {}, records: readonly TransactionRecord[] = []) {
    this.#settings = { ...testSettings, ...settings };
    this.shard = this.#loaded(records);
    this.records.push(...records);
  }

  #loaded(records: readonly TransactionRecord[]): TransactionShard {
    const shard = new TransactionShard(this.#settings, coordinatorEpoch);
    for (const record of records) shard.load(record);
    shard.loaded(this.nowMs);
    return shard;
  }

  /** The process dies; what it wrote is read again. */
  restart(): void {
    this.shard = this.#loaded(this.records);
  }

  turn<T>(decide: (shard: TransactionShard, turn: TransactionTurn) => T): T {
    const now = { monotonicMs: this.nowMs, wallMs: this.wallMs };
    const turn = new Turn<TransactionRecord>(now, (record) => this.shard.apply(record));
    const write = turn.write.bind(turn);
    turn.write = (record) => write(this.rewrite(record));
    const result = decide(this.shard, turn);
    this.records.push(...turn.records.map(throughBytes));
    return result;
  }

  /** How many records were written by what `act` does. */
  written(act: () => void): number {
    const before = this.records.length;
    act();
    return this.records.length - before;
  }

  get value(): TransactionLogValue | null {
    return this.shard.transaction(transactionalId)?.value ?? null;
  }
  get state(): string | null {
    return this.shard.transaction(transactionalId)?.state ?? null;
  }
  get current(): ProducerIdentity {
    const { producerId: id, producerEpoch: epoch } = this.value as TransactionLogValue;
    return { producerId: id, producerEpoch: epoch };
  }

  /** One call, as the wire has it. */
  init(expected: ProducerIdentity | null = null, timeoutMs = 60_000, id = transactionalId): Told {
    const told = this.turn((shard, turn) =>
      shard.init(turn, { transactionalId: id, timeoutMs, expected, freshProducerId: this.#fresh }),
    );
    if (told.tookFreshId) this.fresh++;
    return told;
  }

  get #fresh(): ProducerId {
    return producerId(this.fresh);
  }

  /** Until there is an answer, as a client asks. */
  start(expected: ProducerIdentity | null = null, timeoutMs?: number): TransactionalClaim {
    let told = this.init(expected, timeoutMs);
    if (told.errorCode === ErrorCode.CONCURRENT_TRANSACTIONS) {
      this.drive();
      told = this.init(expected, timeoutMs);
    }
    if (told.errorCode !== ErrorCode.NONE) throw new Error(`refused with ${told.errorCode}`);
    return this.as(told);
  }

  /** A producer that had got this far when the log began. */
  startAt(epoch: number): TransactionalClaim {
    const claim = this.start();
    const value = { ...(this.value as TransactionLogValue), producerEpoch: producerEpoch(epoch) };
    this.turn((_, turn) => turn.write({ kind: "transaction", key: { transactionalId }, value }));
    return this.as(identity(claim.producerId, epoch));
  }

  as({ producerId: id, producerEpoch: epoch }: ProducerIdentity): TransactionalClaim {
    return { transactionalId, producerId: id, producerEpoch: epoch };
  }

  add(claim: TransactionalClaim, ...partitions: TransactionPartition[]): ErrorCode {
    return this.turn((shard, turn) => shard.addPartitions(turn, claim, partitions));
  }
  admit(claim: TransactionalClaim, ...partitions: TransactionPartition[]): ErrorCode {
    return this.turn((shard, turn) => shard.admit(turn, claim, partitions));
  }

  /** EndTxn without its markers. */
  end(claim: TransactionalClaim, outcome: Outcome, clientVersion: 0 | 2 = 2): Told {
    const told = this.turn((shard, turn) =>
      shard.end(turn, claim, { outcome, clientVersion, freshProducerId: this.#fresh }),
    );
    if (told.tookFreshId) this.fresh++;
    return told;
  }

  commit(claim: TransactionalClaim, clientVersion?: 0 | 2): Told {
    const told = this.end(claim, "commit", clientVersion);
    this.drive();
    return told;
  }
  abort(claim: TransactionalClaim, clientVersion?: 0 | 2): Told {
    const told = this.end(claim, "abort", clientVersion);
    this.drive();
    return told;
  }

  /** Writes the markers of everything that is at its end, and completes it. */
  drive(): void {
    for (const { transactionalId: id, topics, ...marker } of this.shard.prepared()) {
      for (const { topic, partitionIds } of topics) {
        for (const partition of partitionIds as readonly PartitionIndex[]) {
          this.markers.push({ ...marker, topic, partition });
        }
      }
      this.turn((shard, turn) => shard.completed(turn, id));
    }
  }

  /** Time passes, and what is due happens. */
  pass(ms: number): void {
    this.nowMs += ms;
    this.wallMs += ms;
    if (this.shard.nextDeadlineMs <= this.nowMs) this.turn((shard, turn) => shard.onTime(turn));
  }
}

export function throughBytes(record: TransactionRecord): TransactionRecord {
  const decoded = transactionRecords.decode(transactionRecords.encode(record));
  if (decoded === null) throw new Error("a kind of record that is not known");
  return decoded;
}
