/** What can go wrong with messages of a queue. Each message says what, where and what to do; `code` is for programs. */
import { HoldfastError } from "../../base/errors.ts";

/** What a worker says of a message; "renew" keeps it locked. */
export type AcknowledgeWord = "accept" | "release" | "reject" | "renew";

/**
 * What was said of a message did not count, or nobody knows whether it did. Either way the message is not lost: unless
 * it was said in time, it is delivered again, to this worker or another.
 */
export class AcknowledgeError extends HoldfastError {
  readonly code = "ACKNOWLEDGE";
  override readonly name = "AcknowledgeError";
  /** "unknown": an attempt may have been carried out; its answer was lost. */
  readonly fate: "not-acknowledged" | "unknown";
  readonly word: AcknowledgeWord;
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;

  constructor(
    word: AcknowledgeWord,
    place: { readonly topic: string; readonly partition: number; readonly offset: number },
    fate: AcknowledgeError["fate"],
    cause: Error,
  ) {
    const { topic, partition, offset } = place;
    const known = fate === "unknown" ? "may or may not have counted" : "did not count";
    super(`The ${word} of offset ${offset} of ${topic}/${partition} ${known}: ${cause.message}`, { cause });
    this.fate = fate;
    this.word = word;
    this.topic = topic;
    this.partition = partition;
    this.offset = offset;
  }
}

/** The lock of a message ran out, or the connection that it came over ended: another worker may have it. */
export class LockLostError extends HoldfastError {
  readonly code = "LOCK_LOST";
  override readonly name = "LockLostError";
}

/**
 * Thrown by a handler: the message can never be handled, and is not to be delivered again. It becomes a dead letter where
 * the group has a dead-letter topic. The protocol carries no reason to the broker: it is told to `onFailed` here.
 */
export class Reject extends Error {
  override readonly name = "Reject";
}
