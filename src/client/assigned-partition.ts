/**
 * One partition that a consumer reads: where it stands, what is fetched for it and not handed out yet,
 * and what keeps it from being fetched. Synchronous; the fetcher asks it, the consumer takes from it.
 * `position` is the next offset that is handed out, `fetchOffset` the next to ask a broker for:
 * position ≤ fetchOffset, and between them lies what is held.
 */
import {
  type LeaderEpoch,
  leaderEpoch,
  type NodeId,
  type Offset,
  offset,
  type TopicId,
} from "../base/ids.ts";
import type { StartingPoint } from "./consumer-options.ts";
import type { FetchedRecords } from "./fetched-records.ts";

/** Where a partition stands, as `consumer.positions()` tells it. */
export interface PartitionPosition {
  readonly topic: string;
  readonly partition: number;
  /** The next offset that is handed out; `undefined` until the starting point was looked up. */
  readonly position: number | undefined;
  /** Behind the last record that a consumer may read, as of the last answer. */
  readonly end: number | undefined;
  readonly isPaused: boolean;
}

export type PartitionState =
  /** The starting point is still to be looked up. */
  | { readonly kind: "unplaced"; readonly to: StartingPoint; readonly epoch?: LeaderEpoch }
  | { readonly kind: "placed" }
  /** Stands still until `seek`. */
  | { readonly kind: "failed"; readonly error: Error }
  /** `until: "end"` is reached. */
  | { readonly kind: "done" };

/** A part of an answer that waits to be handed out. */
export class HeldPart {
  readonly of: AssignedPartition;
  readonly records: FetchedRecords;
  readonly #onRelease: () => void;
  #isReleased = false;

  /** `onRelease` gives back what the part takes of the prefetch bound. */
  constructor(of: AssignedPartition, records: FetchedRecords, onRelease: () => void) {
    this.of = of;
    this.records = records;
    this.#onRelease = onRelease;
  }

  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** It is handed out, or dropped. Once; harmless when called again. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#onRelease();
  }
}

const unknownEpoch = leaderEpoch(-1);

export class AssignedPartition {
  readonly topic: string;
  readonly partition: number;
  /** Of the topic whose offsets these are. */
  topicId: TopicId;
  state: PartitionState;
  position: Offset = offset(0);
  fetchOffset: Offset = offset(0);
  /** Epoch of the record before `position`, and of the one before `fetchOffset`; −1: unknown. */
  positionEpoch: LeaderEpoch = unknownEpoch;
  fetchEpoch: LeaderEpoch = unknownEpoch;
  /** Who leads it, as of the last metadata. */
  leader: NodeId | undefined = undefined;
  leaderEpoch: LeaderEpoch = unknownEpoch;
  /** High watermark, or last stable offset; −1: no answer yet. */
  end = -1;
  stopAt = Number.POSITIVE_INFINITY;
  /** Its position was known at some time. */
  wasPlaced = false;
  isPaused = false;
  isAsked = false;
  /** How many are finding out whether its offsets still name what they did. */
  inquiries = 0;
  /** The place that a broker refused last although its log reaches that far; −1: none. */
  refusedAt = -1;
  /** Not before this time; after an error. */
  waitUntilMs = 0;
  /** Rises with each move, so that an answer to an older question is known as such. */
  generation = 0;
  readonly held: HeldPart[] = [];

  /** `epoch`: of the record before an offset to begin at. */
  constructor(
    topic: string,
    partition: number,
    topicId: TopicId,
    from: StartingPoint,
    epoch: LeaderEpoch = unknownEpoch,
  ) {
    this.topic = topic;
    this.partition = partition;
    this.topicId = topicId;
    this.state = { kind: "unplaced", to: from, epoch };
  }

  get name(): string {
    return `${this.topic}/${this.partition}`;
  }

  /** Goes on at `at`; what was fetched is dropped. `epoch`: of the record before it. */
  place(at: Offset, epoch: LeaderEpoch = unknownEpoch): void {
    this.#drop();
    this.state = at >= this.stopAt ? { kind: "done" } : { kind: "placed" };
    this.wasPlaced = true;
    this.position = at;
    this.fetchOffset = at;
    this.positionEpoch = epoch;
    this.fetchEpoch = epoch;
  }

  /** Reads on at `at` once what was fetched before is handed out: between them is nothing that could be read. */
  leap(to: number): void {
    const at = offset(to);
    this.generation++;
    this.fetchOffset = at;
    this.fetchEpoch = unknownEpoch;
    this.waitUntilMs = 0;
    if (this.held.length > 0) return;
    this.place(at);
  }

  /** Goes on at a place that is still to be looked up. */
  moveTo(to: StartingPoint): void {
    this.#drop();
    this.state = { kind: "unplaced", to };
  }

  /** Stands still; what was fetched before is still handed out. */
  fail(error: Error): void {
    this.generation++;
    this.state = { kind: "failed", error };
  }

  /** It is not read any more: no answer to a question about it counts. */
  withdraw(): void {
    this.#drop();
  }

  /** Drops what was read ahead, to be fetched again. */
  forget(): void {
    this.#drop();
    this.fetchOffset = this.position;
    this.fetchEpoch = this.positionEpoch;
  }

  #drop(): void {
    this.generation++;
    this.waitUntilMs = 0;
    for (const part of this.held.splice(0)) part.release();
  }

  /** The records of an answer, or nothing but the news that there are none. */
  hold(part: HeldPart): void {
    this.held.push(part);
    this.fetchOffset = part.records.end;
    this.fetchEpoch = part.records.lastEpoch;
  }

  /** The first held part has nothing more. */
  shift(): void {
    this.held.shift()?.release();
    // Behind the last one there may have been a leap.
    if (this.held.length > 0 || this.position >= this.fetchOffset) return;
    this.position = this.fetchOffset;
    this.positionEpoch = this.fetchEpoch;
    this.#finishAtStop();
  }

  #finishAtStop(): void {
    if (this.position >= this.stopAt && this.state.kind === "placed") this.state = { kind: "done" };
  }

  /** Takes over where the first held part stands, after records were taken from it. */
  follow(records: FetchedRecords): void {
    this.position = records.position;
    if (records.epoch >= 0) this.positionEpoch = records.epoch;
    this.#finishAtStop();
  }

  get isFinished(): boolean {
    return this.state.kind === "done";
  }

  /** Whether a fetch may ask for it at `nowMs`, its leader set aside. */
  isWanted(nowMs: number): boolean {
    return (
      this.state.kind === "placed" &&
      !this.isPaused &&
      !this.isAsked &&
      this.inquiries === 0 &&
      this.waitUntilMs <= nowMs &&
      this.fetchOffset < this.stopAt
    );
  }

  /** Records are known to exist that were not asked for yet. */
  get isBehind(): boolean {
    return this.end < 0 || this.fetchOffset < this.end;
  }

  toPosition(): PartitionPosition {
    const isPlaced = this.state.kind !== "unplaced";
    return {
      topic: this.topic,
      partition: this.partition,
      position: isPlaced ? this.position : undefined,
      end: this.end < 0 ? undefined : this.end,
      isPaused: this.isPaused,
    };
  }
}
