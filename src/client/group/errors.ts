/** What can go wrong in a group. Each message says what, where and what to do; `code` is for programs. */
import { HoldfastError } from "../../base/errors.ts";

/** Offsets were not committed. What was handed out behind them will be handed out again, here or by another member. */
export class CommitError extends HoldfastError {
  readonly code = "COMMIT";
  override readonly name = "CommitError";
  readonly partitions: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly offset: number;
  }[];

  constructor(group: string, partitions: CommitError["partitions"], cause: Error) {
    const [first] = partitions;
    const place =
      first === undefined ? "nothing" : `offset ${first.offset} of ${first.topic}/${first.partition}`;
    const more = partitions.length > 1 ? ` and of ${partitions.length - 1} more partitions` : "";
    super(`Group ${group} did not commit ${place}${more}: ${cause.message}`, { cause });
    this.partitions = partitions;
  }
}

/** Another process has joined the group under the same instance id; this member is out for good (KIP-345). */
export class FencedMemberError extends HoldfastError {
  readonly code = "FENCED_INSTANCE_ID";
  override readonly name = "FencedMemberError";

  constructor(group: string, instanceId: string) {
    super(
      `Another member has joined group ${group} as instance "${instanceId}", so this one was put out; give each process an instanceId of its own.`,
    );
  }
}

/** The partition of a commit belongs to another member by now; whatever it read from there on will be read again. */
export class NotOwnedError extends HoldfastError {
  readonly code = "NOT_OWNED";
  override readonly name = "NotOwnedError";
}

/** A handler threw; `cause` is what. The record and those behind it will be handed out again. */
export class HandlerError extends HoldfastError {
  readonly code = "HANDLER";
  override readonly name = "HandlerError";
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;

  constructor(
    place: { readonly topic: string; readonly partition: number; readonly offset: number },
    cause: unknown,
  ) {
    const { topic, partition, offset } = place;
    const why = cause instanceof Error ? cause.message : String(cause);
    super(`The handler failed at offset ${offset} of ${topic}/${partition}: ${why}`, { cause });
    this.topic = topic;
    this.partition = partition;
    this.offset = offset;
  }
}
