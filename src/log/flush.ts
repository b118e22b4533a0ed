/**
 * Moves what is durable in the WAL into segments, publishes them in the journal, and then lets the WAL
 * and the memory go: in this order and no other. Published is only what the store said is durable;
 * released is only what is published. One flush at a time, paced by the store, so that acknowledgements
 * never wait for it. A full disk is waited out; any other failure closes the flusher and is reported,
 * and nothing was released (I9).
 */
import { assert } from "../base/assert.ts";
import { DiskError, HoldfastError } from "../base/errors.ts";
import { offset, type Offset, type WalPosition, walPosition } from "../base/ids.ts";
import { type Env, type ObjectStore, sleep, type Timer } from "../base/ports.ts";
import type { FlushSource, Unflushed } from "./flush-source.ts";
import { foldSegments, type FoldSource, needsFold, type PublishFold } from "./fold.ts";
import type { ObjectNames } from "./object-names.ts";
import { discard, storeObject, type StoredObject, tookNoEffect } from "./object-writer.ts";
import type { SegmentIndex } from "./segment-index.ts";
import type { Flush, FlushRow, PublishFlush, SegmentRef } from "./segment-ref.ts";
import { type BuiltObject, buildObject, planObjects, type SectionDraft } from "./segment-writer.ts";
import type { Wal } from "./wal.ts";

export interface FlusherOptions {
  readonly env: Env;
  readonly store: ObjectStore;
  readonly names: ObjectNames;
  readonly index: SegmentIndex;
  readonly wal: Pick<Wal, "durablePosition" | "release">;
  /** All owned partitions; every one of them is loaded. */
  readonly sources: () => Iterable<FlushSource & FoldSource>;
  readonly publishFlush: PublishFlush;
  readonly publishFold: PublishFold;
  /** Bytes that only the WAL and the memory hold. */
  readonly unflushedBytes: () => number;
  /** At so many of them a flush begins; half of what may be unflushed is right. */
  readonly unflushedBytesTrigger: number;
  /** Whether producers wait for room: then a flush begins however little there is to flush. */
  readonly isAwaited: () => boolean;
  /** No record waits longer than about this for its segment. */
  readonly ageMs: number;
  /** Once: flushing has stopped for good, and so the process must. */
  readonly onFailure: (cause: Error) => void;
}

/** After so many FLUSH commands in a row that took no effect, the view of this process is wrong: it must end. */
const voidsMax = 3;
const backoffMsMin = 100;
/** Until a store that did not answer is asked again: producers may wait for the room that a flush makes. */
const unansweredMsMax = 1_000;
/** The same of a disk that is full, which each try fills to the last byte. */
const fullMsMax = 10_000;
/** Objects that are written at a time: their syncs share the file system's commits. */
const objectsAtOnce = 4;
/** Partitions that are asked without a pause for the event loop. */
const sourcesPerSlice = 64;

export class FlushVoidError extends HoldfastError {
  readonly code = "FLUSH_VOID";
  override readonly name = "FlushVoidError";
}

export class FlusherClosedError extends HoldfastError {
  readonly code = "FLUSHER_CLOSED";
  override readonly name = "FlusherClosedError";
}

interface Stored {
  readonly objects: readonly StoredObject<BuiltObject>[];
  readonly refs: ReadonlyMap<SectionDraft, SegmentRef>;
}

interface Share {
  readonly source: FlushSource;
  readonly unflushed: Unflushed;
}

export class Flusher {
  readonly #options: FlusherOptions;
  #running: Promise<void> | null = null;
  /** Somebody who must not be disturbed by a flush. */
  #holder: Promise<unknown> | null = null;
  #isDue = false;
  #closed = false;
  #timer: Timer | null = null;
  #failuresInRow = 0;
  #voidsInRow = 0;
  /** No flush starts by itself before this, after a failure. */
  #notBeforeMs = 0;
  /** The release that the journal has of this WAL. */
  #released: WalPosition = walPosition(0);
  readonly #bytes;
  readonly #rounds;
  readonly #seconds;

  constructor(options: FlusherOptions) {
    this.#options = options;
    const { meter } = options.env;
    this.#bytes = meter.counter("holdfast_flush_written_bytes", "Bytes of objects that flushing wrote");
    this.#rounds = meter.counter("holdfast_flush_rounds_total", "Flushes by outcome");
    this.#seconds = meter.histogram(
      "holdfast_flush_duration_seconds",
      "From the first partition asked to the release of the WAL",
      [0.01, 0.05, 0.1, 0.5, 1, 5, 10],
    );
  }

  /** Begins to flush by age; what recovery loaded may be enough for a flush at once, and would block producers. */
  start(): void {
    this.#schedule(this.#options.ageMs);
    this.noticeLoaded();
  }

  /** Partitions were loaded: what they brought is unflushed, though nothing of it is in this WAL. */
  noticeLoaded(): void {
    if (this.#running !== null || this.#closed || this.#holder !== null) return;
    const { unflushedBytes, unflushedBytesTrigger } = this.#options;
    if (unflushedBytes() >= unflushedBytesTrigger) void this.#begin();
  }

  /** Cheap; to be called whenever something became durable, or somebody waits for room. Starts a flush when one is due. */
  noticeDurable(): void {
    if (this.#running !== null || this.#closed || this.#holder !== null) return;
    const { unflushedBytes, unflushedBytesTrigger, isAwaited } = this.#options;
    if (unflushedBytes() < unflushedBytesTrigger && !isAwaited()) return;
    // What counts as unflushed may still be on its way to the WAL: nothing to write yet, and no reason to spin.
    if (this.#options.wal.durablePosition === this.#released) return;
    if (this.#options.env.clock.monotonicMs() < this.#notBeforeMs) return;
    void this.#begin();
  }

  /**
   * Everything that is durable now is published when this resolves. Rejects with what stood in the way;
   * a retriable error (a full disk) leaves the flusher at work.
   */
  async flush(): Promise<void> {
    await this.#running?.catch(() => undefined);
    while (this.#holder !== null) await this.#holder;
    if (this.#closed) throw new FlusherClosedError("Nothing is flushed any more.");
    // One that began meanwhile began after the call, so it covers everything.
    await (this.#running ?? this.#begin());
  }

  /** Runs `work` while no flush does. One caller at a time. */
  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    while (this.#running !== null) await this.#running.catch(() => undefined);
    assert(this.#holder === null, "flushes are held by one caller at a time");
    const working = work();
    this.#holder = working.catch(() => undefined);
    try {
      return await working;
    } finally {
      this.#holder = null;
      if (this.#isDue) this.#onAge();
      else this.noticeDurable();
    }
  }

  /** Waits for a flush that is running; starts no other. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#running?.catch(() => undefined);
  }

  #schedule(delayMs: number): void {
    if (this.#closed) return;
    this.#timer?.cancel();
    this.#timer = this.#options.env.clock.schedule(delayMs, () => {
      this.#onAge();
    });
  }

  #onAge(): void {
    this.#isDue = this.#holder !== null;
    if (this.#running === null && !this.#closed && !this.#isDue) void this.#begin();
  }

  #begin(): Promise<void> {
    const begun = this.#options.env.clock.monotonicMs();
    const running = this.#round().then(
      () => this.#succeeded(begun),
      (cause: unknown) => this.#failed(cause as Error),
    );
    this.#running = running;
    // Whoever asked for this flush gets the error as well; it has been dealt with here.
    running.catch(() => undefined);
    return running;
  }

  #succeeded(begunMs: number): void {
    this.#running = null;
    this.#failuresInRow = 0;
    this.#voidsInRow = 0;
    this.#rounds.add(1, { outcome: "published" });
    this.#seconds.observe((this.#options.env.clock.monotonicMs() - begunMs) / 1000);
    this.#schedule(this.#options.ageMs);
    this.noticeDurable();
  }

  #failed(cause: Error): never {
    this.#running = null;
    const { env, onFailure } = this.#options;
    const isVoid = cause instanceof FlushVoidError;
    const retriable = isVoid
      ? ++this.#voidsInRow < voidsMax
      : cause instanceof HoldfastError && cause.retriable;
    this.#rounds.add(1, { outcome: isVoid ? "void" : "failed" });
    if (!retriable) {
      env.log.error("flush.failed", { cause });
      this.#closed = true;
      this.#timer?.cancel();
      onFailure(cause);
      throw cause;
    }
    const waitMsMax = cause instanceof DiskError ? fullMsMax : unansweredMsMax;
    const waitMs = isVoid ? 0 : Math.min(backoffMsMin * 2 ** this.#failuresInRow++, waitMsMax);
    env.log.warn("flush.retried", { cause, waitMs });
    this.#notBeforeMs = env.clock.monotonicMs() + waitMs;
    this.#schedule(waitMs);
    throw cause;
  }

  async #round(): Promise<void> {
    const { wal, names } = this.#options;
    await this.#foldLong();
    const release = wal.durablePosition;
    const shares = await this.#collect(release);
    if (shares.length === 0 && release === this.#released) return;
    const drafts = shares.map((share) => draftOf(share));
    const stored = await this.#store(drafts.filter((draft) => draft !== null));
    const rows = shares.map((share, i) => rowOf(share, stored.refs, drafts[i] ?? null));
    const origins = stored.objects.map(({ origin }) => origin);
    const outcome = await this.#publish({ rows, release, below: names.below(origins) }, stored.objects);
    if (outcome === "void") {
      throw new FlushVoidError("A FLUSH took no effect: the journal says something else about a partition.");
    }
    for (const origin of origins) names.settle(origin);
    for (const [i, { source }] of shares.entries()) source.published(rows[i] as FlushRow);
    this.#released = release;
    wal.release(release);
  }

  /** The journal takes no further segment of a partition with too many. */
  async #foldLong(): Promise<void> {
    for (const source of this.#options.sources()) {
      if (needsFold(source.segments())) await foldSegments(source, this.#options);
    }
  }

  async #collect(below: WalPosition): Promise<readonly Share[]> {
    const shares: Share[] = [];
    let asked = 0;
    for (const source of this.#options.sources()) {
      const unflushed = source.unflushed(below);
      if (unflushed !== null) shares.push({ source, unflushed });
      if (++asked % sourcesPerSlice === 0) await this.#pause();
    }
    return shares;
  }

  /** All objects, known durable; or an error, and none is left. */
  async #store(drafts: readonly SectionDraft[]): Promise<Stored> {
    const { store, names } = this.#options;
    const plans = planObjects(drafts);
    const stored = new Map<number, StoredObject<BuiltObject>>();
    let next = 0;
    let failure: { readonly cause: unknown } | null = null;
    const storeSome = async (): Promise<void> => {
      while (next < plans.length && failure === null) {
        const index = next++;
        const sections = plans[index] as readonly SectionDraft[];
        try {
          const built = storeObject(store, names, (origin) =>
            buildObject(origin, sections, () => this.#pause()),
          );
          stored.set(index, await built);
        } catch (cause) {
          failure ??= { cause };
        }
      }
    };
    await Promise.all(Array.from({ length: objectsAtOnce }, storeSome));
    const objects = plans.map((_, index) => stored.get(index)).filter((object) => object !== undefined);
    // Assigned in callbacks only, which the compiler does not see.
    const failed = failure as { readonly cause: unknown } | null;
    if (failed !== null) {
      await this.#discard(objects);
      throw failed.cause;
    }
    const refs = new Map<SectionDraft, SegmentRef>();
    for (const [index, sections] of plans.entries()) {
      const object = objects[index] as StoredObject<BuiltObject>;
      for (const [i, section] of sections.entries()) refs.set(section, object.content.refs[i] as SegmentRef);
      this.#bytes.add(object.length);
    }
    return { objects, refs };
  }

  /** Objects of a command that certainly took no effect go at once; after an unknown outcome all stay. */
  async #publish(flush: Flush, objects: readonly StoredObject<BuiltObject>[]): Promise<"published" | "void"> {
    const { publishFlush } = this.#options;
    const outcome = await publishFlush(flush).catch(async (cause: unknown) => {
      if (tookNoEffect(cause)) await this.#discard(objects);
      throw cause;
    });
    if (outcome === "void") await this.#discard(objects);
    return outcome;
  }

  /** What cannot be removed now is removed by the next sweep. */
  async #discard(objects: readonly StoredObject<BuiltObject>[]): Promise<void> {
    const { store, names, env } = this.#options;
    await discard(store, names, objects).catch((cause: unknown) => {
      env.log.warn("flush.discard", { cause });
    });
  }

  #pause(): Promise<void> {
    return sleep(this.#options.env.clock, 0);
  }
}

/** Null: the row changes no offset, so the newest segment stays what it is. */
function draftOf({ source, unflushed }: Share): SectionDraft | null {
  const { from, to, batches, start } = unflushed;
  if (to === from) return null;
  const { topicId, partition } = source;
  const { appendedFirstMs, appendedLastMs, state } = unflushed;
  const base = sectionBase(unflushed);
  return {
    topicId,
    partition,
    base,
    end: to,
    batches: start >= to ? [] : batches,
    appendedFirstMs,
    appendedLastMs,
    state,
  };
}

/** A segment covers all of [from, to), except for what lies below the log start. A footer alone stands at `to`. */
function sectionBase({ from, to, start, batches }: Unflushed): Offset {
  const first = batches[0]?.baseOffset;
  if (first === undefined || start >= to) return to;
  return start > from ? offset(Math.max(from, Math.min(start, first))) : from;
}

function rowOf(
  { source, unflushed }: Share,
  refs: ReadonlyMap<SectionDraft, SegmentRef>,
  draft: SectionDraft | null,
): FlushRow {
  const { topicId, partition } = source;
  const { leaderEpoch, from, to, start } = unflushed;
  const segment = draft === null ? null : refs.get(draft);
  assert(segment !== undefined, "a row that moves the end of a partition has its segment");
  return { topicId, partition, leaderEpoch, from, to, start, segment };
}
