/**
 * One partition that a member was given, from then until it is taken away: what of it is unfinished, what
 * may be committed, what was. A partition that comes back is another share, so that nothing of before is
 * mistaken for it.
 */
import { type LeaderEpoch, NO_TOPIC_ID, offset, type TopicId } from "../../base/ids.ts";
import type { AssignedPartition } from "../assigned-partition.ts";
import type { TopicPartition } from "./assignor.ts";
import { type Place, Unfinished } from "./unfinished.ts";

export class Share implements TopicPartition {
  readonly topic: string;
  readonly partition: number;
  /** In which it was given. */
  readonly generation: number;
  readonly #unfinished = new Unfinished();
  /** Unfinished records that somebody handles, or will. */
  #expected = 0;
  /** Once it is known where the group stands in it. */
  reading: AssignedPartition | undefined = undefined;
  /** As the group has it; `undefined`: nothing. */
  #committed: Place | undefined = undefined;
  /** Where it goes on when what was handed out since does not count; `undefined`: nothing was handed out yet. */
  #anchor: Place | undefined = undefined;
  /** Something was handed out that is neither committed nor to be handed out again. */
  isAhead = false;
  /** Of the newest commit that was sent; an older one is not sent after it (C21). */
  commitOrder = 0;
  /** What is written beside each offset; see `starting-place.ts`. */
  metadata: string | null = null;
  /** It is being taken away: nothing more of it is handed out. */
  isLeaving = false;
  #ending: AbortController | undefined = undefined;
  #waiting: (() => void)[] = [];

  constructor({ topic, partition }: TopicPartition, generation: number) {
    this.topic = topic;
    this.partition = partition;
    this.generation = generation;
  }

  get committed(): Place | undefined {
    return this.#committed;
  }

  set committed(place: Place | undefined) {
    this.#committed = this.#anchor = place;
    this.isAhead = false;
  }

  get anchor(): Place | undefined {
    return this.#anchor;
  }

  get topicId(): TopicId {
    return this.reading?.topicId ?? NO_TOPIC_ID;
  }

  /** Aborted when somebody else may be handling the same records. */
  get signal(): AbortSignal {
    this.#ending ??= new AbortController();
    return this.#ending.signal;
  }

  abort(reason: Error): void {
    this.#ending ??= new AbortController();
    this.#ending.abort(reason);
  }

  /** The record at `at`, and those handed out with it, are somebody's to finish. */
  begin(at: number, epochBefore: LeaderEpoch): void {
    this.#expected++;
    this.#anchor ??= { offset: offset(at), epoch: epochBefore };
    this.isAhead = true;
    this.#unfinished.begin(at, epochBefore);
  }

  finish(at: number): void {
    if (this.#unfinished.finish(at)) this.#settle();
  }

  /** All that was handed out below `end`. */
  finishBefore(end: number): void {
    for (const at of this.#unfinished.offsetsBefore(end)) this.finish(at);
  }

  /** It will not be finished here: it bounds what is committed, and nobody waits for it. */
  abandon(): void {
    this.#settle();
  }

  #settle(): void {
    this.#expected--;
    if (this.#expected <= 0) for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Whether somebody handles a record of it. */
  get isBusy(): boolean {
    return this.#expected > 0;
  }

  /** Resolves when nobody does any more. */
  idle(): Promise<void> {
    if (!this.isBusy) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Everything before it is finished; `undefined`: not known yet. */
  get finishedTo(): Place | undefined {
    return this.#unfinished.lowest ?? this.handedOutTo;
  }

  /** Everything before it was handed out; `undefined`: not known yet. */
  get handedOutTo(): Place | undefined {
    const { reading } = this;
    if (reading === undefined || !reading.wasPlaced || reading.state.kind === "unplaced") return undefined;
    return { offset: reading.position, epoch: reading.positionEpoch };
  }

  /** Hands out again what is unfinished. */
  rewind(): void {
    const { lowest } = this.#unfinished;
    if (lowest === undefined) return;
    this.forget();
    this.reading?.place(lowest.offset, lowest.epoch);
  }

  /** Hands out again everything since the last commit, or since it was given. */
  goBack(): void {
    this.forget();
    this.isAhead = false;
    if (this.#anchor !== undefined) this.reading?.place(this.#anchor.offset, this.#anchor.epoch);
  }

  /** It is read elsewhere from now on, because somebody said so. */
  moved(): void {
    this.forget();
    this.isAhead = false;
    this.#anchor = undefined;
  }

  /** What was handed out does not count any more. */
  forget(): void {
    this.#unfinished.finishAll();
    this.#expected = 0;
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
