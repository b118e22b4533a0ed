/**
 * The records of `__transaction_state` in Kafka's own formats, so that Kafka's tools read them here. One
 * record is the whole state of one transactional id; a null value says that nothing is known of it any more.
 */
import {
  NO_PRODUCER,
  NO_PRODUCER_EPOCH,
  type PartitionIndex,
  type ProducerEpoch,
  type ProducerId,
} from "../../base/ids.ts";
import {
  array,
  branded,
  type Decoded,
  int8,
  int16,
  int32,
  int64,
  nullable,
  orElse,
  string,
  struct,
  tagged,
} from "../../schema/types.ts";
import { keyOf, recordCodec } from "../record-format.ts";
import type { RecordCodec } from "../shard.ts";
import type { Turn } from "../turn.ts";

const producer = branded<ProducerId>(int64);
const epoch = branded<ProducerEpoch>(int16);

export const TransactionLogKey = struct({ transactionalId: string });
export interface TransactionLogKey extends Decoded<typeof TransactionLogKey> {}

export const TransactionLogValue = struct({
  producerId: producer,
  /** Which producer this one goes on for: itself or, when its epochs were used up, another one. None: it began anew. */
  previousProducerId: tagged(0, 1, orElse(NO_PRODUCER, producer)),
  /** Goes on once the transaction that is being ended has all its markers; none: the same. */
  nextProducerId: tagged(1, 1, orElse(NO_PRODUCER, producer)),
  producerEpoch: epoch,
  /** Of transactions whose end an outside coordinator decides (KIP-939); not written here. */
  nextProducerEpoch: tagged(3, 1, orElse(NO_PRODUCER_EPOCH, epoch)),
  timeoutMs: int32,
  /** A number of `TransactionState`. */
  status: int8,
  /** Null: none was ever open in this epoch. */
  partitions: nullable(array(struct({ topic: string, partitionIds: array(branded<PartitionIndex>(int32)) }))),
  /** Both in ms since 1970; the start is −1 where no transaction was open. */
  updatedMs: int64,
  startedMs: int64,
  /** 2: the client gets an epoch with each transaction (KIP-890); 0: it does not know of that. */
  clientVersion: tagged(2, 1, orElse(0, int16)),
});
export interface TransactionLogValue extends Decoded<typeof TransactionLogValue> {}

export interface TransactionRecord {
  readonly kind: "transaction";
  readonly key: TransactionLogKey;
  readonly value: TransactionLogValue | null;
}

/** A decision about transactions. */
export type TransactionTurn = Turn<TransactionRecord>;

export const transactionRecords: RecordCodec<TransactionRecord> = recordCodec<TransactionRecord>({
  transaction: {
    keyVersions: [0],
    key: keyOf(TransactionLogKey),
    value: TransactionLogValue,
    valueVersions: [0, 1],
    writtenVersion: 1,
    flexibleFrom: 1,
  },
});
