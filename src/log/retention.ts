/**
 * What retention takes from a partition: whole segments from the oldest on, by age and by size, computed
 * from the references in the journal alone. Age counts from the later of a segment's record time and the
 * time of its last append, so that neither an old timestamp nor a late write makes a fresh record old.
 * Nothing at or above the last stable offset goes: it may be committed, and no committed reader could have
 * read it. The newest segment's footer, which says what the partition is, is never among what goes; when all
 * records go, a footer alone takes its place in the same command (TRIM).
 */
import { DamageError } from "../base/errors.ts";
import type { LeaderEpoch, Offset } from "../base/ids.ts";
import { type Env, type ObjectStore, sleep, type Timer } from "../base/ports.ts";
import type { LogConfig } from "./log-config.ts";
import type { ObjectNames } from "./object-names.ts";
import { settledBy, storeObject, tookNoEffect } from "./object-writer.ts";
import type { SectionIdentity } from "./segment-format.ts";
import type { SegmentIndex, SegmentSource } from "./segment-index.ts";
import { hasRecords } from "./segment-list.ts";
import type { SegmentRef } from "./segment-ref.ts";
import { buildObject } from "./segment-writer.ts";

export interface RetentionLimits {
  /** −1: none. */
  readonly retentionMs: number;
  /** −1: none. Bytes of all segments and of what is unflushed. */
  readonly retentionBytes: number;
}

export interface RetentionPlan {
  /** The log start after it: the end of the last segment that goes. */
  readonly start: Offset;
  /** What goes, oldest first; all of it has records. */
  readonly dropped: readonly SegmentRef[];
  readonly droppedBytes: number;
}

/** `refs`: all segments that reach above `start`, ascending. Null: nothing goes. */
export function planRetention(
  refs: readonly SegmentRef[],
  limits: RetentionLimits,
  now: {
    readonly wallMs: number;
    readonly start: Offset;
    /** Below it every transaction is decided. */
    readonly lastStable: Offset;
    readonly unflushedBytes: number;
  },
): RetentionPlan | null {
  const live = refs.filter((ref) => hasRecords(ref) && ref.end > now.start);
  let keptBytes = now.unflushedBytes;
  for (const ref of live) keptBytes += ref.sectionBytes;
  let count = 0;
  let droppedBytes = 0;
  for (const ref of live) {
    const isTooMuch = limits.retentionBytes >= 0 && keptBytes - ref.sectionBytes >= limits.retentionBytes;
    if (ref.end > now.lastStable) break;
    if (!isTooMuch && !isTooOld(ref, limits.retentionMs, now.wallMs)) break;
    keptBytes -= ref.sectionBytes;
    droppedBytes += ref.sectionBytes;
    count++;
  }
  const last = live[count - 1];
  return last === undefined ? null : { start: last.end, dropped: live.slice(0, count), droppedBytes };
}

function isTooOld(ref: SegmentRef, retentionMs: number, wallMs: number): boolean {
  return retentionMs >= 0 && wallMs - Math.max(ref.maxTimestamp, ref.appendedLastMs) > retentionMs;
}

/** One TRIM command. */
export interface TrimRequest extends SectionIdentity {
  readonly leaderEpoch: LeaderEpoch;
  readonly start: Offset;
  /** Replaces the newest segment when none of its records stays. */
  readonly footer: SegmentRef | null;
}

/** Puts a TRIM into the journal. Resolves and rejects as `PublishFlush` does. */
export type PublishTrim = (trim: TrimRequest) => Promise<"published" | "void">;

export interface RetentionSource extends SegmentSource {
  readonly leaderEpoch: LeaderEpoch;
  readonly logStart: Offset;
  readonly lastStable: Offset;
  /** flushed(p). */
  readonly flushedEnd: Offset;
  readonly config: Pick<LogConfig, "deletes" | keyof RetentionLimits>;
  /** Bytes that are not in segments yet. */
  readonly unflushedBytes: number;
  /** The journal has this log start now. */
  startPublished(start: Offset): void;
}

export interface RetentionOptions {
  readonly env: Env;
  readonly store: ObjectStore;
  readonly names: ObjectNames;
  readonly index: SegmentIndex;
  readonly sources: () => Iterable<RetentionSource>;
  readonly publishTrim: PublishTrim;
  /** From the end of one round to the next: `log.retention.check.interval.ms`. */
  readonly intervalMs: number;
  readonly onFailure: (cause: Error) => void;
}

const sourcesPerSlice = 64;

export class Retention {
  readonly #options: RetentionOptions;
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;
  #closed = false;
  readonly #bytes;

  constructor(options: RetentionOptions) {
    this.#options = options;
    const help = "Bytes of segments that retention gave up";
    this.#bytes = options.env.meter.counter("holdfast_retention_dropped_bytes", help);
  }

  start(): void {
    if (this.#closed) return;
    this.#timer = this.#options.env.clock.schedule(this.#options.intervalMs, () => {
      this.#running = this.round()
        .catch((cause: unknown) => this.#failed(cause as Error))
        .finally(() => {
          this.#running = null;
          this.start();
        });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#running;
  }

  /** Goes through all partitions once. Rejects with what the store or the journal rejects with. */
  async round(): Promise<void> {
    let seen = 0;
    for (const source of this.#options.sources()) {
      if (this.#closed) return;
      try {
        const plan = await retain(source, this.#options);
        if (plan !== null) this.#bytes.add(plan.droppedBytes);
      } catch (cause) {
        if (!(cause instanceof DamageError)) throw cause;
        // Without its list or footer nothing of this partition is given up; the others go on.
        this.#options.env.log.error("retention.damaged", { cause });
      }
      if (++seen % sourcesPerSlice === 0) await sleep(this.#options.env.clock, 0);
    }
  }

  #failed(cause: Error): void {
    const { env, onFailure } = this.#options;
    if (tookNoEffect(cause)) return env.log.warn("retention.retried", { cause });
    this.#closed = true;
    onFailure(cause);
  }
}

/** Applies the limits to one partition. Throws `DamageError` when its list or newest footer cannot be read. */
export async function retain(
  source: RetentionSource,
  tools: RetentionOptions,
): Promise<RetentionPlan | null> {
  const { deletes, retentionMs, retentionBytes } = source.config;
  if (!deletes || (retentionMs < 0 && retentionBytes < 0)) return null;
  const { logStart: start, lastStable } = source;
  const refs = await tools.index.from(source, start);
  const wallMs = tools.env.clock.wallMs();
  const now = { wallMs, start, lastStable, unflushedBytes: source.unflushedBytes };
  const plan = planRetention(refs, { retentionMs, retentionBytes }, now);
  if (plan === null) return null;
  const newest = refs.at(-1);
  const isAll = newest !== undefined && newest.end === plan.start && hasRecords(newest);
  const outcome = isAll
    ? await trimToFooter(source, newest, tools)
    : await tools.publishTrim({ ...requestOf(source), start: plan.start, footer: null });
  if (outcome === "void") return null;
  source.startPublished(plan.start);
  const { topicId, partition } = source;
  const { droppedBytes, dropped } = plan;
  tools.env.log.info("retention.dropped", {
    topicId,
    partition,
    start: plan.start,
    segments: dropped.length,
    droppedBytes,
  });
  return plan;
}

const requestOf = ({ topicId, partition, leaderEpoch }: RetentionSource) => ({
  topicId,
  partition,
  leaderEpoch,
});

/** All records go: what the partition is stays, in an object of its own. */
async function trimToFooter(
  source: RetentionSource,
  newest: SegmentRef,
  tools: RetentionOptions,
): Promise<"published" | "void"> {
  const { state } = await tools.index.footer(source, newest);
  const { topicId, partition } = source;
  const draft = {
    topicId,
    partition,
    base: newest.end,
    end: newest.end,
    batches: [],
    appendedFirstMs: newest.appendedFirstMs,
    appendedLastMs: newest.appendedLastMs,
    state,
  };
  const pause = () => sleep(tools.env.clock, 0);
  const stored = await storeObject(tools.store, tools.names, (origin) => buildObject(origin, [draft], pause));
  const footer = stored.content.refs[0] as SegmentRef;
  const request = { ...requestOf(source), start: newest.end, footer };
  return settledBy(tools.names, stored, tools.publishTrim(request));
}
