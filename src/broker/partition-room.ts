/**
 * How many partitions one request may still make: what `holdfast.partitions.max` leaves, and never more
 * than Kafka lets one request make. A request that makes nothing counts the same.
 */
import { ErrorCode } from "../protocol/errors.ts";
import type { Services } from "./context.ts";
import { type Refusal, refusal } from "./refusal.ts";

/** Kafka's bound for one request. */
const requestPartitionsMax = 10_000;

export class PartitionRoom {
  readonly #services: Services;
  /** Null until somebody wants room: most requests make nothing, and counting takes a look at every topic. */
  #left: number | null = null;
  #leftInRequest = requestPartitionsMax;

  constructor(services: Services) {
    this.#services = services;
  }

  /** Takes room for `count` partitions; why not, or null. */
  take(count: number): Refusal | null {
    this.#left ??= countLeft(this.#services);
    if (count > this.#left) {
      const message = `${count} partitions are more than holdfast.partitions.max leaves (${this.#left}).`;
      return refusal(ErrorCode.INVALID_PARTITIONS, message);
    }
    if (count > this.#leftInRequest) {
      const message = `One request may make at most ${requestPartitionsMax} partitions.`;
      return refusal(ErrorCode.POLICY_VIOLATION, message);
    }
    this.#left -= count;
    this.#leftInRequest -= count;
    return null;
  }
}

function countLeft({ topics, config }: Services): number {
  let left = config.get("holdfast.partitions.max");
  for (const topic of topics.all()) left -= topic.partitions.length;
  return Math.max(0, left);
}
