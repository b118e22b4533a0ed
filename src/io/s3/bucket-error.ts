/** What a bucket answers when no second try can help: somebody has to change something first. */
import { HoldfastError } from "../../base/errors.ts";

/** What is wrong, for programs. */
export type BucketTrouble =
  | "address"
  | "credentials"
  | "denied"
  | "missing"
  | "region"
  | "clock"
  | "unsupported"
  | "refused";

/**
 * The message is one sentence, or a few: what, what it means for the data, what to do. Nothing that was acknowledged
 * is touched by it; whether the request that met it took effect is not known, and the process must stop.
 */
export class BucketError extends HoldfastError {
  readonly code = "BUCKET";
  override readonly name = "BucketError";
  readonly trouble: BucketTrouble;
  constructor(trouble: BucketTrouble, message: string, facts: { readonly cause?: unknown } = {}) {
    super(message, { cause: facts.cause });
    this.trouble = trouble;
  }
}
