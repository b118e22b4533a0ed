/**
 * Decides what the next fetch to one broker asks for: which partitions, in which order, how many bytes,
 * and whether the broker may wait. Pure. Its promise: what is asked for and what is held never exceed
 * the prefetch bound together, except by the one batch that a broker sends whatever its size.
 */
import type { AssignedPartition } from "./assigned-partition.ts";

export interface FetchPlan {
  readonly wishes: readonly { readonly partition: AssignedPartition; readonly bytesMax: number }[];
  readonly bytesMax: number;
  /** 0: answer at once with what there is. */
  readonly maxWaitMs: number;
}

export interface FetchBounds {
  /** Left of the prefetch bound. */
  readonly bytesLeft: number;
  readonly prefetchBytesMax: number;
  readonly fetchBytesMax: number;
  readonly partitionBytesMax: number;
  readonly maxWaitMs: number;
}

/** Small questions while a slow reader frees little by little would cost more than they bring. */
export function roomMin(bounds: Pick<FetchBounds, "fetchBytesMax" | "prefetchBytesMax">): number {
  return Math.min(bounds.fetchBytesMax, bounds.prefetchBytesMax / 2);
}

/** Partitions of one question; the rest are asked next time, since who has records moves to the end of the line. */
const wishesMax = 5_000;

/**
 * `partitions`: all that this broker leads, those first that waited longest. `undefined`: nothing to ask
 * now; held records must be taken first, or something else happen.
 */
export function planFetch(
  partitions: readonly AssignedPartition[],
  bounds: FetchBounds,
  nowMs: number,
): FetchPlan | undefined {
  if (bounds.bytesLeft < roomMin(bounds)) return undefined;
  const wanted = partitions.filter((partition) => partition.isWanted(nowMs)).slice(0, wishesMax);
  if (wanted.length === 0) return undefined;
  const isBehind = wanted.some((partition) => partition.isBehind);
  const isReading = partitions.some((partition) => partition.held.length > 0 && !partition.isPaused);
  // At the end of everything that is not held: a long poll now would stand in the way of what the held
  // partitions need next, since a broker answers a connection's questions in order.
  if (!isBehind && isReading) return undefined;
  const bytesMax = Math.min(bounds.fetchBytesMax, bounds.bytesLeft);
  return {
    wishes: wanted.map((partition) => ({
      partition,
      bytesMax: Math.min(bounds.partitionBytesMax, bytesMax),
    })),
    bytesMax,
    maxWaitMs: isBehind && wanted.some((partition) => partition.end >= 0) ? 0 : bounds.maxWaitMs,
  };
}
