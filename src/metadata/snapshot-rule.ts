/**
 * When the state is written as a snapshot: at the end of each chapter, and before what stands behind the newest one
 * takes longer to read than the state itself. So what a start reads follows the size of the state, however much was
 * stored and however long ago a chapter ended. A function of the journal alone: all who read it from the same
 * snapshot on count alike, so the author of a slot knows that the snapshot behind it is his to write. Who counts from
 * elsewhere writes one more or one fewer, which costs bytes and no safety: a snapshot is right at any position (P1).
 */
import type { ClusterState } from "./state.ts";

/** Less than that is read sooner than a snapshot is written. */
const bytesMinDefault = 1024 * 1024;
/** About what a partition, and what a reference to a segment, takes in a snapshot; in slots it is as much. */
const partitionBytes = 64;
const referenceBytes = 128;
/** A byte of slots is decoded and applied, and takes three times as long as one of a snapshot. */
const slotWeight = 4;

export class SnapshotRule {
  readonly #bytesMin: number;
  /** Of slots since a snapshot was due. */
  #bytes = 0;
  /** No snapshot is due before that; found out anew when it is reached, since weighing looks at every partition. */
  #dueBytes: number;
  #isDue = false;

  /** `bytesMin`: small in tests. */
  constructor(bytesMin = bytesMinDefault) {
    this.#bytesMin = bytesMin;
    this.#dueBytes = bytesMin;
  }

  /** Whether one is due after the newest slot. */
  get isDue(): boolean {
    return this.#isDue;
  }

  /** The state is that of a snapshot. */
  begin(): void {
    this.#bytes = 0;
    this.#dueBytes = this.#bytesMin;
    this.#isDue = false;
  }

  /** A slot of so many bytes became part of `state`. */
  applied(bytes: number, state: ClusterState): void {
    if (this.#isDue) this.begin();
    this.#bytes += bytes;
    this.#isDue = state.nextSlot % state.chapterSlots === 0 || this.#outweighs(state);
  }

  #outweighs(state: ClusterState): boolean {
    if (this.#bytes < this.#dueBytes) return false;
    this.#dueBytes = Math.max(this.#bytesMin, weightOf(state) / slotWeight);
    return this.#bytes >= this.#dueBytes;
  }
}

function weightOf({ topics }: ClusterState): number {
  let bytes = 0;
  for (const { partitions } of topics.values()) {
    for (const { recent } of partitions) bytes += partitionBytes + recent.length * referenceBytes;
  }
  return bytes;
}
