/**
 * One pass of compaction over one partition: learn the newest offset of each key in the dirty part, then go
 * over everything from the log start on and write anew what has changed, group by group and in the order of
 * offsets. The order is a promise: when a tombstone begins its time in the journal, what it deletes has left
 * the journal before. What is damaged stays where it is, named and readable as far as it is.
 */
import { DamageError, HoldfastError } from "../base/errors.ts";
import { type Offset, offset } from "../base/ids.ts";
import type { Env } from "../base/ports.ts";
import { AbortedTransactions } from "./aborted-transactions.ts";
import type { BlockLoader } from "./block-loader.ts";
import { type ClosedGroup, CompactionGroup } from "./compaction-group.ts";
import { CompactionJudge, learnKeys } from "./compaction-judge.ts";
import type { CompactionPlan } from "./compaction-plan.ts";
import { KeyOffsets } from "./key-offsets.ts";
import type { LogConfig } from "./log-config.ts";
import { discard, storeObject, type StoredObject } from "./object-writer.ts";
import { publishExchanges, type ReplacementSource, type ReplacementTools } from "./replacement.ts";
import type { SegmentFooter } from "./segment-format.ts";
import type { Compacted, SegmentRef } from "./segment-ref.ts";
import { scanSegment } from "./segment-scan.ts";
import { type BuiltObject, buildObject, ownSegmentBytesMin, type SectionDraft } from "./segment-writer.ts";

export interface PassSource extends ReplacementSource {
  readonly logStart: Offset;
  readonly config: Pick<LogConfig, "deletes" | "retentionMs" | "deleteRetentionMs" | "messageBytesMax">;
}

export interface PassTools extends ReplacementTools {
  readonly env: Env;
  readonly loader: BlockLoader;
  /** For the keys of one pass. What does not fit is left to the next pass. */
  readonly keyBytesMax: number;
  /** Awaited with the bytes that were read or are to be written. Rejects when compaction is to end. */
  readonly pace: (bytes: number) => Promise<void>;
}

export interface PassKnown {
  /** What the journal has of earlier passes. */
  readonly compacted: Compacted | null;
  /** All segments from the log start on. */
  readonly refs: readonly SegmentRef[];
}

/** What is left to be published, together with what is left of others. */
export interface Leftover {
  readonly source: ReplacementSource;
  readonly old: readonly SegmentRef[];
  /** Null: no segment changes, only `compacted`. */
  readonly draft: SectionDraft | null;
  readonly compacted: Compacted | null;
}

export interface PassOutcome {
  /** "void": the segments have changed under it; what was published before is sound. */
  readonly kind: "done" | "void";
  readonly leftover: Leftover | null;
  /** Something could not be read: trying again soon gives the same. */
  readonly isBlind: boolean;
  /** There was no room for all keys; another pass goes on. */
  readonly isPartial: boolean;
}

/** A new object has about so many bytes, which are in memory while it is made. */
export const compactedBytesTarget = 16 * 1024 * 1024;
/** A batch may inflate to so many times `max.message.bytes`, as when it was produced. */
const inflationMax = 16;
const inflatedBytesMin = 16 * 1024 * 1024;
/** Segments are not merged over a longer time than this part of `retention.ms`, or old records would stay for young ones. */
const retentionPart = 8;

interface Learnt {
  readonly newest: KeyOffsets;
  /** All keys below it are known. */
  readonly end: Offset;
  readonly unreadableFrom: Offset | null;
}

export class CompactionPass {
  readonly #source: PassSource;
  readonly #plan: CompactionPlan;
  readonly #known: PassKnown;
  readonly #tools: PassTools;
  readonly #bytesTarget: number;
  readonly #aborted = new AbortedTransactions();

  constructor(
    source: PassSource,
    plan: CompactionPlan,
    known: PassKnown,
    tools: PassTools,
    bytesTarget = compactedBytesTarget,
  ) {
    this.#source = source;
    this.#plan = plan;
    this.#known = known;
    this.#tools = tools;
    this.#bytesTarget = bytesTarget;
  }

  /** Rejects with what the store, the journal or `pace` rejects with. */
  async run(): Promise<PassOutcome> {
    const { inUse } = this.#tools.index;
    const releases = this.#plan.refs.map(({ object }) => inUse.hold(object));
    try {
      const learnt = await this.#learn();
      return await this.#rewrite(learnt);
    } finally {
      for (const release of releases) release();
    }
  }

  async #learn(): Promise<Learnt> {
    const { refs, firstDirty, end } = this.#plan;
    const { random } = this.#tools.env;
    const newest = new KeyOffsets(this.#tools.keyBytesMax, [random.u32(), random.u32()]);
    const options = { from: firstDirty, aborted: this.#aborted, inflatedBytesMax: this.#inflatedBytesMax };
    let unreadableFrom: Offset | null = null;
    // Also of what is not gone over: the marker of a transaction may lie there.
    for (const ref of this.#known.refs) await this.#learnAborted(ref);
    if (!this.#aborted.isComplete) unreadableFrom = this.#source.logStart;
    for (const ref of refs) {
      if (ref.end <= firstDirty) continue;
      try {
        const footer = await this.#tools.index.footer(this.#source, ref);
        for await (const batch of this.#scan(ref, footer)) {
          try {
            const fullAt = learnKeys(batch, newest, options);
            if (fullAt !== null) return { newest, end: fullAt, unreadableFrom };
          } catch (cause) {
            if (!(cause instanceof HoldfastError)) throw cause;
            unreadableFrom ??= batch.baseOffset;
          }
        }
      } catch (cause) {
        if (!(cause instanceof DamageError)) throw cause;
        unreadableFrom ??= ref.base;
      }
    }
    return { newest, end, unreadableFrom };
  }

  /** A damaged footer is met and reported again where its segment is read. */
  async #learnAborted(ref: SegmentRef): Promise<void> {
    try {
      await this.#tools.pace(ref.footerBytes);
      this.#aborted.add((await this.#tools.index.footer(this.#source, ref)).state.aborted);
    } catch (cause) {
      if (!(cause instanceof DamageError)) throw cause;
      this.#aborted.missSome();
    }
  }

  async #rewrite({ newest, end, unreadableFrom }: Learnt): Promise<PassOutcome> {
    const { refs } = this.#plan;
    const judge = new CompactionJudge({
      newest,
      end,
      unreadableFrom,
      start: this.#source.logStart,
      wallMs: this.#tools.env.clock.wallMs(),
      deleteRetentionMs: this.#source.config.deleteRetentionMs,
      aborted: this.#aborted,
      inflatedBytesMax: this.#inflatedBytesMax,
    });
    const isPartial = end < this.#plan.end;
    const outcome = (kind: PassOutcome["kind"], leftover: Leftover | null = null): PassOutcome => ({
      kind,
      leftover,
      isBlind: judge.isBlind || unreadableFrom !== null,
      isPartial,
    });
    let group = this.#newGroup();
    for (const ref of refs) {
      if (!group.isEmpty && this.#parts(group, ref)) {
        if ((await this.#publish(group.close(false), group.isUnchanged, null)) === "void")
          return outcome("void");
        group = this.#newGroup();
      }
      if (await this.#gather(ref, group, judge)) continue;
      // Its offsets lie between what comes before and after it.
      if (group.isEmpty) continue;
      if ((await this.#publish(group.close(false), group.isUnchanged, null)) === "void")
        return outcome("void");
      group = this.#newGroup();
    }
    const compacted = this.#progress(judge, unreadableFrom);
    const source = this.#source;
    if (group.isEmpty) {
      return outcome("done", compacted === null ? null : { source, old: [], draft: null, compacted });
    }
    const closed = group.close(true);
    if (group.isUnchanged) {
      return outcome("done", compacted === null ? null : { source, old: [], draft: null, compacted });
    }
    if (closed.stored.length === 0 && group.bytes < ownSegmentBytesMin) {
      return outcome("done", { source, old: closed.old, draft: closed.draft, compacted });
    }
    return outcome((await this.#publish(closed, false, compacted)) === "void" ? "void" : "done");
  }

  #newGroup(): CompactionGroup {
    return new CompactionGroup(this.#source, this.#bytesTarget, (draft) => this.#store(draft));
  }

  /** Whether `ref` begins a group of its own. */
  #parts(group: CompactionGroup, ref: SegmentRef): boolean {
    if (group.isFull || group.bytes + ref.sectionBytes > this.#bytesTarget * 1.5) return true;
    // It would be written anew for nothing each time something small comes behind it.
    if (group.isUnchanged && group.bytes >= this.#bytesTarget / 2) return true;
    const { deletes, retentionMs } = this.#source.config;
    const spanMs = ref.appendedLastMs - group.appendedFirstMs;
    return deletes && retentionMs >= 0 && spanMs > retentionMs / retentionPart;
  }

  /** False: the segment is damaged, and stays as it is. */
  async #gather(ref: SegmentRef, group: CompactionGroup, judge: CompactionJudge): Promise<boolean> {
    let isBegun = false;
    try {
      const footer = await this.#tools.index.footer(this.#source, ref);
      group.begin(ref, footer.state);
      isBegun = true;
      for await (const batch of this.#scan(ref, footer)) await group.add(batch, judge.judge(batch));
      return true;
    } catch (cause) {
      if (!(cause instanceof DamageError)) throw cause;
      this.#tools.env.log.error("compaction.damaged", { cause });
      const base = group.isEmpty ? ref.base : group.base;
      if (isBegun) await discard(this.#tools.store, this.#tools.names, group.giveUpNewest());
      judge.passUnreadable(group.isEmpty ? base : ref.base);
      return false;
    }
  }

  #scan(ref: SegmentRef, footer: SegmentFooter) {
    return scanSegment(this.#source, ref, footer, this.#tools.loader, this.#tools.pace);
  }

  async #store(draft: SectionDraft): Promise<StoredObject<BuiltObject>> {
    const { store, names, pace } = this.#tools;
    const stored = await storeObject(store, names, (origin) => buildObject(origin, [draft], () => pace(0)));
    await pace(stored.length);
    return stored;
  }

  async #publish(
    { old, stored, draft }: ClosedGroup,
    isUnchanged: boolean,
    compacted: Compacted | null,
  ): Promise<"published" | "void"> {
    if (isUnchanged) return "published";
    const objects = [...stored, await this.#store(draft)];
    const segments = objects.map(({ content }) => content.refs[0] as SegmentRef);
    return publishExchanges([{ source: this.#source, old, segments, compacted }], objects, this.#tools);
  }

  /** What the journal is to know of this pass; null: it does already. */
  #progress(judge: CompactionJudge, unreadableFrom: Offset | null): Compacted | null {
    const isBlind = judge.isBlind || unreadableFrom !== null;
    const before = this.#known.compacted;
    // What could not be read counts as not compared, whatever earlier passes said.
    const to = isBlind ? judge.end : offset(Math.max(judge.end, before?.to ?? 0));
    const isBeyond = before !== null && before.to > this.#plan.end;
    const horizonMs = isBeyond ? earlier(before.horizonMs, judge.horizonMs) : judge.horizonMs;
    return before?.to === to && before.horizonMs === horizonMs ? null : { to, horizonMs };
  }

  get #inflatedBytesMax(): number {
    return Math.max(inflatedBytesMin, this.#source.config.messageBytesMax * inflationMax);
  }
}

/** The first of two times, of which −1 is none. */
function earlier(a: number, b: number): number {
  if (a < 0 || b < 0) return Math.max(a, b);
  return Math.min(a, b);
}
