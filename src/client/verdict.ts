/**
 * What an error code in a Produce answer means for the batch: whether to send it again, and whether it is
 * certain that this attempt wrote nothing. Where that is not certain the code is read as doubt, since a
 * leader may answer it after the append (Kafka does so when leadership moves while replicas catch up).
 */
import { ErrorCode, errorFacts } from "../protocol/errors.ts";

export type Verdict =
  | { readonly kind: "written" }
  /** Too large: in two parts it may go. */
  | { readonly kind: "too-large" }
  /** The broker does not go on from this sequence. `stale`: nor from this producer id. */
  | { readonly kind: "sequence"; readonly stale: boolean }
  | { readonly kind: "again"; readonly certain: boolean; readonly moved: boolean }
  | { readonly kind: "never"; readonly certain: boolean };

/** Judged before anything is appended. */
const certain: ReadonlySet<number> = new Set<ErrorCode>([
  ErrorCode.CORRUPT_MESSAGE,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.RECORD_LIST_TOO_LARGE,
  ErrorCode.INVALID_TOPIC_EXCEPTION,
  ErrorCode.NOT_ENOUGH_REPLICAS,
  ErrorCode.INVALID_REQUIRED_ACKS,
  ErrorCode.TOPIC_AUTHORIZATION_FAILED,
  ErrorCode.CLUSTER_AUTHORIZATION_FAILED,
  ErrorCode.INVALID_TIMESTAMP,
  ErrorCode.UNSUPPORTED_VERSION,
  ErrorCode.INVALID_REQUEST,
  ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT,
  ErrorCode.POLICY_VIOLATION,
  ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
  ErrorCode.INVALID_RECORD,
  ErrorCode.THROTTLING_QUOTA_EXCEEDED,
  ErrorCode.UNKNOWN_TOPIC_ID,
  ErrorCode.INCONSISTENT_TOPIC_ID,
]);

/** The view of the cluster is out of date. */
const moved: ReadonlySet<number> = new Set<ErrorCode>([
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.UNKNOWN_LEADER_EPOCH,
  ErrorCode.UNKNOWN_TOPIC_ID,
  ErrorCode.INCONSISTENT_TOPIC_ID,
  ErrorCode.KAFKA_STORAGE_ERROR,
]);

/** Attempts of a batch that the broker calls damaged: bytes may suffer on their way, but not each time. */
const corruptAttemptsMax = 3;

export function verdictOf(code: number, attempts: number): Verdict {
  switch (code) {
    case ErrorCode.NONE:
    // A retry of a batch that the broker took so long ago that it has forgotten where.
    case ErrorCode.DUPLICATE_SEQUENCE_NUMBER:
      return { kind: "written" };
    case ErrorCode.MESSAGE_TOO_LARGE:
      return { kind: "too-large" };
    case ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER:
    case ErrorCode.UNKNOWN_PRODUCER_ID:
      return { kind: "sequence", stale: false };
    case ErrorCode.INVALID_PRODUCER_EPOCH:
    case ErrorCode.PRODUCER_FENCED:
      return { kind: "sequence", stale: true };
    default: {
      const isCertain = certain.has(code);
      const hopeless = code === ErrorCode.CORRUPT_MESSAGE && attempts >= corruptAttemptsMax;
      if (!errorFacts(code).retriable || hopeless) return { kind: "never", certain: isCertain };
      return { kind: "again", certain: isCertain, moved: moved.has(code) };
    }
  }
}
