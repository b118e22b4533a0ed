/**
 * Which aborted transactions have records in a range of offsets that is read from segments. A transaction
 * is named by the footer of the segment with its marker, which may lie far behind the range: footers are
 * read on until one knows nothing of what began below the range's end as open. What a long transaction came
 * to is remembered for its next read, as long as the segments stay the same: after a compaction an aborted
 * transaction of which nothing is left looks like a committed one. What no segment decides, memory does.
 */
import type { Offset } from "../base/ids.ts";
import type { AbortedTransaction, FooterState } from "./segment-format.ts";
import type { SegmentIndex, SegmentSource } from "./segment-index.ts";
import type { PartitionSegments } from "./segment-list.ts";

/** Of so many partitions, and so many transactions of each, it is remembered what they came to. */
const partitionsMax = 256;
const decidedMax = 1_000;

export interface OffsetBounds {
  readonly from: Offset;
  readonly to: Offset;
}

interface Memo {
  /** The references that it holds for. */
  readonly segments: PartitionSegments;
  /** Null: committed. */
  readonly decided: Map<string, AbortedTransaction | null>;
}

export class AbortedLookup {
  readonly #index: SegmentIndex;
  /** The oldest go first. */
  readonly #memos = new Map<string, Memo>();

  constructor(index: SegmentIndex) {
    this.#index = index;
  }

  /**
   * All aborted transactions that have records in `range`, all of which is decided, and whose markers are in
   * segments at or above its begin. `source` gives the same references at each call. Throws `DamageError`
   * when a footer cannot be read: nobody knows then what was committed.
   */
  async in(source: SegmentSource, { from, to }: OffsetBounds): Promise<readonly AbortedTransaction[]> {
    const memo = this.#memoOf(source);
    const found: AbortedTransaction[] = [];
    /** Open where the segments of the range end. */
    let pending: readonly Pending[] | null = null;
    for (let next = from; ; ) {
      const ref = await this.#index.locate(source, next);
      if (ref === null) return found;
      const { state } = await this.#index.footer(source, ref);
      for (const transaction of state.aborted) {
        if (transaction.lastOffset >= from && transaction.firstOffset < to) found.push(transaction);
      }
      next = ref.end;
      if (next < to || !isKnown(state)) continue;
      const open = openBelow(state, to);
      if (open.length === 0) break;
      pending ??= open;
      const decided = open.map((each) => memo.get(keyOf(each)));
      if (decided.includes(undefined)) continue;
      found.push(...decided.filter((each) => each !== null && each !== undefined));
      return found;
    }
    for (const each of pending ?? []) {
      putBounded(memo, keyOf(each), found.find(isEndOf(each)) ?? null, decidedMax);
    }
    return found;
  }

  #memoOf(source: SegmentSource): Memo["decided"] {
    const key = `${source.topicId}/${source.partition}`;
    const segments = source.segments();
    const known = this.#memos.get(key);
    const isSame = known?.segments.recent === segments.recent && known.segments.folded === segments.folded;
    if (known !== undefined && isSame) return known.decided;
    const memo: Memo = { segments, decided: new Map() };
    putBounded(this.#memos, key, memo, partitionsMax);
    return memo.decided;
  }
}

/** The oldest gives way. */
function putBounded<K, V>(map: Map<K, V>, key: K, value: V, sizeMax: number): void {
  map.delete(key);
  for (const oldest of map.keys()) {
    if (map.size < sizeMax) break;
    map.delete(oldest);
  }
  map.set(key, value);
}

type Pending = Pick<FooterState["producers"][number], "producerId" | "openFrom">;

const openBelow = ({ producers }: FooterState, to: Offset): readonly Pending[] =>
  producers.filter(({ openFrom }) => openFrom >= 0 && openFrom < to);

const isEndOf =
  ({ producerId, openFrom }: Pending) =>
  (transaction: AbortedTransaction): boolean =>
    transaction.producerId === producerId && transaction.firstOffset === openFrom;

const keyOf = ({ producerId, openFrom }: Pending): string => `${producerId}@${openFrom}`;

/** Compaction leaves segments that end in the middle of what was one: of their end nothing is known. A partition has an epoch. */
const isKnown = ({ leaderEpochs }: FooterState): boolean => leaderEpochs.length > 0;
