/**
 * What a decision about a transaction is called towards clients of each API and version. Older clients
 * handle fewer codes, and one that they do not know ends them where they could have gone on.
 */
import { ErrorCode } from "../../protocol/errors.ts";

/** The first version whose clients know PRODUCER_FENCED (KIP-588); older ones know INVALID_PRODUCER_EPOCH. */
const fencedSince = { InitProducerId: 4, AddPartitionsToTxn: 2, AddOffsetsToTxn: 2, EndTxn: 2 } as const;

/** In the answer of the coordinator itself. */
export function coordinatorCode(
  api: keyof typeof fencedSince,
  version: number,
  errorCode: ErrorCode,
): ErrorCode {
  if (errorCode !== ErrorCode.PRODUCER_FENCED || version >= fencedSince[api]) return errorCode;
  return ErrorCode.INVALID_PRODUCER_EPOCH;
}

interface Participant {
  /** From here on clients know TRANSACTION_ABORTABLE (KIP-890, part one). */
  readonly abortableSince: number;
  /** From here on writing adds to the transaction, and clients know CONCURRENT_TRANSACTIONS (KIP-890, part two). */
  readonly addsSince: number;
  /** With which clients of any version ask again. */
  readonly retry: ErrorCode;
}

const participants = {
  Produce: { abortableSince: 11, addsSince: 12, retry: ErrorCode.NOT_ENOUGH_REPLICAS },
  TxnOffsetCommit: { abortableSince: 4, addsSince: 5, retry: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS },
} as const satisfies { readonly [api: string]: Participant };

/** Whether what such a request writes to is added to its transaction; older ones said so beforehand, and it is verified. */
export function addsImplicitly(api: keyof typeof participants, version: number): boolean {
  return version >= participants[api].addsSince;
}

/** Where something was to be written and the coordinator did not admit it. */
export function participantCode(
  api: keyof typeof participants,
  version: number,
  errorCode: ErrorCode,
): ErrorCode {
  const { abortableSince, addsSince, retry } = participants[api];
  switch (errorCode) {
    case ErrorCode.PRODUCER_FENCED:
      // Of a write, whose client may go on once it has aborted.
      return ErrorCode.INVALID_PRODUCER_EPOCH;
    case ErrorCode.TRANSACTION_ABORTABLE:
      return version >= abortableSince ? errorCode : ErrorCode.INVALID_TXN_STATE;
    case ErrorCode.CONCURRENT_TRANSACTIONS:
      return version >= addsSince ? errorCode : retry;
    case ErrorCode.COORDINATOR_NOT_AVAILABLE:
    case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
    case ErrorCode.NOT_COORDINATOR:
    // Another broker was asked, which does not know yet of a partition that is here.
    case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
    case ErrorCode.OPERATION_NOT_ATTEMPTED:
      return retry;
    default:
      return errorCode;
  }
}
