/**
 * Whether somebody may end a transaction, and whether that has happened already. A request may be late, or
 * come twice because its answer was lost. A client of KIP-890 gets a new epoch with each transaction, so its
 * request names one transaction and no other; for older clients only the state tells what they mean.
 */
import { ErrorCode } from "../../protocol/errors.ts";
import { isSame, type Outcome, type ProducerIdentity, stateAfter, type Transaction } from "./transaction.ts";

export type Verdict =
  /** It is to be ended in this way. */
  | { readonly kind: "end" }
  /** It was: the answer was lost. */
  | { readonly kind: "ended" }
  | { readonly kind: "refused"; readonly errorCode: ErrorCode };

const end: Verdict = { kind: "end" };
const ended: Verdict = { kind: "ended" };
const refused = (errorCode: ErrorCode): Verdict => ({ kind: "refused", errorCode });

/** A client that does not know of KIP-890: one epoch for all of its transactions. */
export function judgeEnd(transaction: Transaction, claim: ProducerIdentity, outcome: Outcome): Verdict {
  const { value, state } = transaction;
  if (claim.producerId !== value.producerId) return refused(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
  if (claim.producerEpoch !== value.producerEpoch) return refused(ErrorCode.PRODUCER_FENCED);
  const after = stateAfter[outcome];
  if (state === "Ongoing") return end;
  if (state === after.completed && value.clientVersion < 2) return ended;
  return refused(state === after.prepared ? ErrorCode.CONCURRENT_TRANSACTIONS : ErrorCode.INVALID_TXN_STATE);
}

/** A client of KIP-890: who still has the epoch before has not heard that this transaction is at its end. */
export function judgeEndOfEpoch(
  transaction: Transaction,
  claim: ProducerIdentity,
  outcome: Outcome,
): Verdict {
  const { value, state, former, isEnding, next } = transaction;
  if (next !== null && isSame(claim, next)) return refused(ErrorCode.CONCURRENT_TRANSACTIONS);
  const isNow = isSame(claim, value);
  const isFormer = former !== null && isSame(claim, former);
  if (claim.producerId !== value.producerId && !isFormer) {
    return refused(ErrorCode.INVALID_PRODUCER_ID_MAPPING);
  }
  const after = stateAfter[outcome];
  if (isEnding) {
    // Its markers carry the next epoch; who asks again has the one below.
    if (claim.producerEpoch !== value.producerEpoch - 1) return refused(ErrorCode.PRODUCER_FENCED);
    return refused(
      state === after.prepared ? ErrorCode.CONCURRENT_TRANSACTIONS : ErrorCode.INVALID_TXN_STATE,
    );
  }
  if (state === "Ongoing") return isNow ? end : refused(ErrorCode.PRODUCER_FENCED);
  if (isNow) {
    // Nothing was added. Whether something was is what a client may not know, so an abort is always taken.
    return outcome === "abort" ? end : refused(ErrorCode.INVALID_TXN_STATE);
  }
  if (!isFormer || state === "Empty") return refused(ErrorCode.PRODUCER_FENCED);
  return state === after.completed ? ended : refused(ErrorCode.INVALID_TXN_STATE);
}
