/** What a call to another broker of the cluster can end with, besides its answer. */
import { HoldfastError } from "../../base/errors.ts";

/**
 * "gone": the journal says that it is fenced, or this broker stops. "unreachable": nobody answers at its address.
 * "another": somebody answers there who is not that broker. "unproved": one side has another key. "lost": the
 * connection ended or no answer came in time. "full": too much is under way. "unspoken": no version in common.
 */
export type PeerTrouble = "gone" | "unreachable" | "another" | "unproved" | "lost" | "full" | "unspoken";

/** There is no answer. With `sent` the request may have been carried out all the same; without, it was not. */
export class PeerError extends HoldfastError {
  readonly code = "PEER";
  override readonly name = "PeerError";
  override readonly retriable = true;
  readonly trouble: PeerTrouble;
  readonly sent: boolean;
  constructor(
    message: string,
    facts: { readonly trouble: PeerTrouble; readonly sent: boolean; readonly cause?: unknown },
  ) {
    super(message, { cause: facts.cause });
    this.trouble = facts.trouble;
    this.sent = facts.sent;
  }
}
