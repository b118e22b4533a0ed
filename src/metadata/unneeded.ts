/**
 * What nothing in the cluster needs any more, by the journal alone (P4), and who removes what belongs to
 * nobody in particular. Both answers about needs only ever grow, so whoever deletes by an old view of the
 * journal deletes nothing that a fresh one would keep (F9); two who do it at once do no harm.
 */
import { type BrokerEpoch, type WalPosition, walPosition } from "../base/ids.ts";
import type { GarbageView } from "../log/garbage.ts";
import type { ClusterState } from "./state.ts";

/** Slots of an object WAL that may go: those below `below`, and where the WAL ended, those above its seal. */
export interface UnneededSlots {
  readonly below: WalPosition;
  /** The slot of the seal, which stays for ever (I8); null: the WAL may still grow. */
  readonly sealedAt: WalPosition | null;
}

/** Of every epoch that the journal knows. An epoch that is missing says nothing: all of it stays (I11). */
export function unneededSlots(state: ClusterState): ReadonlyMap<BrokerEpoch, UnneededSlots> {
  const neededFrom = new Map<BrokerEpoch, WalPosition>();
  for (const { partitions } of state.topics.values()) {
    for (const { dependencies } of partitions) {
      for (const { epoch, from } of dependencies) {
        const known = neededFrom.get(epoch);
        if (known === undefined || from < known) neededFrom.set(epoch, from);
      }
    }
  }
  const unneeded = new Map<BrokerEpoch, UnneededSlots>();
  for (const { epoch, status, released, end } of state.brokers.values()) {
    const sealedAt = status === "sealed" ? end : null;
    // A partition that moved away may still need what its owner released for itself.
    const below = Math.min(neededFrom.get(epoch) ?? Infinity, sealedAt ?? released);
    unneeded.set(epoch, { below: walPosition(below), sealedAt });
  }
  return unneeded;
}

export function isUnneeded(slot: number, { below, sealedAt }: UnneededSlots): boolean {
  return slot !== sealedAt && (slot < below || (sealedAt !== null && slot > sealedAt));
}

/**
 * Whether this broker removes what no live broker owns: the one that lives longest does. Two that take
 * themselves for it, because a view is old, only do the same work twice.
 */
export function isSweeper(state: ClusterState, own: BrokerEpoch): boolean {
  for (const { epoch, status } of state.brokers.values()) {
    if (status === "live" && epoch < own) return false;
  }
  return state.brokers.get(own)?.status === "live";
}

/** The references as of now, and whose objects can never be named again. */
export function garbageView(state: ClusterState): GarbageView {
  const partitions = [];
  for (const topic of state.topics.values()) {
    for (const { index, folded, recent } of topic.partitions) {
      partitions.push({ topicId: topic.id, partition: index, folded, recent });
    }
  }
  const settledBelow = new Map<number, number>();
  for (const { epoch, status, below } of state.brokers.values()) {
    // Of an ended epoch nothing can be published any more; one that is unknown here is left alone (I11).
    settledBelow.set(epoch, status === "live" ? below : Number.POSITIVE_INFINITY);
  }
  return { partitions, isSettled: (author, counter) => counter < (settledBelow.get(author) ?? 0) };
}
