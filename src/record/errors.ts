/** What can be wrong with the records of a batch, beyond bytes that do not follow their format (`MalformedError`). */
import { HoldfastError } from "../base/errors.ts";

/** The records would inflate to more bytes than the caller allows; nothing was kept. */
export class InflationError extends HoldfastError {
  readonly code = "INFLATES_TOO_LARGE";
  override readonly name = "InflationError";
  readonly inflatedBytesMax: number;
  constructor(inflatedBytesMax: number) {
    super(`the records inflate to more than ${inflatedBytesMax} bytes`);
    this.inflatedBytesMax = inflatedBytesMax;
  }
}
