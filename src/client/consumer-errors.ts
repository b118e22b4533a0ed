/** What can end a consumer's loop: each names the partition and the offset at which it stands still, and what to do. */
import { HoldfastError } from "../base/errors.ts";

interface Place {
  readonly topic: string;
  readonly partition: number;
  /** The next offset that would have been read. */
  readonly offset: number;
}

/**
 * The records at a consumer's position do not exist any more:
 * `trimmed`: retention or a deletion took them before they were read;
 * `truncated`: the log was cut below what was read, or another history stands there (KIP-320);
 * `beyond-end`: the log ends before the offset that reading was to begin at;
 * `recreated`: the topic was deleted, and one of the same name was created.
 */
export type LossReason = "trimmed" | "truncated" | "beyond-end" | "recreated";

/** Reading stands still until `seek`; nothing was skipped. */
export class LostPositionError extends HoldfastError {
  readonly code = "LOST_POSITION";
  override readonly name = "LostPositionError";
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly reason: LossReason;
  /** The first offset that exists. */
  readonly availableStart: number;
  /** The offset behind the last record that exists. */
  readonly availableEnd: number;

  constructor(
    facts: Place & {
      readonly reason: LossReason;
      readonly availableStart: number;
      readonly availableEnd: number;
    },
  ) {
    super(lossSentence(facts));
    this.topic = facts.topic;
    this.partition = facts.partition;
    this.offset = facts.offset;
    this.reason = facts.reason;
    this.availableStart = facts.availableStart;
    this.availableEnd = facts.availableEnd;
  }
}

function lossSentence(facts: ConstructorParameters<typeof LostPositionError>[0]): string {
  const { topic, partition, offset, availableStart, availableEnd } = facts;
  const range =
    availableStart === availableEnd
      ? `it is empty now, and its next record gets offset ${availableEnd}`
      : `it holds offsets ${availableStart} to ${availableEnd - 1} now`;
  const advice = "seek to go on somewhere else, or choose with onLostPosition";
  switch (facts.reason) {
    case "trimmed":
      return `The record at offset ${offset} of ${topic}/${partition} was deleted before it was read, as were ${availableStart - offset} offsets in all: ${range}; ${advice}.`;
    case "truncated":
      return `The log of ${topic}/${partition} lost what this consumer had read up to offset ${offset}: ${range}; ${advice}.`;
    case "beyond-end":
      return `There is no offset ${offset} in ${topic}/${partition}: ${range}; ${advice}.`;
    case "recreated":
      return `Topic ${topic} was deleted and created again, so offset ${offset} of ${topic}/${partition} names another record: ${range}; ${advice}.`;
    default:
      return facts.reason satisfies never;
  }
}

/** Stored records fail their checksum or cannot be taken apart. Reading stands still until `seek`. */
export class DamagedRecordsError extends HoldfastError {
  readonly code = "DAMAGED_RECORDS";
  override readonly name = "DamagedRecordsError";
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;

  constructor(facts: Place & { readonly why: string; readonly cause?: unknown }) {
    super(
      `The records at offset ${facts.offset} of ${facts.topic}/${facts.partition} cannot be read: ${facts.why}; seek behind them, or set onDamage to "skip".`,
      { cause: facts.cause },
    );
    this.topic = facts.topic;
    this.partition = facts.partition;
    this.offset = facts.offset;
  }
}

/** A consumer is asked for something that it cannot do as it stands; the message says what would go. */
export class ConsumerUsageError extends HoldfastError {
  readonly code = "CONSUMER_USAGE";
  override readonly name = "ConsumerUsageError";
}
