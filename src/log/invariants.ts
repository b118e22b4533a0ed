/** What must hold in every partition at every moment, under the names that the documents use. */
import { assert } from "../base/assert.ts";

/** I2: `logStart ≤ lastStable ≤ highWatermark = durableEnd ≤ logEnd`. All are numbers, so that it costs four comparisons. */
export function assertOrdered(
  logStart: number,
  lastStable: number,
  durableEnd: number,
  logEnd: number,
): void {
  assert(
    0 <= logStart && logStart <= lastStable && lastStable <= durableEnd && durableEnd <= logEnd,
    "logStart ≤ lastStable ≤ highWatermark = durableEnd ≤ logEnd",
  );
}

/** I3: offsets are dense; what is missing between two entries was reported as damaged. */
export function assertDense(expected: number, found: number): void {
  assert(expected === found, "an entry begins where the one before it ended");
}
