/**
 * Every option of the client and of its producers with its unit and default. An option that is absent or undefined takes its
 * default; one that makes no sense is refused with `OptionError` when the client or producer is made.
 * The consumer's are in `consumer-options.ts`.
 */
import type { Codec } from "../record/batch.ts";

export interface ClientOptions {
  /** Where to ask first: "host:port" or several, as a list or with commas. The port defaults to 9092. */
  readonly bootstrap: string | readonly string[];
  /** The name by which brokers see this client in logs and metrics; default "holdfast". */
  readonly clientId?: string | undefined;
  /** For the first connection and every other; default 10,000 ms. */
  readonly connectTimeoutMs?: number | undefined;
  /** How long an answer may take, beyond what the request itself allows; default 30,000 ms. */
  readonly requestTimeoutMs?: number | undefined;
  /** How long to look for a broker before the first was ever reached, and for a topic that is not there; defaults 10,000 and 1,000 ms. */
  readonly bootstrapTimeoutMs?: number | undefined;
  readonly topicTimeoutMs?: number | undefined;
  /** Pause after a failure: doubles from the first to the second, each with a fifth of chance; defaults 50 and 1,000 ms. */
  readonly backoffMs?: number | undefined;
  readonly backoffMaxMs?: number | undefined;
  /** Age at which what is known of a topic is asked for again in the background; default 300,000 ms. */
  readonly metadataMaxAgeMs?: number | undefined;
  /** A longer answer ends the connection; default 256 MiB. */
  readonly frameBytesMax?: number | undefined;
}

export type CompressionName = keyof typeof Codec;

/** Chooses a partition of [0, count). `key` is null where the record has none. */
export type Partitioner = (topic: string, key: Uint8Array | null, count: number) => number;

export interface ProducerOptions {
  /** Default "none". */
  readonly compression?: CompressionName | undefined;
  /** Of the codec's own scale: gzip 1–9, zstd 1–22. */
  readonly compressionLevel?: number | undefined;
  /**
   * How long a record may wait for others to share its batch; default 0 ms: what is sent in one turn of the
   * event loop, or while the connection is busy, shares a batch anyway.
   */
  readonly lingerMs?: number | undefined;
  /** A batch is closed at this size, before compression; a larger record has a batch of its own. Default 256 KiB. */
  readonly batchBytes?: number | undefined;
  /** The largest record, refused at once when it is larger; default 1,048,000, a little less than brokers take by default. */
  readonly recordBytesMax?: number | undefined;
  /** One request carries at most so much, unless one batch is larger; default 4 MiB. */
  readonly requestBytes?: number | undefined;
  /** Memory for records that are not acknowledged; beyond it `send` waits for room, and then refuses. Default 64 MiB. */
  readonly bufferBytes?: number | undefined;
  /** From `send` to the end of all attempts; default 120,000 ms. */
  readonly deliveryTimeoutMs?: number | undefined;
  /** Produce requests under way on a connection, 1 to 5; default 5. Order is kept whatever it is. */
  readonly inFlightMax?: number | undefined;
  readonly partitioner?: Partitioner | undefined;
  /** Have the broker create a topic that is not there, if it is configured to; default false, so that a typo is an error. */
  readonly createTopics?: boolean | undefined;
  /** "all": acknowledged when durable. 1 and 0 need `allowLoss`. */
  readonly acks?: "all" | 1 | 0 | undefined;
  /** Says that acknowledged records may be lost, or not acknowledged at all. */
  readonly allowLoss?: boolean | undefined;
}

export interface TransactionalProducerOptions extends ProducerOptions {
  /**
   * A name that this producer has after a restart, too, and that no other has at the same time: whoever comes
   * with it puts its predecessor out and ends what that left open.
   */
  readonly transactionalId: string;
  /** The broker aborts a transaction that has been open for so long; default 60,000 ms. */
  readonly transactionTimeoutMs?: number | undefined;
}
