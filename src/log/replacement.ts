/**
 * Exchanges segments of partitions for new ones in one REPLACE command. The new objects are durable before
 * it is written; it names what it takes away, so it is void when a flush, a fold or retention has changed
 * that meanwhile, and is then made anew from what stands there. Where old segments are in a folded list, a
 * new list without them is written first.
 */
import type { LeaderEpoch } from "../base/ids.ts";
import type { ObjectStore } from "../base/ports.ts";
import { foldRecentMin } from "./fold.ts";
import type { ObjectNames } from "./object-names.ts";
import { discard, storeObject, tookNoEffect } from "./object-writer.ts";
import type { ObjectOrigin, SectionIdentity } from "./segment-format.ts";
import type { SegmentIndex, SegmentSource } from "./segment-index.ts";
import { encodeList, type PartitionSegments } from "./segment-list.ts";
import type { Compacted, PublishReplace, ReplaceRow, SegmentRef } from "./segment-ref.ts";

export interface ReplacementSource extends SegmentSource {
  readonly leaderEpoch: LeaderEpoch;
}

export interface Exchange {
  readonly source: ReplacementSource;
  /** Neighbours. None: only `compacted` is to be said. */
  readonly old: readonly SegmentRef[];
  /** Of the same offsets. */
  readonly segments: readonly SegmentRef[];
  /** Null: what the journal has stays. */
  readonly compacted: Compacted | null;
}

export interface ReplacementTools {
  readonly store: ObjectStore;
  readonly names: ObjectNames;
  readonly index: SegmentIndex;
  readonly publishReplace: PublishReplace;
}

/** How often a command that is void is made anew. */
const attemptsMax = 3;
/** With more segments than this a partition has a list. */
const listedMin = 32;
/** So many of the newest stay in the journal. */
const keptRecent = 8;

/**
 * Settles `objects`, in which the new segments lie. "void": nothing took effect, and they are gone. An
 * exchange whose old segments are not there any more is passed over. Rejects as `PublishReplace` does;
 * after an unknown outcome everything stays, and unsettled.
 */
export async function publishExchanges(
  exchanges: readonly Exchange[],
  objects: readonly { readonly origin: ObjectOrigin }[],
  tools: ReplacementTools,
): Promise<"published" | "void"> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const { rows, lists } = await rowsOf(exchanges, objects, tools);
    const all = [...objects, ...lists].map(({ origin }) => ({ origin }));
    if (rows.length === 0) {
      await discard(tools.store, tools.names, all);
      return "void";
    }
    const below = tools.names.below(all.map(({ origin }) => origin));
    const outcome = await tools.publishReplace({ rows, below }).catch(async (cause: unknown) => {
      if (tookNoEffect(cause)) await discard(tools.store, tools.names, all);
      throw cause;
    });
    if (outcome === "published") {
      for (const { origin } of all) tools.names.settle(origin);
      return outcome;
    }
    await discard(tools.store, tools.names, lists);
  }
  await discard(tools.store, tools.names, objects);
  return "void";
}

/** Nothing is published yet: whatever goes wrong here leaves nothing behind. */
async function rowsOf(
  exchanges: readonly Exchange[],
  objects: readonly { readonly origin: ObjectOrigin }[],
  tools: ReplacementTools,
): Promise<{
  readonly rows: readonly ReplaceRow[];
  readonly lists: readonly { readonly origin: ObjectOrigin }[];
}> {
  const lists: { readonly origin: ObjectOrigin }[] = [];
  const rows: ReplaceRow[] = [];
  try {
    for (const exchange of exchanges) {
      const row = await rowOf(exchange, lists, tools);
      if (row !== null) rows.push(row);
    }
    return { rows, lists };
  } catch (cause) {
    await discard(tools.store, tools.names, [...objects, ...lists]);
    throw cause;
  }
}

async function rowOf(
  exchange: Exchange,
  lists: { readonly origin: ObjectOrigin }[],
  tools: ReplacementTools,
): Promise<ReplaceRow | null> {
  const { source, old, segments, compacted } = exchange;
  const { topicId, partition, leaderEpoch } = source;
  // Both of one moment; what changes behind it makes the command void.
  const { folded, recent } = source.segments();
  const row = { topicId, partition, leaderEpoch, previous: folded, next: folded, compacted };
  if (old.length === 0) return { ...row, old: [], segments: [] };
  const at = runOf(recent, old);
  if (at >= 0 && recent.length - old.length + segments.length <= foldRecentMin) {
    const through = recent.slice(0, at + old.length);
    return { ...row, old: sections(through), segments: [...recent.slice(0, at), ...segments] };
  }
  const listed = await listedRefs(source, { folded, recent }, tools.index);
  const all = [...listed, ...recent];
  const first = runOf(all, old);
  if (first < 0) return null;
  const end = first + old.length;
  const taken = recent.slice(0, Math.max(0, end - listed.length));
  const before = [...all.slice(0, first), ...segments, ...all.slice(end, listed.length)];
  const gone = { ...row, old: sections(taken) };
  const left = recent.length - taken.length;
  if (before.length <= listedMin && before.length + left <= foldRecentMin) {
    return { ...gone, next: null, segments: before };
  }
  const kept = left > 0 ? [] : before.slice(-keptRecent);
  const list = await storeObject(tools.store, tools.names, (origin) =>
    encodeList(origin, source, { previous: null, segments: before.slice(0, before.length - kept.length) }),
  );
  lists.push(list);
  return { ...gone, next: list.content.pointer, segments: kept };
}

const sections = (refs: readonly SegmentRef[]) =>
  refs.map(({ object, sectionStart }) => ({ object, sectionStart }));

const isSame = (a: SegmentRef | undefined, b: SegmentRef | undefined): boolean =>
  a?.object === b?.object && a?.sectionStart === b?.sectionStart;

/** Where `run` stands in `refs` without a gap; −1: nowhere. */
function runOf(refs: readonly SegmentRef[], run: readonly SegmentRef[]): number {
  const at = refs.findIndex((ref) => isSame(ref, run[0]));
  return at >= 0 && run.every((ref, i) => isSame(ref, refs[at + i])) ? at : -1;
}

/** Everything that is folded, ascending. */
async function listedRefs(
  source: SectionIdentity,
  { folded }: PartitionSegments,
  index: SegmentIndex,
): Promise<readonly SegmentRef[]> {
  const parts: (readonly SegmentRef[])[] = [];
  for (let pointer = folded; pointer !== null; ) {
    const { previous, segments } = await index.list(source, pointer);
    parts.push(segments);
    pointer = previous;
  }
  return parts.reverse().flat();
}
