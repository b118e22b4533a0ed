/**
 * Key compaction in the background: goes through all partitions whose topic is compacted, one at a time,
 * paced, and writes anew what a plan says is due. What is left of small partitions is gathered and stored
 * together in packs, so that many of them cost one object and one command. It also takes the bytes of a
 * partition from which all records were deleted. Nothing is published before it is durable, and nothing
 * is deleted here: what no reference names any more is garbage.
 */
import { DamageError } from "../base/errors.ts";
import { offset, type Offset } from "../base/ids.ts";
import { type Env, type ObjectStore, sleep, type Timer } from "../base/ports.ts";
import { BlockLoader } from "./block-loader.ts";
import { CompactionPass, type Leftover, type PassSource, type PassTools } from "./compaction-pass.ts";
import { type CompactionLimits, planCompaction } from "./compaction-plan.ts";
import type { LogConfig } from "./log-config.ts";
import type { ObjectNames } from "./object-names.ts";
import { discard, storeObject, type StoredObject, tookNoEffect } from "./object-writer.ts";
import { Pace, PaceClosedError } from "./pace.ts";
import { type Exchange, publishExchanges } from "./replacement.ts";
import type { SegmentIndex } from "./segment-index.ts";
import { hasRecords } from "./segment-list.ts";
import type { Compacted, PublishReplace, SegmentRef } from "./segment-ref.ts";
import {
  batchBytes,
  type BuiltObject,
  buildObject,
  packBytesTarget,
  planObjects,
  type SectionDraft,
} from "./segment-writer.ts";

export interface CompactionSource extends PassSource {
  readonly lastStable: Offset;
  readonly config: PassSource["config"] & CompactionLimits & Pick<LogConfig, "compacts">;
}

/** A partition as the journal has it. */
export interface CompactionKnown {
  readonly start: Offset;
  readonly compacted: Compacted | null;
}

export interface CompactionOptions {
  readonly env: Env;
  readonly store: ObjectStore;
  readonly names: ObjectNames;
  readonly index: SegmentIndex;
  readonly sources: () => Iterable<CompactionSource>;
  readonly known: (source: CompactionSource) => CompactionKnown;
  readonly publishReplace: PublishReplace;
  /** Asked at each use. */
  readonly settings: () => {
    /** `log.cleaner.enable`. */
    readonly isEnabled: boolean;
    /** `log.cleaner.backoff.ms`: from the end of one round to the next. */
    readonly intervalMs: number;
    /** `log.cleaner.dedupe.buffer.size`. */
    readonly keyBytesMax: number;
    /** `log.cleaner.io.max.bytes.per.second`, read and written. */
    readonly bytesPerSecondMax: number;
  };
  readonly onFailure: (cause: Error) => void;
  /** For tests; else as large as memory allows. */
  readonly bytesTarget?: number;
}

/** A partition of which something cannot be read is left alone for so long. */
const blindMs = 3_600_000;
/** One command exchanges segments of at most so many partitions. */
const rowsMax = 256;
/** Memory of blocks that are read. */
const readBytesMax = 4 * 1024 * 1024;
const sourcesPerSlice = 64;

export class Compaction {
  readonly #options: CompactionOptions;
  readonly #loader: BlockLoader;
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;
  readonly #pace: Pace;
  #leftovers: Leftover[] = [];
  #leftoverBytes = 0;
  /** By topic and partition: not to be tried before, monotonic ms. */
  readonly #blind = new Map<string, number>();
  #isPartial = false;
  readonly #passes;
  readonly #bytes;

  constructor(options: CompactionOptions) {
    this.#options = options;
    this.#loader = new BlockLoader(options.store, readBytesMax);
    this.#pace = new Pace(options.env.clock, () => options.settings().bytesPerSecondMax);
    const { meter } = options.env;
    this.#passes = meter.counter(
      "holdfast_compaction_passes_total",
      "Passes of compaction by what made them due",
    );
    this.#bytes = meter.counter("holdfast_compaction_bytes", "Bytes that compaction read and wrote");
  }

  start(): void {
    this.#arm(this.#options.settings().intervalMs);
  }

  #arm(delayMs: number): void {
    if (this.#pace.isClosed) return;
    this.#timer = this.#options.env.clock.schedule(delayMs, () => {
      this.#running = this.round()
        .catch((cause: unknown) => this.#failed(cause as Error))
        .finally(() => {
          this.#running = null;
          this.#arm(this.#isPartial ? 0 : this.#options.settings().intervalMs);
        });
    });
  }

  async close(): Promise<void> {
    this.#pace.close();
    this.#timer?.cancel();
    await this.#running;
  }

  /** Goes through all partitions once. Rejects with what the store or the journal rejects with. */
  async round(): Promise<void> {
    this.#isPartial = false;
    this.#leftovers = [];
    this.#leftoverBytes = 0;
    if (!this.#options.settings().isEnabled) return;
    let seen = 0;
    for (const source of this.#options.sources()) {
      if (this.#pace.isClosed) return;
      try {
        await this.#visit(source);
      } catch (cause) {
        if (cause instanceof PaceClosedError) return;
        if (!(cause instanceof DamageError)) throw cause;
        this.#passOver(source, cause);
      }
      if (++seen % sourcesPerSlice === 0) await sleep(this.#options.env.clock, 0);
    }
    await this.#storeLeftovers();
  }

  async #visit(source: CompactionSource): Promise<void> {
    const known = this.#options.known(source);
    const emptied = await this.#emptied(source, known);
    if (emptied !== null) return this.#leave(emptied);
    if (!source.config.compacts || this.#isBlindTo(source)) return;
    const { env, index } = this.#options;
    const refs = await index.from(source, source.logStart);
    const now = {
      wallMs: env.clock.wallMs(),
      start: source.logStart,
      lastStable: source.lastStable,
      compacted: known.compacted,
    };
    // Nearly always nothing is due, and no footer is read.
    if (planCompaction(refs, source.config, now) === null) return;
    const decided = { ...now, lastStable: await this.#decidedEnd(source, refs) };
    const plan = planCompaction(refs, source.config, decided);
    if (plan === null) return;
    const { topicId, partition } = source;
    const { reason, firstDirty, end, dirtyBytes, cleanBytes } = plan;
    env.log.debug("compaction.begun", {
      topicId,
      partition,
      reason,
      firstDirty,
      end,
      dirtyBytes,
      cleanBytes,
    });
    this.#passes.add(1, { reason });
    const pass = new CompactionPass(
      source,
      plan,
      { compacted: known.compacted, refs },
      this.#tools(),
      this.#options.bytesTarget,
    );
    const outcome = await pass.run();
    if (outcome.isBlind) this.#blind.set(nameOf(source), env.clock.monotonicMs() + blindMs);
    if (outcome.isPartial && outcome.kind === "done" && !outcome.isBlind) this.#isPartial = true;
    if (outcome.leftover !== null) await this.#leave(outcome.leftover);
  }

  /**
   * Below it every transaction is decided by a marker that is in segments. One that is decided in memory only
   * is named by no footer yet, and its records would be taken for committed ones.
   */
  async #decidedEnd(source: CompactionSource, refs: readonly SegmentRef[]): Promise<Offset> {
    const newest = refs.at(-1);
    if (newest === undefined) return source.lastStable;
    const { state } = await this.#options.index.footer(source, newest);
    const open = state.producers.map(({ openFrom }) => openFrom).filter((from) => from >= 0);
    return offset(Math.min(source.lastStable, newest.end, ...open));
  }

  /** All records of the partition are deleted: what it is stays, in a footer alone. */
  async #emptied(source: CompactionSource, { start }: CompactionKnown): Promise<Leftover | null> {
    const newest = source.segments().recent.at(-1);
    if (newest === undefined || !hasRecords(newest) || newest.end > start) return null;
    const { topicId, partition } = source;
    const { state } = await this.#options.index.footer(source, newest);
    const { end, appendedFirstMs, appendedLastMs } = newest;
    const draft = { topicId, partition, base: end, end, batches: [], appendedFirstMs, appendedLastMs, state };
    return { source, old: [newest], draft, compacted: null };
  }

  #tools(): PassTools {
    const { env, store, names, index, publishReplace, settings } = this.#options;
    const pace = (bytes: number): Promise<void> => {
      this.#bytes.add(bytes);
      return this.#pace.spend(bytes);
    };
    return {
      env,
      store,
      names,
      index,
      publishReplace,
      loader: this.#loader,
      keyBytesMax: settings().keyBytesMax,
      pace,
    };
  }

  #isBlindTo(source: CompactionSource): boolean {
    const untilMs = this.#blind.get(nameOf(source));
    if (untilMs === undefined) return false;
    if (this.#options.env.clock.monotonicMs() < untilMs) return true;
    this.#blind.delete(nameOf(source));
    return false;
  }

  /** Without its list or footers nothing of a partition is exchanged; the others go on. */
  #passOver(source: CompactionSource, cause: Error): void {
    const { env } = this.#options;
    env.log.error("compaction.damaged", { cause });
    this.#blind.set(nameOf(source), env.clock.monotonicMs() + blindMs);
  }

  async #leave(leftover: Leftover): Promise<void> {
    this.#leftovers.push(leftover);
    this.#leftoverBytes += leftover.draft === null ? 0 : batchBytes(leftover.draft.batches);
    if (this.#leftoverBytes >= packBytesTarget || this.#leftovers.length >= rowsMax)
      await this.#storeLeftovers();
  }

  async #storeLeftovers(): Promise<void> {
    const leftovers = this.#leftovers;
    this.#leftovers = [];
    this.#leftoverBytes = 0;
    if (leftovers.length === 0) return;
    const tools = this.#tools();
    const drafts = leftovers.map(({ draft }) => draft).filter((draft) => draft !== null);
    const objects: StoredObject<BuiltObject>[] = [];
    const refs = new Map<SectionDraft, SegmentRef>();
    try {
      for (const sections of planObjects(drafts)) {
        const pause = () => sleep(tools.env.clock, 0);
        const stored = await storeObject(tools.store, tools.names, (origin) =>
          buildObject(origin, sections, pause),
        );
        objects.push(stored);
        this.#bytes.add(stored.length);
        for (const [i, section] of sections.entries())
          refs.set(section, stored.content.refs[i] as SegmentRef);
      }
    } catch (cause) {
      await discard(tools.store, tools.names, objects);
      throw cause;
    }
    const exchanges = leftovers.map(({ source, old, draft, compacted }): Exchange => {
      return { source, old, segments: draft === null ? [] : [refs.get(draft) as SegmentRef], compacted };
    });
    await publishExchanges(exchanges, objects, tools);
  }

  #failed(cause: Error): void {
    const { env, onFailure } = this.#options;
    if (tookNoEffect(cause)) return env.log.warn("compaction.retried", { cause });
    this.#pace.close();
    onFailure(cause);
  }
}

const nameOf = ({ topicId, partition }: CompactionSource): string => `${topicId}/${partition}`;
