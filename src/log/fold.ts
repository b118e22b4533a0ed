/**
 * Keeps the journal's part of a partition short: when it has many recent references, all but the newest
 * go into a new list object, together with what the old list had, and one command exchanges the pointer.
 * A list is written and known durable before the command names it, and the old one is left to garbage
 * collection. References below the log start are left out; no other ever is.
 */
import { DamageError } from "../base/errors.ts";
import type { LeaderEpoch, Offset } from "../base/ids.ts";
import type { Env, ObjectStore } from "../base/ports.ts";
import type { ObjectNames } from "./object-names.ts";
import { settledBy, storeObject } from "./object-writer.ts";
import type { SectionIdentity } from "./segment-format.ts";
import type { SegmentIndex, SegmentSource } from "./segment-index.ts";
import {
  encodeList,
  isListed,
  type PartitionSegments,
  recentSegmentsMax,
  type SegmentList,
} from "./segment-list.ts";
import type { ListPointer, SegmentRef } from "./segment-ref.ts";

/** From so many recent references on, a partition is folded: early enough that no FLUSH is refused for them. */
export const foldRecentMin = recentSegmentsMax - 16;
/** So many of the newest stay in the journal, where reads of recent records find them. */
const keptRecent = 8;
/** A list with so many is not written again; the next one goes on from it. */
const listSegmentsMax = 512;

/** One FOLD command. */
export interface FoldRequest extends SectionIdentity {
  readonly leaderEpoch: LeaderEpoch;
  readonly previous: ListPointer | null;
  readonly next: ListPointer | null;
}

/** Puts a FOLD into the journal. Resolves when its slot is decided; "void": nothing took effect. */
export type PublishFold = (fold: FoldRequest) => Promise<"published" | "void">;

export interface FoldSource extends SegmentSource {
  readonly leaderEpoch: LeaderEpoch;
  readonly logStart: Offset;
}

export interface FoldTools {
  readonly env: Pick<Env, "log">;
  readonly store: ObjectStore;
  readonly names: ObjectNames;
  readonly index: SegmentIndex;
  readonly publishFold: PublishFold;
}

export const needsFold = (segments: PartitionSegments): boolean => segments.recent.length >= foldRecentMin;

/**
 * The next list: what the old one has and all but the newest references, except for what lies below
 * `start`. `old` is null where it cannot be read; the next list then goes on from it as it is.
 */
export function planFold(
  segments: PartitionSegments,
  old: SegmentList | null,
  start: Offset,
): SegmentList | null {
  const { folded, recent } = segments;
  const fresh = recent.slice(0, Math.max(0, recent.length - keptRecent));
  if (fresh.length === 0) return null;
  if (folded !== null && folded.end > start && (old === null || old.segments.length >= listSegmentsMax)) {
    return { previous: folded, segments: fresh };
  }
  const previous = isListed(old?.previous ?? null, start) ? (old?.previous ?? null) : null;
  const all = [...(old?.segments ?? []), ...fresh];
  // The list must reach down to the log start, so one goes only if the next one does.
  let first = 0;
  while (first < all.length - 1 && (all[first + 1] as SegmentRef).base <= start) first++;
  return { previous, segments: previous === null ? all.slice(first) : all };
}

export async function foldSegments(source: FoldSource, tools: FoldTools): Promise<"published" | "void"> {
  const segments = source.segments();
  const { folded } = segments;
  const next = planFold(
    segments,
    folded === null ? null : await readable(source, folded, tools),
    source.logStart,
  );
  if (next === null) return "void";
  const list = await storeObject(tools.store, tools.names, (origin) => encodeList(origin, source, next));
  const { topicId, partition, leaderEpoch } = source;
  const { pointer } = list.content;
  const request = { topicId, partition, leaderEpoch, previous: folded, next: pointer };
  return settledBy(tools.names, list, tools.publishFold(request));
}

/** Null when the list is damaged: it was reported where it is read, and folding goes on without it. */
async function readable(
  source: FoldSource,
  pointer: ListPointer,
  tools: FoldTools,
): Promise<SegmentList | null> {
  try {
    return await tools.index.list(source, pointer);
  } catch (cause) {
    if (!(cause instanceof DamageError)) throw cause;
    tools.env.log.error("list.damaged", { cause });
    return null;
  }
}
