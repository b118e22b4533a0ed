/**
 * Which batches of one Produce request may become part of their producer's transaction: its coordinator is
 * asked once, for all of them, after they are judged and before the first offset is given; before stage one
 * where it is another broker. A batch that got in without it would open a transaction that nobody ends, and
 * hold up readers for ever (KIP-890).
 */
import type { TransactionalClaim, TransactionPartition } from "../coordinator/transaction/transaction.ts";
import type { Partition } from "../log/partition.ts";
import { ErrorCode } from "../protocol/errors.ts";
import type { ProduceRequest } from "../protocol/messages/produce.ts";
import { BATCH_HEADER_BYTES, BatchView, claimedBatchBytes } from "../record/batch.ts";
import type { RequestContext } from "./context.ts";

const MAGIC_AT = 16;

/** Of a transactional request, after `Transactions.enter`. Undefined: nobody has to be asked. */
export function askCoordinator(request: ProduceRequest, context: RequestContext): Promise<void> | undefined {
  const { transactionalId } = request;
  const { services, apiVersion } = context;
  if (transactionalId === null) return undefined;
  const { participation } = services.transactions;
  const kind = { api: "Produce", version: apiVersion } as const;
  if (!participation.isElsewhere(transactionalId)) return participation.whenEnded(transactionalId, kind);
  const places: TransactionPartition[] = [];
  let claim: TransactionalClaim | null = null;
  for (const { name, topicId, partitionData } of request.topicData) {
    const topic = name === "" ? services.topics.byId(topicId)?.name : name;
    if (topic === undefined) continue;
    for (const { index, records } of partitionData) {
      const batch = headerOf(records);
      if (batch === null || !batch.isTransactional) continue;
      const { producerId, producerEpoch } = batch;
      // Of whatever has another producer the batch is refused.
      claim ??= { transactionalId, producerId, producerEpoch };
      places.push({ topic, partition: index });
    }
  }
  return claim === null ? undefined : participation.ask(request, { ...kind, claim, places });
}

/** Nothing of it is judged yet. Null: it is refused in any case. */
function headerOf(records: readonly Uint8Array[] | null): BatchView | null {
  const bytes = records?.[0];
  if (bytes === undefined || bytes.byteLength < BATCH_HEADER_BYTES || bytes[MAGIC_AT] !== 2) return null;
  return claimedBatchBytes(bytes, 0) === bytes.byteLength ? BatchView.at(bytes) : null;
}

export class ProduceAdmission {
  readonly #context: RequestContext;
  readonly #request: ProduceRequest;
  #claim: TransactionalClaim | null = null;
  /** Both stay empty, and unmade, for requests without transactions. */
  #wanted: Map<Partition, TransactionPartition> | null = null;
  #refused: Map<Partition, ErrorCode> | null = null;

  constructor(context: RequestContext, request: ProduceRequest) {
    this.#context = context;
    this.#request = request;
  }

  /** A batch that is to become part of a transaction. Returns why it cannot, or null. */
  note(partition: Partition, topic: string, { producerId, producerEpoch }: BatchView): ErrorCode | null {
    const { transactionalId } = this.#request;
    if (transactionalId === null) return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    this.#claim ??= { transactionalId, producerId, producerEpoch };
    const isSame = this.#claim.producerId === producerId && this.#claim.producerEpoch === producerEpoch;
    // One transactional id has one producer.
    if (!isSame) return ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    this.#wanted ??= new Map();
    this.#wanted.set(partition, { topic, partition: partition.partition });
    return null;
  }

  /** Asks the coordinator. What is admitted must be appended in the same step. Resolves when what was decided is durable; null: with the appends. */
  decide(): Promise<unknown> | null {
    if (this.#claim === null || this.#wanted === null) return null;
    const { services, apiVersion } = this.#context;
    const { errorCodes, durable } = services.transactions.participation.admit(this.#request, {
      api: "Produce",
      version: apiVersion,
      claim: this.#claim,
      places: [...this.#wanted.values()],
    });
    for (const [at, partition] of [...this.#wanted.keys()].entries()) {
      const errorCode = errorCodes[at] ?? ErrorCode.UNKNOWN_SERVER_ERROR;
      if (errorCode === ErrorCode.NONE) continue;
      this.#refused ??= new Map();
      this.#refused.set(partition, errorCode);
    }
    return durable;
  }

  /** Why a batch for this partition is not admitted; undefined: it is. */
  refusalOf(partition: Partition, batch: BatchView): ErrorCode | undefined {
    return batch.isTransactional ? this.#refused?.get(partition) : undefined;
  }
}
