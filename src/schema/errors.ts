/** What can go wrong with values, as opposed to bytes: those are `MalformedError`. */
import { HoldfastError } from "../base/errors.ts";

/** The value says something that this version of its schema cannot carry; nothing was written. */
export class VersionError extends HoldfastError {
  readonly code = "UNSUPPORTED_VERSION";
  override readonly name = "VersionError";
  readonly field: string;
  readonly version: number;
  constructor(field: string, version: number) {
    super(`version ${version} has no field ${field}, and its value may not be dropped`);
    this.field = field;
    this.version = version;
  }
}

/** A string of 32,768 bytes or more in a version whose strings have two bytes for their length. */
export class TooLongError extends HoldfastError {
  readonly code = "TOO_LONG";
  override readonly name = "TooLongError";
}
