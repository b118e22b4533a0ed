/** Ranges of offsets that were acknowledged and cannot be read: named, never filled again, merged where they touch. */
import type { Offset, PartitionIndex, TopicId } from "../base/ids.ts";

/** Offsets [from, to) of a partition. */
export interface WalHole {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  readonly from: Offset;
  readonly to: Offset;
}

interface Covering {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  readonly baseOffset: Offset;
  readonly count: number;
}

export class WalHoles {
  /** Those of an earlier reading: what lies in them stays away even when it can be read again. */
  readonly #recorded: readonly WalHole[];
  readonly #found: WalHole[] = [];

  constructor(recorded: readonly WalHole[]) {
    this.#recorded = recorded;
  }

  /** Whether an earlier reading counted this entry as lost. */
  covers(entry: Covering): boolean {
    return this.#recorded.some(
      (hole) =>
        hole.topicId === entry.topicId &&
        hole.partition === entry.partition &&
        entry.count > 0 &&
        hole.from <= entry.baseOffset &&
        entry.baseOffset < hole.to,
    );
  }

  add(lost: Covering): WalHole {
    const { topicId, partition } = lost;
    const hole = { topicId, partition, from: lost.baseOffset, to: (lost.baseOffset + lost.count) as Offset };
    const last = this.#found.findLastIndex(
      (earlier) => earlier.topicId === topicId && earlier.partition === partition,
    );
    const before = this.#found[last];
    if (before !== undefined && before.to === hole.from) this.#found[last] = { ...before, to: hole.to };
    else if (hole.to > hole.from) this.#found.push(hole);
    return hole;
  }

  /** Recorded ones first, then what was found now. */
  list(): readonly WalHole[] {
    return [...this.#recorded, ...this.#found];
  }
}
