/**
 * Whether the object WALs have every slot that is still needed, whole, and every ended one its seal. A slot is
 * missed only by a view of the journal that was read after it was not found: released ones go at any time.
 */
import { MalformedError } from "../../base/errors.ts";
import type { BrokerEpoch } from "../../base/ids.ts";
import type { ObjectStore } from "../../base/ports.ts";
import { type CreatePorts, read } from "../../store/create.ts";
import { decodeSlot, slotKey } from "../../log/object-wal-format.ts";
import type { BrokerState, ClusterState } from "../state.ts";
import { unneededSlots } from "../unneeded.ts";
import { type Damage, damage } from "./finding.ts";

export interface WalCheckOptions {
  readonly store: ObjectStore;
  readonly ports: CreatePorts;
  readonly state: () => ClusterState;
  readonly refresh: () => Promise<void>;
  /** Slots that a listing showed, by epoch. */
  readonly listed: ReadonlyMap<BrokerEpoch, ReadonlySet<number>>;
}

const readsAtOnce = 16;

export class WalCheck {
  readonly #options: WalCheckOptions;
  /** Needed slots that were read. */
  slots = 0;

  constructor(options: WalCheckOptions) {
    this.#options = options;
  }

  async *run(): AsyncGenerator<Damage, void, void> {
    for (const broker of Array.from(this.#options.state().brokers.values())) {
      const wanted = this.#wanted(broker);
      for (let at = 0; at < wanted.length; at += readsAtOnce) {
        const found = await Promise.all(
          wanted.slice(at, at + readsAtOnce).map((slot) => this.#slot(broker.epoch, slot)),
        );
        for (const each of found) if (each !== null) yield each;
      }
    }
  }

  /** Slots that must be there. */
  #wanted({ epoch, window }: BrokerState): readonly number[] {
    const unneeded = unneededSlots(this.#options.state()).get(epoch);
    if (unneeded === undefined) return [];
    const { below, sealedAt } = unneeded;
    if (sealedAt !== null) return range(below, sealedAt + 1);
    // A writer is never more than its window ahead of what is decided: before that, slots may be under way.
    const highest = Math.max(-1, ...(this.#options.listed.get(epoch) ?? []));
    const listed = this.#options.listed.get(epoch) ?? new Set();
    return range(below, highest + 1).filter((slot) => listed.has(slot) || slot <= highest - window);
  }

  async #slot(epoch: BrokerEpoch, slot: number): Promise<Damage | null> {
    const { store, ports, state, refresh } = this.#options;
    const key = slotKey(epoch, slot);
    const body = await read(store, key, ports);
    this.slots++;
    if (body === null) {
      await refresh();
      const unneeded = unneededSlots(state()).get(epoch);
      if (unneeded === undefined) return null;
      if (slot === unneeded.sealedAt) {
        return damage(
          key,
          `the seal of broker epoch ${epoch} is gone: a process of it that was asleep could write there`,
        );
      }
      const isNeeded = slot >= unneeded.below && (unneeded.sealedAt === null || slot < unneeded.sealedAt);
      return isNeeded ? damage(key, "it is needed and not there: acknowledged records are missing") : null;
    }
    try {
      return this.#content(epoch, slot, body);
    } catch (cause) {
      if (!(cause instanceof MalformedError)) throw cause;
      return damage(key, cause.message);
    }
  }

  #content(epoch: BrokerEpoch, slot: number, body: Uint8Array): Damage | null {
    const { clusterId, brokers } = this.#options.state();
    const key = slotKey(epoch, slot);
    const content = decodeSlot({ clusterId, epoch, slot }, body);
    const end = brokers.get(epoch)?.end ?? null;
    if (content.kind === "seal") {
      return end !== null && slot < end
        ? damage(key, `it is a seal, and the log goes on to slot ${end}`)
        : null;
    }
    if (slot === end) return damage(key, "the log ends here, and it is no seal");
    if (content.isNameless) return damage(key, "it is damaged so that its entries cannot be named");
    const lost = content.holes.map(
      ({ topicId, partition, from, to }) =>
        `offsets ${from} to ${to - 1} of partition ${partition} of topic ${topicId}`,
    );
    return lost.length === 0 ? null : damage(key, `it is damaged: lost are ${lost.join(", ")}`);
  }
}

const range = (from: number, end: number): number[] =>
  Array.from({ length: Math.max(0, end - from) }, (_, at) => from + at);
