/**
 * Offsets that one group commits inside transactions of producers (KIP-98): they are in the log, and count
 * only once the transaction commits. Nobody is told them before, and nothing waits for them, except a
 * reader that asks to be told only what cannot change any more (KIP-447).
 */
import type { PartitionIndex, ProducerId } from "../../base/ids.ts";
import { type CommittedOffset, GroupOffsets, type PartitionName } from "./offsets.ts";

export class PendingOffsets {
  /** Each transaction's own: of several for one partition, which one holds is decided when each of them ends. */
  readonly #producers = new Map<ProducerId, GroupOffsets>();

  /** About what it takes in memory. */
  get bytes(): number {
    let bytes = 0;
    for (const offsets of this.#producers.values()) bytes += offsets.bytes;
    return bytes;
  }
  get isEmpty(): boolean {
    return this.#producers.size === 0;
  }

  has(topic: string, partition: PartitionIndex): boolean {
    for (const offsets of this.#producers.values()) {
      if (offsets.get(topic, partition) !== undefined) return true;
    }
    return false;
  }

  /** A partition comes once for each transaction. */
  *all(): Generator<PartitionName & { readonly committed: CommittedOffset }, void, void> {
    for (const offsets of this.#producers.values()) yield* offsets.all();
  }

  hold(producer: ProducerId, name: PartitionName, committed: CommittedOffset): void {
    let offsets = this.#producers.get(producer);
    if (offsets === undefined) this.#producers.set(producer, (offsets = new GroupOffsets()));
    offsets.set(name, committed);
  }

  /** The producer's transaction ends: takes out what it held. */
  take(producer: ProducerId): GroupOffsets | undefined {
    const offsets = this.#producers.get(producer);
    this.#producers.delete(producer);
    return offsets;
  }

  /** The partition is forgotten, and what transactions say of it as well. */
  forget(name: PartitionName): void {
    for (const [producer, offsets] of this.#producers) {
      offsets.delete(name);
      if (offsets.isEmpty) this.#producers.delete(producer);
    }
  }
}
