/**
 * When the objects of a store that several brokers share are listed for garbage: by the broker that lives
 * longest, after something in the journal made garbage, and once a day for what nobody can know of, the
 * objects of commands that never came. In a cluster where nothing happens nothing is listed, because in a
 * bucket a listing is the dearest of all requests.
 */
import type { BrokerEpoch } from "../base/ids.ts";
import type { Clock } from "../base/ports.ts";
import type { Listings } from "../log/garbage.ts";
import type { Command } from "../metadata/commands.ts";
import type { JournalEvent } from "../metadata/outcomes.ts";
import type { ClusterState } from "../metadata/state.ts";
import { isSweeper } from "../metadata/unneeded.ts";

export interface SharedListingsOptions {
  readonly clock: Clock;
  readonly journal: {
    readonly state: ClusterState;
    readonly epoch: BrokerEpoch | null;
    onApplied(listener: (event: JournalEvent) => void): () => void;
  };
  /** The least time between two listings. */
  readonly intervalMs: number;
}

/** A broker that has just become the one that sweeps does not know when the last listing was. */
const firstMs = 3_600_000;
const dayMs = 86_400_000;
/** 1,000 objects are one request: with a million objects a listing comes every 100 minutes at most. */
const msPerObject = 6;

export class SharedListings implements Listings {
  readonly #options: SharedListingsOptions;
  /** Something may have become garbage since the last listing. */
  #isWorthIt = false;
  /** Null: another broker sweeps. */
  #turn: { readonly earliestMs: number; readonly latestMs: number } | null = null;

  constructor(options: SharedListingsOptions) {
    this.#options = options;
    options.journal.onApplied((event) => {
      this.#isWorthIt ||= event.kind === "reloaded" || event.commands.some(({ command }) => leaves(command));
    });
  }

  isDue(isUrgent: boolean): boolean {
    const { clock, journal, intervalMs } = this.#options;
    if (journal.epoch === null || !isSweeper(journal.state, journal.epoch)) {
      this.#turn = null;
      return false;
    }
    const nowMs = clock.monotonicMs();
    this.#turn ??= { earliestMs: nowMs + intervalMs, latestMs: nowMs + firstMs };
    return isUrgent || nowMs >= (this.#isWorthIt ? this.#turn.earliestMs : this.#turn.latestMs);
  }

  done(objects: number): void {
    const nowMs = this.#options.clock.monotonicMs();
    const waitMs = Math.max(this.#options.intervalMs, objects * msPerObject);
    this.#isWorthIt = false;
    this.#turn = { earliestMs: nowMs + waitMs, latestMs: nowMs + Math.max(dayMs, waitMs) };
  }
}

/** Whether objects may be without a reference after it. Folding leaves little, which the next listing finds. */
function leaves(command: Command): boolean {
  switch (command.kind) {
    case "trim":
    case "replace":
    case "drop":
    case "recover":
      return true;
    case "flush":
      return command.rows.some(({ start }) => start >= 0);
    default:
      return false;
  }
}
