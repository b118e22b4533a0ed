/** A producer's options with their defaults, checked. */
import { Codec } from "../record/batch.ts";
import { OptionError } from "./errors.ts";
import type { Partitioner, ProducerOptions, TransactionalProducerOptions } from "./options.ts";
import { atLeast } from "./settings.ts";

export interface ProducerSettings {
  readonly codec: Codec;
  readonly compressionLevel: number | undefined;
  readonly lingerMs: number;
  readonly batchBytes: number;
  readonly recordBytesMax: number;
  readonly requestBytes: number;
  readonly bufferBytes: number;
  readonly deliveryTimeoutMs: number;
  readonly inFlightMax: number;
  readonly partitioner: Partitioner | null;
  readonly createTopics: boolean;
  /** As on the wire; −1: all. */
  readonly acks: -1 | 0 | 1;
  /** Null: batches are no part of a transaction. */
  readonly transactionalId: string | null;
}

export interface TransactionSettings {
  readonly transactionalId: string;
  readonly transactionTimeoutMs: number;
  /** How long a request about the transaction is repeated. */
  readonly persistMs: number;
}

/** A broker remembers so many batches of a producer; with more under way a retry could not be told from a gap. */
const inFlightLimit = 5;

/** Throws `OptionError`. */
export function producerSettings(options: ProducerOptions): ProducerSettings {
  const {
    compression = "none",
    compressionLevel,
    lingerMs = 0,
    batchBytes = 256 * 1024,
    recordBytesMax = 1_048_000,
    requestBytes = 4 * 1024 * 1024,
    bufferBytes = 64 * 1024 * 1024,
    deliveryTimeoutMs = 120_000,
    inFlightMax = inFlightLimit,
    partitioner = null,
    createTopics = false,
    acks = "all",
    allowLoss = false,
  } = options;
  if (!Object.hasOwn(Codec, compression)) {
    throw new OptionError(
      `compression must be one of ${Object.keys(Codec).join(", ")}, not "${String(compression)}".`,
    );
  }
  if (acks !== "all" && acks !== 1 && acks !== 0) {
    throw new OptionError(`acks must be "all", 1 or 0, not ${String(acks)}.`);
  }
  if (acks !== "all" && !allowLoss) {
    throw new OptionError(
      `acks ${acks} may lose records that were acknowledged; say allowLoss: true if that is meant, or leave acks at "all".`,
    );
  }
  if (!Number.isInteger(inFlightMax) || inFlightMax < 1 || inFlightMax > inFlightLimit) {
    throw new OptionError(`inFlightMax must be 1 to ${inFlightLimit}, not ${String(inFlightMax)}.`);
  }
  return {
    codec: Codec[compression],
    compressionLevel,
    lingerMs: atLeast("lingerMs", lingerMs, 0),
    batchBytes: atLeast("batchBytes", batchBytes, 1),
    recordBytesMax: atLeast("recordBytesMax", recordBytesMax, 1),
    requestBytes: atLeast("requestBytes", requestBytes, 1),
    bufferBytes: atLeast("bufferBytes", bufferBytes, 1),
    deliveryTimeoutMs: atLeast("deliveryTimeoutMs", deliveryTimeoutMs, 1),
    inFlightMax,
    partitioner,
    createTopics,
    acks: acks === "all" ? -1 : acks,
    transactionalId: null,
  };
}

/**
 * A record is given up when its transaction cannot be open any more. Throws `OptionError`.
 */
export function transactionalSettings(
  options: TransactionalProducerOptions,
): ProducerSettings & TransactionSettings {
  const { transactionalId, transactionTimeoutMs = 60_000 } = options;
  if (typeof transactionalId !== "string" || transactionalId === "") {
    throw new OptionError(
      "transactionalId is a name that this producer has after a restart, too, and no other has.",
    );
  }
  const settings = producerSettings(options);
  if (settings.acks !== -1) {
    throw new OptionError(`acks ${settings.acks} is not for transactions; leave acks at "all".`);
  }
  atLeast("transactionTimeoutMs", transactionTimeoutMs, 1);
  return {
    ...settings,
    deliveryTimeoutMs: Math.min(settings.deliveryTimeoutMs, transactionTimeoutMs),
    persistMs: settings.deliveryTimeoutMs,
    transactionalId,
    transactionTimeoutMs,
  };
}
