/** What an object store may answer besides a result. */
import { HoldfastError } from "../base/errors.ts";

/** The store did not answer, or said that it does not know: the object may exist, or come to exist later. */
export class OutcomeUnknownError extends HoldfastError {
  readonly code = "OUTCOME_UNKNOWN";
  override readonly name = "OutcomeUnknownError";
  override readonly retriable = true;
}

/** A sync or write failed in a way that a second try cannot mend (I9). The process must exit; the next start decides. */
export class StoreFailedError extends HoldfastError {
  readonly code = "STORE_FAILED";
  override readonly name = "StoreFailedError";
}
