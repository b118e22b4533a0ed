/**
 * The world's faults, one class per meaning. `retriable` says whether the same call can succeed later
 * without anyone changing anything. Our own bugs are `AssertionFailure` (assert.ts).
 */
export abstract class HoldfastError extends Error {
  abstract readonly code: string;
  readonly retriable: boolean = false;
}

/** Bytes that do not follow their format: too short, too long, an impossible value. Nothing was changed. */
export class MalformedError extends HoldfastError {
  readonly code = "MALFORMED";
  override readonly name = "MalformedError";
}

/** What a disk refused. `errno` is the POSIX name, for example `ENOSPC`. */
export class DiskError extends HoldfastError {
  readonly code = "DISK";
  override readonly name = "DiskError";
  override readonly retriable: boolean;
  readonly errno: string;
  readonly operation: string;
  readonly path: string;
  constructor(facts: { errno: string; operation: string; path: string; cause?: unknown }) {
    super(`${facts.operation} ${facts.path}: ${facts.errno}`, { cause: facts.cause });
    this.errno = facts.errno;
    this.operation = facts.operation;
    this.path = facts.path;
    this.retriable = facts.errno === "ENOSPC" || facts.errno === "EDQUOT" || facts.errno === "EMFILE";
  }
}

/** The WAL stopped after a failed or unknown write: nothing further will be acknowledged by this process. */
export class WalClosedError extends HoldfastError {
  readonly code = "WAL_CLOSED";
  override readonly name = "WalClosedError";
}

/** Bytes that were durable and are damaged now. Names what is affected; nothing was deleted. */
export class DamageError extends HoldfastError {
  readonly code = "DAMAGE";
  override readonly name = "DamageError";
}

/** The data directory or an option cannot be used; the message is one sentence that says what, where and what to do. */
export class RefusedError extends HoldfastError {
  readonly code = "REFUSED";
  override readonly name = "RefusedError";
}

/** Nobody could be reached at an address; nothing was sent. `reason` is the system's name for it, for example `ECONNREFUSED`. */
export class UnreachableError extends HoldfastError {
  readonly code = "UNREACHABLE";
  override readonly name = "UnreachableError";
  override readonly retriable = true;
  readonly reason: string;
  constructor(message: string, facts: { readonly reason: string; readonly cause?: unknown }) {
    super(message, { cause: facts.cause });
    this.reason = facts.reason;
  }
}
