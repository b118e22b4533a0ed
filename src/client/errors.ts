/**
 * What can go wrong between a client and its cluster, one class per meaning. Each message is a sentence
 * that says what, where and what to do; `code` is for programs.
 */
import { HoldfastError } from "../base/errors.ts";
import { ErrorCode, type ErrorFacts, errorFacts } from "../protocol/errors.ts";

/** An option makes no sense; nothing was started. */
export class OptionError extends HoldfastError {
  readonly code = "OPTION";
  override readonly name = "OptionError";
}

/** No broker could be reached. Nothing was sent. */
export class NoBrokerError extends HoldfastError {
  readonly code = "NO_BROKER";
  override readonly name = "NoBrokerError";
  override readonly retriable = true;
}

/** Who listens there does not speak Kafka's protocol, or not as this client needs it: TLS, HTTP, another program. */
export class NotKafkaError extends HoldfastError {
  readonly code = "NOT_KAFKA";
  override readonly name = "NotKafkaError";
}

/** The broker and this client have no version of an API in common, or none that can say what is to be said. */
export class VersionGapError extends HoldfastError {
  readonly code = "UNSUPPORTED_VERSION";
  override readonly name = "VersionGapError";
}

/** The connection ended before the answer came: the request may have been carried out, unless `sent` is false. */
export class ConnectionLostError extends HoldfastError {
  readonly code = "CONNECTION_LOST";
  override readonly name = "ConnectionLostError";
  override readonly retriable = true;
  readonly sent: boolean;
  constructor(message: string, facts: { readonly sent: boolean; readonly cause?: unknown }) {
    super(message, { cause: facts.cause });
    this.sent = facts.sent;
  }
}

export class UnknownTopicError extends HoldfastError {
  readonly code = "UNKNOWN_TOPIC";
  override readonly name = "UnknownTopicError";
  readonly topic: string;
  /** Names of topics that look like it. */
  readonly similar: readonly string[];
  constructor(topic: string, similar: readonly string[], where: string) {
    const hint =
      similar.length > 0
        ? `Did you mean ${similar.map((name) => `"${name}"`).join(" or ")}?`
        : "Create it first, or check its name.";
    super(`There is no topic "${topic}" at ${where}. ${hint}`);
    this.topic = topic;
    this.similar = similar;
  }
}

export class UnknownPartitionError extends HoldfastError {
  readonly code = "UNKNOWN_PARTITION";
  override readonly name = "UnknownPartitionError";
  readonly topic: string;
  readonly partition: number;
  constructor(topic: string, partition: number, count: number) {
    const there = count === 1 ? "its only partition is 0" : `it has the partitions 0 to ${count - 1}`;
    super(`Topic "${topic}" has no partition ${partition}; ${there}.`);
    this.topic = topic;
    this.partition = partition;
  }
}

/** The broker said no. `code` is the name of Kafka's error code, `errorCode` its number. */
export class BrokerRefusedError extends HoldfastError {
  readonly code: ErrorFacts["name"];
  override readonly name = "BrokerRefusedError";
  override readonly retriable: boolean;
  readonly errorCode: number;
  /** `what` begins the sentence: "Creating topic a". `message`: what the broker itself said. */
  constructor(what: string, errorCode: number, message: string | null = null) {
    const facts = errorFacts(errorCode);
    const said = message === null || message === "" ? facts.text : message;
    super(`${what} was refused: ${said.replace(/\.?$/, "")} (${facts.name}).`);
    this.code = facts.name;
    this.retriable = facts.retriable;
    this.errorCode = errorCode;
  }
}

/** Throws `BrokerRefusedError` unless the code is NONE. */
export function refuseUnlessNone(what: string, errorCode: number, message: string | null = null): void {
  if (errorCode !== ErrorCode.NONE) throw new BrokerRefusedError(what, errorCode, message);
}

/** Used after it was closed. */
export class ClosedError extends HoldfastError {
  readonly code = "CLOSED";
  override readonly name = "ClosedError";
}

/** What is known of records that were not acknowledged: certainly not written, or perhaps written. */
export type Fate = "not-written" | "unknown";

/** Records that were given to a producer and not acknowledged; `cause` says why. */
export class DeliveryError extends HoldfastError {
  readonly code = "DELIVERY";
  override readonly name = "DeliveryError";
  readonly fate: Fate;
  readonly topic: string;
  /** −1: none was chosen yet. */
  readonly partition: number;
  /** Of the batch that failed; each of its records fails with an error of its own. */
  readonly recordCount: number;
  constructor(facts: {
    readonly fate: Fate;
    readonly topic: string;
    readonly partition: number;
    readonly recordCount: number;
    readonly cause: Error;
  }) {
    const { topic, partition, recordCount, cause } = facts;
    const records = recordCount === 1 ? "1 record" : `${recordCount} records`;
    const place = partition < 0 ? `"${topic}"` : `"${topic}" partition ${partition}`;
    const fate =
      facts.fate === "not-written"
        ? recordCount === 1
          ? "was not written"
          : "were not written"
        : "may or may not have been written";
    super(`${records} for ${place} ${fate}: ${cause.message}`, { cause });
    this.fate = facts.fate;
    this.topic = topic;
    this.partition = partition;
    this.recordCount = recordCount;
  }
}

/** The largest record that the producer takes is smaller. Nothing was sent. */
export class RecordTooLargeError extends HoldfastError {
  readonly code = "RECORD_TOO_LARGE";
  override readonly name = "RecordTooLargeError";
}

/** The producer's buffer and the line before it are full. Nothing of the record was kept. */
export class BufferFullError extends HoldfastError {
  readonly code = "BUFFER_FULL";
  override readonly name = "BufferFullError";
  override readonly retriable = true;
}

/** The delivery deadline passed. */
export class DeadlineError extends HoldfastError {
  readonly code = "DEADLINE";
  override readonly name = "DeadlineError";
}
