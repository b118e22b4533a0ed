/**
 * Deletes the slots of object WALs that nothing needs (P4). Each broker deletes its own released ones by
 * their numbers, without a listing. What a broker that ended left behind is listed once, when the last
 * partition that depended on it is in segments, by the broker that lives longest; puts that were late are
 * found once a day. A slot of a seal is never deleted (I8), and nothing of an epoch that the journal does
 * not know (I11).
 */
import { HoldfastError } from "../base/errors.ts";
import { type BrokerEpoch } from "../base/ids.ts";
import type { Clock, Logger, ObjectStore } from "../base/ports.ts";
import { parseSlotKey, slotKey, walRoot } from "../log/object-wal-format.ts";
import { deleteAll, deleteSlots } from "../log/object-wal-seal.ts";
import type { ClusterState } from "../metadata/state.ts";
import { isSweeper, isUnneeded, type UnneededSlots, unneededSlots } from "../metadata/unneeded.ts";

export interface ReleasedSlotsOptions {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly journal: { readonly state: ClusterState; readonly epoch: BrokerEpoch | null };
}

/** So long after the last need of an ended WAL its slots are listed: puts that were under way have landed. */
const graceMs = 60_000;
/** A broker that has just become the one that sweeps does not know when all was listed, and waits so long. */
const firstListingMs = 3_600_000;
const listingMs = 86_400_000;

export class ReleasedSlots {
  readonly #options: ReleasedSlotsOptions;
  /** Own slots below it were deleted. */
  #ownBelow = 0;
  /** Null: another broker sweeps. */
  #listingDueMs: number | null = null;
  /** Ended WALs of which nothing is needed: listed, or left to the next listing of all. */
  readonly #cleared = new Set<BrokerEpoch>();
  /** Ended WALs whose time of grace runs: since when, monotonic ms. */
  readonly #unneededSince = new Map<BrokerEpoch, number>();

  constructor(options: ReleasedSlotsOptions) {
    this.#options = options;
  }

  /** Rejects when the store failed for good; while it does not answer, everything is left to the next sweep. */
  async sweep(): Promise<void> {
    try {
      await this.#sweepOwn();
      await this.#sweepEnded();
    } catch (cause) {
      if (!(cause instanceof HoldfastError) || !cause.retriable) throw cause;
      this.#options.log.debug("wal.sweep-retried", { cause });
    }
  }

  async #sweepOwn(): Promise<void> {
    const { store, journal } = this.#options;
    const own = journal.epoch;
    if (own === null) return;
    const below = unneededSlots(journal.state).get(own)?.below ?? 0;
    if (below <= this.#ownBelow) return;
    const slots = Array.from({ length: below - this.#ownBelow }, (_, at) => this.#ownBelow + at);
    await deleteAll(
      store,
      slots.map((slot) => slotKey(own, slot)),
    );
    this.#ownBelow = below;
  }

  async #sweepEnded(): Promise<void> {
    const { clock, journal } = this.#options;
    const { state, epoch: own } = journal;
    if (own === null || !isSweeper(state, own)) {
      this.#listingDueMs = null;
      return;
    }
    const nowMs = clock.monotonicMs();
    const unneeded = unneededSlots(state);
    if (this.#listingDueMs === null) {
      this.#listingDueMs = nowMs + firstListingMs;
      this.#unneededSince.clear();
      this.#cleared.clear();
      // One listing of all, later, is cheaper than one for each.
      for (const [epoch, slots] of unneeded) if (isAllUnneeded(slots)) this.#cleared.add(epoch);
    }
    for (const epoch of this.#cleared) if (!unneeded.has(epoch)) this.#cleared.delete(epoch);
    for (const [epoch, slots] of unneeded) {
      if (!isAllUnneeded(slots) || this.#cleared.has(epoch)) continue;
      const sinceMs = this.#unneededSince.get(epoch) ?? nowMs;
      this.#unneededSince.set(epoch, sinceMs);
      if (nowMs - sinceMs >= graceMs) await this.#clear(epoch, slots);
    }
    if (nowMs >= this.#listingDueMs) {
      await this.#sweepAll(unneeded);
      this.#listingDueMs = nowMs + listingMs;
    }
  }

  async #clear(epoch: BrokerEpoch, { below, sealedAt }: UnneededSlots): Promise<void> {
    const { store, log } = this.#options;
    const slots = await deleteSlots({ store, epoch }, below, sealedAt);
    log.debug("wal.slots-deleted", { epoch, slots });
    this.#cleared.add(epoch);
    this.#unneededSince.delete(epoch);
  }

  /** One listing of all WALs, also for what landed after its WAL was cleared. */
  async #sweepAll(unneeded: ReadonlyMap<BrokerEpoch, UnneededSlots>): Promise<void> {
    const { store, log } = this.#options;
    const keys: string[] = [];
    for (const { key } of await store.list(walRoot)) {
      const name = parseSlotKey(key);
      const slots = name === null ? undefined : unneeded.get(name.epoch);
      if (name !== null && slots !== undefined && isUnneeded(name.slot, slots)) keys.push(key);
    }
    await deleteAll(store, keys);
    if (keys.length > 0) log.debug("wal.late-slots-deleted", { slots: keys.length });
  }
}

const isAllUnneeded = ({ below, sealedAt }: UnneededSlots): boolean =>
  sealedAt !== null && below === sealedAt;
