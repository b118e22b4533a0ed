/**
 * What really is in a journal, however many processes write it over however bad a bucket: what the bucket
 * first held under each slot's name.
 */
import { sha256 } from "../../src/io/sha256.ts";
import { applySlot } from "../../src/metadata/apply.ts";
import { ClusterImage } from "../../src/metadata/image.ts";
import { decodeSlot, slotKey } from "../../src/metadata/slot.ts";
import { encodeSnapshot } from "../../src/metadata/snapshot.ts";
import type { ClusterState } from "../../src/metadata/state.ts";
import type { SimObjectStore } from "../../src/sim/object-store.ts";

export class Violation extends Error {
  override readonly name = "Violation";
}

/** The history that the first content of each slot makes, whatever happened to the objects since. */
export class Truth {
  readonly #bucket: SimObjectStore;
  readonly #image = new ClusterImage();
  /** By position: the state's canonical bytes there. */
  readonly #states: string[] = [fingerprint(new ClusterImage())];
  readonly #applied = new Map<string, number>();

  constructor(bucket: SimObjectStore) {
    this.#bucket = bucket;
  }

  /** How many slots were ever decided. */
  end(): number {
    for (;;) {
      const bytes = this.#bucket.firstContents.get(slotKey(this.#image.nextSlot));
      if (bytes === undefined) return this.#image.nextSlot;
      const { content } = decodeSlot(bytes, this.#image, sha256);
      const outcomes = applySlot(this.#image, content, sha256(bytes));
      for (const [at, command] of content.commands.entries()) {
        if (command.kind !== "topic" || outcomes[at]?.kind !== "applied") continue;
        this.#applied.set(command.name, (this.#applied.get(command.name) ?? 0) + 1);
      }
      this.#states.push(fingerprint(this.#image));
    }
  }

  stateAt(end: number): ClusterState {
    if (end !== this.end()) throw new Violation("the truth is asked for an old state");
    return this.#image;
  }

  timesApplied(topic: string): number {
    return this.#applied.get(topic) ?? 0;
  }

  /** The state must be that of a beginning of the history (F7). */
  compare(state: ClusterState, seed: number): void {
    const end = this.end();
    if (state.nextSlot > end || fingerprint(state) !== this.#states[state.nextSlot]) {
      throw new Violation(`seed ${seed}: a process has another state at slot ${state.nextSlot} of ${end}`);
    }
  }
}

function fingerprint(state: ClusterState): string {
  return Buffer.from(sha256(encodeSnapshot(state))).toString("base64");
}
