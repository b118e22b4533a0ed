/**
 * How a partition reads what has left the memory; `SegmentReader` does it from segments. Every block is
 * checked before a byte of it is handed on, and what cannot be given is named, never skipped silently.
 */
import type { Offset } from "../base/ids.ts";
import type { SegmentSource } from "./segment-index.ts";
import type { ReadBounds, SegmentRead, TimestampRead } from "./segment-reader.ts";
import type { SegmentRef } from "./segment-ref.ts";

export interface ColdReader {
  /** Whole batches beginning with the one that contains `from`, or with the next one there is. */
  read(source: SegmentSource, from: Offset, bounds: ReadBounds): Promise<SegmentRead>;
  /** The first batch in [from, limit) that by its header has a timestamp ≥ `timestamp`. */
  findTimestamp(
    source: SegmentSource,
    timestamp: number,
    range: { readonly from: Offset; readonly limit: Offset },
  ): Promise<TimestampRead>;
  readonly index: {
    /** All references that reach above `from`, ascending. */
    from(source: SegmentSource, from: Offset): Promise<readonly SegmentRef[]>;
  };
}
