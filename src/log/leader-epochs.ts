/**
 * At which offset each leader epoch of a partition begins (KIP-101, KIP-320): an ascending list, in both
 * numbers. Consumers ask it whether the log they have read is still the one that is here. It answers as
 * Kafka does, and never names an offset that its caller did not pass in or assign.
 */
import { assert } from "../base/assert.ts";
import { type LeaderEpoch, type Offset, leaderEpoch, offset } from "../base/ids.ts";
import type { EpochStart } from "./segment-format.ts";

export interface EpochEnd {
  /** −1: unknown. */
  readonly leaderEpoch: LeaderEpoch;
  /** Exclusive; −1: unknown. */
  readonly endOffset: Offset;
}

export class LeaderEpochs {
  #starts: EpochStart[];

  constructor(starts: readonly EpochStart[] = []) {
    this.#starts = [...starts];
  }

  /** −1: none yet. */
  get latest(): LeaderEpoch {
    return this.#starts.at(-1)?.leaderEpoch ?? leaderEpoch(-1);
  }

  /** Records from `start` on have this epoch. Later epochs without records give way; a known epoch keeps its start. */
  assign(epoch: LeaderEpoch, start: Offset): void {
    if (epoch === this.latest) return;
    assert(epoch > this.latest, "a leader epoch never goes back");
    while ((this.#starts.at(-1)?.start ?? -1) >= start) this.#starts.pop();
    this.#starts.push({ leaderEpoch: epoch, start });
  }

  /**
   * Answers OffsetForLeaderEpoch: the greatest known epoch that is not above the asked one, and where it
   * ends. Asked for one below all that are known: that epoch itself, ending where the first known begins,
   * since its records are gone. Asked for one above: unknown.
   */
  endOf(epoch: LeaderEpoch, logEnd: Offset): EpochEnd {
    if (epoch < 0 || epoch > this.latest) return { leaderEpoch: leaderEpoch(-1), endOffset: offset(-1) };
    if (epoch === this.latest) return { leaderEpoch: epoch, endOffset: logEnd };
    const next = this.#starts.findIndex((entry) => entry.leaderEpoch > epoch);
    return {
      leaderEpoch: this.#starts[next - 1]?.leaderEpoch ?? epoch,
      endOffset: (this.#starts[next] as EpochStart).start,
    };
  }

  /** The epoch of the record at `at`; −1: unknown. */
  at(at: Offset): LeaderEpoch {
    return this.#starts.findLast((entry) => entry.start <= at)?.leaderEpoch ?? leaderEpoch(-1);
  }

  /** The log begins at `start` now: epochs that ended before are forgotten, the one in which it lies begins there. */
  trimTo(start: Offset): void {
    const first = this.#starts.findLastIndex((entry) => entry.start <= start);
    if (first < 0) return;
    const kept = this.#starts[first] as EpochStart;
    this.#starts.splice(0, first + 1, { leaderEpoch: kept.leaderEpoch, start });
  }

  /** The list as of the end `to`: epochs without a record before it are left out. */
  asOf(to: Offset): EpochStart[] {
    return this.#starts.filter((entry) => entry.start < to);
  }
}
