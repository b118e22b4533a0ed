/**
 * How FLUSH, TRIM, FOLD and REPLACE change one partition's segment references, and a change of its owner
 * the WALs that it depends on. Pure; the promise is that no reference to a record at or above the log start
 * ever leaves the state except into a list object, or for one of the same offsets that its owner wrote, and
 * that the newest reference, whose footer knows producers, epochs and the end, always stays.
 */
import { leaderEpoch, type Offset, offset, type WalPosition, walPosition } from "../base/ids.ts";
import { recentSegmentsMax } from "../log/segment-list.ts";
import type { FlushRow, ListPointer, ReplaceRow, SegmentRef } from "../log/segment-ref.ts";
import type { Fold, Move, Trim } from "./commands.ts";
import type { VoidReason } from "./outcomes.ts";
import type { Dependency, PartitionState } from "./state.ts";

export type Change =
  | { readonly kind: "changed"; readonly partition: PartitionState }
  | { readonly kind: "void"; readonly reason: VoidReason };

const changed = (partition: PartitionState): Change => ({ kind: "changed", partition });
const voided = (reason: VoidReason): Change => ({ kind: "void", reason });

/** Owner and leader epoch were checked. */
export function flushPartition(before: PartitionState, row: FlushRow): Change {
  if (row.from !== before.flushed) return voided("not-at-flushed");
  const start = offset(Math.max(before.start, row.start));
  if (row.to < row.from || start > row.to) return voided("offsets");
  if (!coversRow(before, row, start)) return voided("offsets");
  const recent = row.segment === null ? before.recent : [...before.recent, row.segment];
  const after = dropBelow({ ...before, start, flushed: row.to, recent, dependencies: [] });
  return after.recent.length > recentSegmentsMax ? voided("too-many-segments") : changed(after);
}

/** Whether every offset in [from, to) is in the segment or below the log start; a recovered WAL may have left holes. */
function coversRow(before: PartitionState, row: FlushRow, start: Offset): boolean {
  const { segment } = row;
  if (segment === null) return row.to === row.from || start >= row.to;
  if (segment.base < row.from || segment.base > segment.end || segment.end !== row.to) return false;
  return segment.base <= Math.max(row.from, start) || before.dependencies.length > 0;
}

export function trimPartition(before: PartitionState, command: Trim): Change {
  const { start, footer } = command;
  if (start <= before.start || start > before.flushed) return voided("offsets");
  if (footer === null) return changed(dropBelow({ ...before, start }));
  const empty = footer.base === footer.end && footer.end === before.flushed && start === before.flushed;
  return empty ? changed({ ...before, start, folded: null, recent: [footer] }) : voided("offsets");
}

/** References and list that lie wholly below the log start go, except for the newest reference. */
function dropBelow(partition: PartitionState): PartitionState {
  const { start, recent, folded: list } = partition;
  const last = recent.length - 1;
  // As nearly always: references ascend.
  const keepsAll = last < 1 || (recent[0] as SegmentRef).end > start;
  if (keepsAll && (list === null || list.end > start)) return partition;
  const kept = recent.filter((segment, at) => at === last || segment.end > start);
  const folded =
    partition.folded !== null && partition.folded.end <= start && kept.length > 0 ? null : partition.folded;
  return { ...partition, recent: kept, folded };
}

export function foldPartition(before: PartitionState, command: Fold): Change {
  const { previous, next } = command;
  if (!samePointer(previous, before.folded)) return voided("list-changed");
  if (next === null) {
    // Nothing listed is at or above the log start any more.
    const gone = previous !== null && previous.end <= before.start && before.recent.length > 0;
    return gone ? changed({ ...before, folded: null }) : voided("offsets");
  }
  const recent = before.recent.filter((segment) => segment.end > next.end);
  const folded = before.recent.length - recent.length;
  const boundary = folded === 0 ? previous?.end : (before.recent[folded - 1] as SegmentRef).end;
  if (next.end !== boundary || recent.length === 0) return voided("offsets");
  // What the list begins with must reach down to what was referenced, or to the log start.
  const first = previous?.first ?? (before.recent[0] as SegmentRef).base;
  if (next.first > Math.max(first, before.start)) return voided("offsets");
  return changed({ ...before, folded: next, recent });
}

export function replacePartition(before: PartitionState, row: ReplaceRow): Change {
  const { previous, next, old, segments } = row;
  if (!samePointer(previous, before.folded)) return voided("list-changed");
  const isNamed = old.every(({ object, sectionStart }, at) => {
    const ref = before.recent[at];
    return ref !== undefined && ref.object === object && ref.sectionStart === sectionStart;
  });
  if (!isNamed) return voided("segments-changed");
  const taken = before.recent.slice(0, old.length);
  if (!replacesAll(before, row, taken)) return voided("offsets");
  const recent = [...segments, ...before.recent.slice(old.length)];
  const to = row.compacted?.to ?? 0;
  if (recent.length === 0 || to > before.flushed) return voided("offsets");
  if (recent.length > recentSegmentsMax) return voided("too-many-segments");
  return changed(
    dropBelow({ ...before, folded: next, recent, compacted: row.compacted ?? before.compacted }),
  );
}

/** An offset range of which references speak. */
type Range = Pick<SegmentRef, "base" | "end">;

/** Whether what comes ascends, ends where what goes ended, and speaks of every offset from the log start on that what goes spoke of. */
function replacesAll(
  { folded, start }: PartitionState,
  { next, previous, segments }: ReplaceRow,
  taken: readonly SegmentRef[],
): boolean {
  const listed = (pointer: ListPointer | null): readonly Range[] =>
    pointer === null ? [] : [{ base: pointer.first, end: pointer.end }];
  const keepsList = samePointer(next, previous);
  const goes = [...(keepsList ? [] : listed(folded)), ...taken];
  const comes = [...(keepsList ? [] : listed(next)), ...segments];
  let end = keepsList ? (folded?.end ?? 0) : 0;
  for (const range of comes) {
    if (range.base < end || range.end < range.base) return false;
    end = range.end;
  }
  if (goes.at(-1)?.end !== comes.at(-1)?.end) return false;
  return goes.every((range) => covers(comes, Math.max(range.base, start), range.end));
}

function covers(ranges: readonly Range[], from: number, to: number): boolean {
  let covered = from;
  for (const { base, end } of ranges) if (base <= covered && end > covered) covered = end;
  return covered >= to;
}

/** So many former owners' WALs at most hold parts of a partition that is moved; each move adds one until a flush. */
export const dependenciesMax = 32;

/**
 * What a partition depends on when the WAL of its owner counts for it up to `to` and no further. `from`: what
 * the owner has released. An earlier ownership of the same broker may have left a dependency: the new one
 * begins where that ends, since between the two nothing of the partition was appended there.
 */
export function dependingOn(
  { dependencies }: PartitionState,
  { epoch, from, to }: Dependency,
  always = false,
): readonly Dependency[] {
  const earlier = dependencies.findLast((each) => each.epoch === epoch);
  const begin = walPosition(Math.max(from, earlier?.to ?? 0));
  return to > begin || always ? [...dependencies, { epoch, from: begin, to }] : dependencies;
}

/** Owner and leader epoch were checked, and `to` is live. `released`: what the author has released. */
export function movePartition(before: PartitionState, command: Move, released: WalPosition): Change {
  const { owner } = before;
  if (command.to === owner) return voided("same-owner");
  const dependencies = dependingOn(before, { epoch: owner, from: released, to: command.end });
  if (dependencies.length > dependenciesMax) return voided("too-many-dependencies");
  const next = leaderEpoch(before.leaderEpoch + 1);
  return changed({ ...before, owner: command.to, leaderEpoch: next, dependencies });
}

export function samePointer(a: ListPointer | null, b: ListPointer | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.object === b.object &&
    a.checksum === b.checksum &&
    a.bytes === b.bytes &&
    a.first === b.first &&
    a.end === b.end
  );
}
