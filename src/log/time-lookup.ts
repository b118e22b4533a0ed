/**
 * Finds records by their time (ListOffsets): segments first, by what their references and indexes say,
 * then memory, batch by batch by the header; only the batch that must contain the record is decoded.
 * Answers exactly, and where a batch cannot be decoded or a range is damaged with its first offset, so
 * that whoever reads from there passes nothing over.
 */
import { leaderEpoch, offset, type Offset } from "../base/ids.ts";
import { HoldfastError } from "../base/errors.ts";
import { BatchView } from "../record/batch.ts";
import { firstRecordAtOrAfter, maxTimestampRecord, type RecordPlace } from "../record/search.ts";
import type { ColdReader } from "./cold-reader.ts";
import type { LeaderEpochs } from "./leader-epochs.ts";
import type { TimestampAndOffset } from "./outcomes.ts";
import type { SegmentSource } from "./segment-index.ts";
import type { TailIndex } from "./tail-index.ts";

/** More than this is not inflated to find one record; its batch's first offset is the answer then. */
const inflatedBytesMax = 64 * 1024 * 1024;

/** Where to look: segments in [from, memoryBegin), memory in [memoryBegin, end). */
export interface TimeSource {
  readonly segments: SegmentSource;
  readonly cold: ColdReader;
  readonly tail: TailIndex;
  readonly epochs: LeaderEpochs;
  readonly from: Offset;
  readonly memoryBegin: Offset;
  readonly end: Offset;
}

const NONE: TimestampAndOffset = { timestamp: -1, offset: offset(-1), leaderEpoch: leaderEpoch(-1) };

/** The first record at or after `timestamp`, ms since 1970. */
export async function recordAtOrAfter(timestamp: number, source: TimeSource): Promise<TimestampAndOffset> {
  // Memory first: what is in it now may have left it after an await.
  const inMemory = firstInMemory(timestamp, source);
  const inSegments = source.from < source.memoryBegin ? await firstInSegments(timestamp, source) : null;
  const place = inSegments ?? inMemory;
  return place === null ? NONE : withEpoch(place, source);
}

async function firstInSegments(timestamp: number, source: TimeSource): Promise<RecordPlace | null> {
  const limit = offset(Math.min(source.memoryBegin, source.end));
  for (let from = source.from; from < limit; ) {
    const found = await source.cold.findTimestamp(source.segments, timestamp, { from, limit });
    switch (found.kind) {
      case "absent":
        return null;
      case "damaged":
        return { timestamp, offset: found.from };
      case "batch": {
        const batch = BatchView.at(found.batch);
        const place = inBatch(batch, timestamp, source.from);
        if (place !== null) return place;
        from = batch.nextOffset;
        break;
      }
      default:
        return found satisfies never;
    }
  }
  return null;
}

function firstInMemory(timestamp: number, source: TimeSource): RecordPlace | null {
  const from = offset(Math.max(source.from, source.memoryBegin));
  for (const entry of source.tail.range(from, source.end)) {
    if (entry.maxTimestamp < timestamp) continue;
    const place = inBatch(BatchView.at(entry.payload), timestamp, source.from);
    if (place !== null) return place;
  }
  return null;
}

/** Null: the header promised a record that is not there, or that the log start has passed. */
function inBatch(batch: BatchView, timestamp: number, from: Offset): RecordPlace | null {
  try {
    return firstRecordAtOrAfter(batch, timestamp, { from, inflatedBytesMax });
  } catch (cause) {
    if (!(cause instanceof HoldfastError)) throw cause;
    return { timestamp: batch.maxTimestamp, offset: offset(Math.max(batch.baseOffset, from)) };
  }
}

/** The first of the records with the greatest timestamp (KIP-734). A segment whose latest record is below the log start is passed over. */
export async function latestRecord(source: TimeSource): Promise<TimestampAndOffset> {
  let latest = latestInMemory(source);
  if (source.from < source.memoryBegin) {
    for (const ref of await source.cold.index.from(source.segments, source.from)) {
      if (ref.base >= source.memoryBegin || ref.maxTimestampOffset < source.from) continue;
      if (ref.maxTimestamp < 0 || ref.maxTimestamp < (latest?.timestamp ?? -1)) continue;
      const isEarlier = latest === null || ref.maxTimestamp > latest.timestamp;
      if (isEarlier || ref.maxTimestampOffset < (latest?.offset ?? 0)) {
        latest = { timestamp: ref.maxTimestamp, offset: ref.maxTimestampOffset };
      }
    }
  }
  return latest === null ? NONE : withEpoch(latest, source);
}

function latestInMemory(source: TimeSource): RecordPlace | null {
  let payload: Uint8Array | null = null;
  let greatest = -1;
  const from = offset(Math.max(source.from, source.memoryBegin));
  for (const entry of source.tail.range(from, source.end)) {
    if (entry.maxTimestamp > greatest) {
      greatest = entry.maxTimestamp;
      payload = entry.payload;
    }
  }
  if (payload === null) return null;
  const batch = BatchView.at(payload);
  try {
    return maxTimestampRecord(batch, inflatedBytesMax);
  } catch (cause) {
    if (!(cause instanceof HoldfastError)) throw cause;
    return { timestamp: greatest, offset: batch.lastOffset };
  }
}

function withEpoch(place: RecordPlace, source: TimeSource): TimestampAndOffset {
  return {
    timestamp: place.timestamp,
    offset: place.offset,
    leaderEpoch: source.epochs.at(place.offset),
  };
}
