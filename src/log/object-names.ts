/**
 * The numbers that this process gives to its objects. A number is used once, whatever becomes of the
 * object, and is unsettled until the object is either published or will never be: `below` then tells
 * everybody which unreferenced objects of ours are garbage (P4). Nothing is settled before the journal
 * decided about it, or a sweep could delete what is published a moment later.
 */
import { assert } from "../base/assert.ts";
import type { BrokerEpoch } from "../base/ids.ts";
import type { ObjectOrigin } from "./segment-format.ts";

export class ObjectNames {
  readonly clusterId: string;
  readonly epoch: BrokerEpoch;
  #next = 0;
  /** Ascending: a Set keeps insertion order. */
  readonly #unsettled = new Set<number>();

  constructor(clusterId: string, epoch: BrokerEpoch) {
    this.clusterId = clusterId;
    this.epoch = epoch;
  }

  take(): ObjectOrigin {
    const counter = this.#next++;
    this.#unsettled.add(counter);
    return { clusterId: this.clusterId, epoch: this.epoch, counter };
  }

  /** Its object is published by a decided command, or no command will ever name it. */
  settle(origin: ObjectOrigin): void {
    assert(this.#unsettled.delete(origin.counter), "an object's number is settled once");
  }

  /** The lowest unsettled number, not counting those that the command itself settles. */
  below(settling: readonly ObjectOrigin[] = []): number {
    const own = new Set(settling.map(({ counter }) => counter));
    for (const counter of this.#unsettled) if (!own.has(counter)) return counter;
    return this.#next;
  }
}
