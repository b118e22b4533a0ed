/**
 * Markers in partitions of this broker: each ends one producer's transaction in one partition, together with
 * what a group's partition holds of it. Synchronous, so that a marker has its place in the WAL between the
 * intention and the completion of its transaction.
 */
import type { Clock } from "../../base/ports.ts";
import type { TransactionPartition } from "../../coordinator/transaction/transaction.ts";
import type { AppendSession } from "../../log/memory-tail.ts";
import type { MarkerWish, MarkOutcome } from "../../log/outcomes.ts";
import { type Groups, offsetsTopic } from "../groups.ts";
import { type Surroundings, type Whereabouts, whereaboutsOf } from "./whereabouts.ts";

/** Or where the partition is instead. */
export type Marked = MarkOutcome | Exclude<Whereabouts, { readonly kind: "here" }>;

export interface MarkersOptions extends Surroundings {
  readonly clock: Clock;
  readonly groups: Pick<Groups, "mark">;
}

/** Its group is still read. */
const between: Marked = { kind: "between" };

export class Markers {
  readonly #options: MarkersOptions;

  constructor(options: MarkersOptions) {
    this.#options = options;
  }

  /** Into `session`, whose `commit` must follow in the same step; null: into one of its own. */
  mark(place: TransactionPartition, wish: MarkerWish, session: AppendSession | null = null): Marked {
    const { partitions, groups, clock } = this.#options;
    const where = whereaboutsOf(place, this.#options);
    if (where.kind !== "here") return where;
    if (place.topic === offsetsTopic) {
      const marked = groups.mark(place.partition, wish, session);
      return marked.kind === "elsewhere" ? between : marked;
    }
    const appends = session ?? partitions.begin();
    const outcome = where.partition.mark(appends, wish, clock.wallMs());
    if (session === null) appends.commit();
    return outcome;
  }
}
