/** Why something was not done, as Kafka tells it: a code and a sentence. */
import { DiskError } from "../base/errors.ts";
import type { VoidReason } from "../metadata/outcomes.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";

export interface Refusal {
  readonly errorCode: ErrorCode;
  readonly errorMessage: string | null;
}

export const accepted: Refusal = { errorCode: ErrorCode.NONE, errorMessage: null };

/** Longer sentences are cut: they may quote what a client sent, and old versions have short strings. */
const messageLengthMax = 1_000;

/** Without a sentence of its own it is that of the code. */
export function refusal(
  errorCode: ErrorCode,
  errorMessage = errorFacts(errorCode).text,
): Refusal & { readonly errorMessage: string } {
  if (errorMessage.length <= messageLengthMax) return { errorCode, errorMessage };
  return { errorCode, errorMessage: `${errorMessage.slice(0, messageLengthMax - 1)}…` };
}

/** Of access rights (ACLs), which nobody judges by here yet: Kafka's words when it has no authorizer. */
export const noAuthorizer: Refusal = refusal(
  ErrorCode.SECURITY_DISABLED,
  "No Authorizer is configured on the broker",
);

/** What stands in the list more than once. */
export function repeated<T>(all: Iterable<T>): ReadonlySet<T> {
  const seen = new Set<T>();
  const twice = new Set<T>();
  for (const each of all) (seen.has(each) ? twice : seen).add(each);
  return twice;
}

const voidCodes: { readonly [reason in VoidReason]?: ErrorCode } = {
  "name-taken": ErrorCode.TOPIC_ALREADY_EXISTS,
  "unknown-topic": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  "unknown-partition": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  "partition-count": ErrorCode.INVALID_PARTITIONS,
  "author-not-live": ErrorCode.NOT_CONTROLLER,
  "owner-not-live": ErrorCode.NOT_CONTROLLER,
};

/** A change that the journal did not take, because something else was decided before it. */
export function voidRefusal(reason: VoidReason): Refusal {
  return refusal(voidCodes[reason] ?? ErrorCode.UNKNOWN_SERVER_ERROR, `The change was not made: ${reason}.`);
}

/**
 * Runs a change of metadata. A full disk refuses it with a retriable code, since nothing took effect;
 * any other error goes on: the journal is closed then, and the outcome unknown.
 */
export async function attempt<T>(change: () => Promise<T>): Promise<T | Refusal> {
  try {
    return await change();
  } catch (error) {
    if (!(error instanceof DiskError && error.retriable)) throw error;
    return refusal(ErrorCode.KAFKA_STORAGE_ERROR, `The change could not be written: ${error.message}.`);
  }
}
