/**
 * Whether a partition is to be compacted now, and how far: computed from its references, its settings and
 * what the journal knows of earlier passes, without reading a byte. A pass goes over the log from its start
 * to `end`, because what is superseded may lie anywhere below. Never part of it is what is not in segments,
 * what is not stable, and what is younger than `min.compaction.lag.ms`.
 *
 *   log start            compacted to            end           flushed, stable
 *   |── clean ───────────────|── dirty ────────────|── too young ───|
 */
import type { Offset } from "../base/ids.ts";
import type { LogConfig } from "./log-config.ts";
import { hasRecords } from "./segment-list.ts";
import type { Compacted, SegmentRef } from "./segment-ref.ts";
import { ownSegmentBytesMin } from "./segment-writer.ts";

export type CompactionLimits = Pick<LogConfig, "compactionLagMinMs" | "compactionLagMaxMs" | "dirtyRatioMin">;

export interface CompactionMoment {
  readonly wallMs: number;
  readonly start: Offset;
  /** Below it every transaction is decided. */
  readonly lastStable: Offset;
  readonly compacted: Compacted | null;
}

export type CompactionReason =
  /** `min.cleanable.dirty.ratio` is passed. */
  | "dirty"
  /** `max.compaction.lag.ms` is passed. */
  | "lag"
  /** Tombstones or markers may go (`delete.retention.ms`). */
  | "horizon"
  /** There are so many small segments that they are better one. */
  | "pieces";

export interface CompactionPlan {
  readonly reason: CompactionReason;
  /** What is read, ascending, from the log start on. */
  readonly refs: readonly SegmentRef[];
  /** Records from here on are not compared with each other yet. */
  readonly firstDirty: Offset;
  /** The end of the last of `refs`. */
  readonly end: Offset;
  readonly dirtyBytes: number;
  readonly cleanBytes: number;
}

/** So many small segments are merged even if nothing in them is superseded: a list of references is to stay short. */
export const smallSegmentsMax = 16;

/** `refs`: all segments that reach above the log start, ascending. Null: there is nothing to do now. */
export function planCompaction(
  refs: readonly SegmentRef[],
  limits: CompactionLimits,
  now: CompactionMoment,
): CompactionPlan | null {
  const cleanable = cleanableRefs(refs, limits, now);
  const newest = cleanable.at(-1);
  if (newest === undefined) return null;
  const firstDirty = Math.max(now.compacted?.to ?? 0, now.start) as Offset;
  const dirty = cleanable.filter(({ end }) => end > firstDirty);
  const dirtyBytes = recordBytes(dirty);
  const cleanBytes = recordBytes(cleanable) - dirtyBytes;
  const reason = reasonFor(cleanable, dirty, dirtyBytes / (dirtyBytes + cleanBytes), limits, now);
  if (reason === null) return null;
  return { reason, refs: cleanable, firstDirty, end: newest.end, dirtyBytes, cleanBytes };
}

function cleanableRefs(
  refs: readonly SegmentRef[],
  { compactionLagMinMs }: CompactionLimits,
  now: CompactionMoment,
): readonly SegmentRef[] {
  const live = refs.filter((ref) => hasRecords(ref) && ref.end > now.start);
  const isYoung = (ref: SegmentRef): boolean =>
    compactionLagMinMs > 0 &&
    now.wallMs - Math.max(ref.maxTimestamp, ref.appendedLastMs) < compactionLagMinMs;
  const end = live.findIndex((ref) => ref.end > now.lastStable || isYoung(ref));
  return end < 0 ? live : live.slice(0, end);
}

function reasonFor(
  cleanable: readonly SegmentRef[],
  dirty: readonly SegmentRef[],
  dirtyRatio: number,
  limits: CompactionLimits,
  now: CompactionMoment,
): CompactionReason | null {
  const [oldest] = dirty;
  if (oldest !== undefined) {
    if (dirtyRatio > limits.dirtyRatioMin) return "dirty";
    if (now.wallMs - oldest.appendedFirstMs > limits.compactionLagMaxMs) return "lag";
  }
  const horizonMs = now.compacted?.horizonMs ?? -1;
  if (horizonMs >= 0 && horizonMs <= now.wallMs) return "horizon";
  const small = cleanable.filter((ref) => ref.sectionBytes < ownSegmentBytesMin);
  return small.length >= smallSegmentsMax ? "pieces" : null;
}

/** Without the footers, which would make small segments look full. */
function recordBytes(refs: readonly SegmentRef[]): number {
  let bytes = 0;
  for (const ref of refs) bytes += Math.max(1, ref.sectionBytes - 2 * ref.footerBytes);
  return bytes;
}
