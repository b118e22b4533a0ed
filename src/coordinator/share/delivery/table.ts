/**
 * Which records of one topic-partition one share group was given, and what came of each: the state machine of
 * a share-partition (KIP-932). It does no I/O and knows no clock. A record is delivered to one member at a time,
 * no more often than the limit says, and never again once an acknowledgement of it was accepted here. What must
 * outlive this object is collected and taken with `takeChanges`; an answer that relies on it has to wait until that
 * is durable. There is no way back: an acknowledgement is accepted as a whole or not at all. It must never forget
 * a record: each from `startOffset` on is available, acquired, on its way to the dead letters, or complete.
 */
import { assert, AssertionFailure, unreachable } from "../../../base/assert.ts";
import { MalformedError } from "../../../base/errors.ts";
import { type Offset, offset } from "../../../base/ids.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import type { KeptState, StateBatch } from "../state-batch.ts";
import { type AcknowledgeBatch, AcknowledgeType, isWellFormed, runsOf } from "./acknowledgement.ts";
import { goAlone, isolatedCount, type AcquireRequest, type AcquiredRecords, told } from "./acquisition.ts";
import { type Lock, Locks } from "./locks.ts";
import { available, complete, type Range, Ranges, type RangeState, sizeOf } from "./ranges.ts";
import { Spans } from "./spans.ts";
import {
  type DeadRecords,
  type DeathReason,
  type DeliveryChanges,
  type DeliverySettings,
  type DeliveryState,
} from "./state.ts";

/** How many records from `startOffset` to `endOffset` are in which state. */
export type DeliveryCounts = Readonly<Record<RangeState, number>>;

/** How a member's hold on records ends without a word of it about them. */
export type HoldEnd =
  /** It said good-bye: what it still holds was not given to the application, so the delivery does not count. */
  | "closed"
  /** It vanished, perhaps because of one of these records. */
  | "lost";

export class DeliveryTable {
  readonly #settings: DeliverySettings;
  readonly #ranges = new Ranges();
  readonly #locks = new Locks();
  readonly #counts: Record<RangeState, number> = {
    available: 0,
    acquired: 0,
    acknowledged: 0,
    archiving: 0,
    archived: 0,
  };
  #startOffset: number;
  /** As it was taken last. */
  #takenStart: number;
  /** The first that nothing is known of. */
  #endOffset: number;
  /** No record before it is available. */
  #availableFrom: number;
  readonly #changed = new Spans();
  #dead: DeadRecords[] = [];

  private constructor(startOffset: number, settings: DeliverySettings) {
    this.#settings = settings;
    this.#startOffset = startOffset;
    this.#takenStart = startOffset;
    this.#endOffset = startOffset;
    this.#availableFrom = startOffset;
  }

  /**
   * As it was kept. What was acquired, or never delivered, lies in the holes between the batches, and is available.
   * Those whose dead letters were not finished are told with the first changes. Throws `MalformedError`.
   */
  static load(kept: DeliveryState, settings: DeliverySettings): DeliveryTable {
    const table = new DeliveryTable(kept.startOffset, settings);
    for (const batch of [...kept.batches].sort((a, b) => a.first - b.first)) table.#load(batch);
    table.#advance();
    // Nothing new was decided by reading.
    table.#changed.take();
    table.#takenStart = table.#startOffset;
    return table;
  }

  #load(batch: StateBatch): void {
    if (batch.last < this.#startOffset) return;
    const first = Math.max(batch.first, this.#startOffset);
    if (first < this.#endOffset || batch.last < first)
      throw new MalformedError(`the share state says two things of the record at offset ${first}`);
    if (first > this.#endOffset) this.#write([available(this.#endOffset, first - 1, 0)]);
    const { last, deliveryCount } = batch;
    switch (batch.state) {
      case 0:
        return this.#write([available(first, last, deliveryCount)]);
      case 2:
        return this.#write([complete(first, last, "acknowledged")]);
      case 4:
        return this.#write([complete(first, last, "archived")]);
      case 3: {
        const reason = deliveryCount >= this.#settings.deliveryCountLimit ? "expired" : "rejected";
        this.#dead.push({ first, last, deliveryCount, reason, letter: batch.letter ?? null });
        return this.#write([{ first, last, state: "archiving", deliveryCount, lock: null }]);
      }
      default:
        return unreachable(batch.state);
    }
  }

  // ── What it knows ──

  /** The first record that is not complete. */
  get startOffset(): Offset {
    return offset(this.#startOffset);
  }

  /** Exclusive: from here on nothing was delivered. */
  get endOffset(): Offset {
    return offset(this.#endOffset);
  }

  /** The first record that may be acquired; one that is available again comes before new ones. */
  get nextFetchOffset(): Offset {
    if (this.#counts.available === 0) return offset(this.#endOffset);
    for (const range of this.#ranges.from(this.#availableFrom)) {
      if (range.state !== "available") continue;
      this.#availableFrom = range.first;
      return offset(range.first);
    }
    throw new AssertionFailure("what is counted as available is there");
  }

  /** Delivered, or about to be again, and not complete: never more than `recordLocksMax` by what is acquired here. */
  get inFlightCount(): number {
    return this.#counts.available + this.#counts.acquired + this.#counts.archiving;
  }

  get counts(): DeliveryCounts {
    return this.#counts;
  }

  /** False: until something is acknowledged, released or archived, `acquire` returns nothing. */
  get mayAcquire(): boolean {
    return this.#counts.available > 0 || this.#room() > 0;
  }

  /** Whether the member has records that go with no others: until it has said what became of them it gets nothing. */
  hasAlone(memberId: string): boolean {
    return this.#locks.hasAlone(memberId);
  }

  /**
   * How many ranges it keeps, each of about 100 bytes; locks are no more than that. Never more than four for each
   * record that may be locked: nothing new is given while there are two.
   */
  get rangeCount(): number {
    return this.#ranges.size;
  }

  /** Monotonic ms at which `onTime` has something to do; `Infinity`: never. */
  get nextDeadlineMs(): number {
    return this.#locks.nextDeadlineMs;
  }

  /** What is known of the records from `first` to `last`, for those who look. */
  ranges(first: number, last: number): readonly Range[] {
    return this.#ranges.within(first, last);
  }

  /** How many records each member holds. */
  held(): ReadonlyMap<string, number> {
    return this.#locks.held();
  }

  /** How many new records may be given. */
  #room(): number {
    const { recordLocksMax } = this.#settings;
    // Behind one record that stays, acknowledged and archived ones may take turns for ever.
    return this.#ranges.size >= 2 * recordLocksMax ? 0 : recordLocksMax - this.inFlightCount;
  }

  // ── Acquisition ──

  /**
   * Gives a member what is available of the batches that were read from `first` on. What lies before or between the
   * batches is not in the log (compaction, or transactions that were left out of them): that is archived.
   * Nothing has to be kept before the member is told.
   */
  acquire(request: AcquireRequest): readonly AcquiredRecords[] {
    const { memberId, nowMs, batches } = request;
    const taken = this.#choose(request);
    const isAlone = goAlone(taken, this.#settings.deliveryCountLimit);
    const lockedFirst = taken.find(({ state }) => state === "acquired")?.first;
    const lockedLast = taken.findLast(({ state }) => state === "acquired")?.last;
    const deadlineMs = nowMs + this.#settings.lockDurationMs;
    const lock =
      lockedFirst === undefined || lockedLast === undefined
        ? null
        : this.#locks.create({ memberId, first: lockedFirst, last: lockedLast, deadlineMs, isAlone });
    for (const range of taken) {
      if (range.state === "acquired") this.#write([{ ...range, lock }]);
      else if (range.state === "archived") this.#conclude([range]);
      else this.#conclude([this.#die(range, "expired")]);
    }
    this.#advance();
    return told(taken, batches, request.batchSize ?? Infinity);
  }

  /** What becomes of which records: acquired, archived since they do not exist, or (available) past their limit. */
  #choose({ memberId, first, last, batches, recordsMax, mode, besides }: AcquireRequest): readonly Range[] {
    // Also what came in an answer before: a member that asks ahead would take the neighbours along into its death.
    if (this.hasAlone(memberId)) return [];
    const { deliveryCountLimit: limit } = this.#settings;
    const taken: Range[] = [];
    let cursor = Math.max(first, this.#startOffset);
    let end = this.#endOffset;
    let room = this.#room();
    let count = 0;
    for (const batch of batches) {
      if (count >= recordsMax || batch.first > last || cursor > end) break;
      if (batch.last < cursor) continue;
      if (batch.first > cursor) {
        for (const range of this.#known(cursor, batch.first - 1, end))
          if (range.state === "available") taken.push(complete(range.first, range.last, "archived"));
        end = Math.max(end, batch.first);
        cursor = batch.first;
      }
      const to = Math.min(batch.last, last);
      for (const range of this.#known(cursor, to, end)) {
        cursor = range.last + 1;
        if (range.state !== "available") continue;
        if (range.deliveryCount >= limit) {
          taken.push(range);
          continue;
        }
        const isolated = isolatedCount(range, limit);
        if (isolated !== null && (count > 0 || besides !== undefined)) return taken;
        const isNew = range.first >= end;
        const most = Math.min(
          mode === "strict" ? recordsMax - count : Infinity,
          isNew ? room : Infinity,
          isolated ?? Infinity,
        );
        const got = Math.min(sizeOf(range), most);
        if (got <= 0) return taken;
        const gotLast = range.first + got - 1;
        taken.push({ ...range, last: gotLast, state: "acquired", deliveryCount: range.deliveryCount + 1 });
        count += got;
        if (isNew) {
          room -= got;
          end = gotLast + 1;
        }
        if (got < sizeOf(range) || isolated !== null) return taken;
      }
    }
    return taken;
  }

  /** What is known, and behind it what is new. `end`: what of it is known, or was decided just now. */
  #known(first: number, last: number, end: number): readonly Range[] {
    const known = this.#ranges.within(first, last);
    const newFirst = Math.max(first, end);
    if (newFirst <= last) known.push(available(newFirst, last, 0));
    return known;
  }

  // ── What ends an acquisition ──

  /**
   * A member's word about what it acquired. All of it is accepted, or nothing: INVALID_RECORD_STATE for what it does
   * not hold, INVALID_REQUEST for what was never delivered or contradicts itself. What lies before `startOffset` is
   * no longer asked for.
   */
  acknowledge(request: {
    readonly memberId: string;
    readonly batches: readonly AcknowledgeBatch[];
    readonly nowMs: number;
  }): { readonly errorCode: ErrorCode } {
    const { memberId, batches, nowMs } = request;
    if (!isWellFormed(batches)) return { errorCode: ErrorCode.INVALID_REQUEST };
    for (const batch of batches) {
      const errorCode = this.#judge(memberId, batch);
      if (errorCode !== ErrorCode.NONE) return { errorCode };
    }
    for (const batch of batches) this.#accept(memberId, batch, nowMs);
    this.#advance();
    return { errorCode: ErrorCode.NONE };
  }

  #judge(memberId: string, { first, last }: AcknowledgeBatch): ErrorCode {
    if (last < this.#startOffset) return ErrorCode.NONE;
    if (last >= this.#endOffset) return ErrorCode.INVALID_REQUEST;
    for (const range of this.#ranges.from(first)) {
      if (range.first > last) break;
      if (range.lock?.memberId !== memberId) return ErrorCode.INVALID_RECORD_STATE;
    }
    return ErrorCode.NONE;
  }

  #accept(memberId: string, batch: AcknowledgeBatch, nowMs: number): void {
    const deadlineMs = nowMs + this.#settings.lockDurationMs;
    const { first: from, last: to, types } = batch;
    const limit = this.#settings.deliveryCountLimit;
    const isAlone = types.includes(AcknowledgeType.renew) && goAlone(this.#ranges.within(from, to), limit);
    const renewed = this.#locks.create({ memberId, first: from, last: to, deadlineMs, isAlone });
    for (const { first, last, type } of runsOf(batch)) {
      const held = this.#ranges.within(first, last);
      if (held.length === 0) continue;
      if (type === AcknowledgeType.renew) this.#write(held.map((range) => ({ ...range, lock: renewed })));
      else this.#conclude(held.map((range) => this.#answered(range, type)));
    }
  }

  #answered(range: Range, type: AcknowledgeType): Range {
    switch (type) {
      case AcknowledgeType.accept:
        return complete(range.first, range.last, "acknowledged");
      case AcknowledgeType.gap:
        return complete(range.first, range.last, "archived");
      case AcknowledgeType.reject:
        return this.#die(range, "rejected");
      default:
        return this.#again(range);
    }
  }

  /** Ends what a member holds, as its session ended. Returns how many records that were. */
  release(memberId: string, end: HoldEnd): number {
    let count = 0;
    for (const lock of this.#locks.of(memberId)) {
      count += this.#end(lock, (range) =>
        end === "lost" ? this.#again(range) : available(range.first, range.last, range.deliveryCount - 1),
      );
    }
    this.#advance();
    return count;
  }

  /** The member was never told of what it acquired here and still holds: available as before, uncounted. */
  giveBack(memberId: string, { first, last, deliveryCount }: AcquiredRecords): void {
    for (const range of this.#ranges.within(first, last)) {
      if (range.lock?.memberId !== memberId || range.deliveryCount !== deliveryCount) continue;
      // What is kept says that already.
      this.#write([available(range.first, range.last, deliveryCount - 1)]);
    }
  }

  /** Locks that ran out. Returns how many records they held. */
  onTime(nowMs: number): number {
    let count = 0;
    for (let lock = this.#locks.first; lock !== null && lock.deadlineMs <= nowMs; lock = this.#locks.first)
      count += this.#end(lock, (range) => this.#again(range));
    this.#advance();
    return count;
  }

  #end(lock: Lock, outcome: (range: Range) => Range): number {
    let count = 0;
    for (const range of this.#ranges.within(lock.first, lock.last)) {
      if (range.lock !== lock) continue;
      count += sizeOf(range);
      this.#conclude([outcome(range)]);
    }
    assert(count > 0, "a lock holds something");
    return count;
  }

  /** Available again, or dead. */
  #again(range: Range): Range {
    if (range.deliveryCount >= this.#settings.deliveryCountLimit) return this.#die(range, "expired");
    return available(range.first, range.last, range.deliveryCount);
  }

  #die({ first, last, deliveryCount }: Range, reason: DeathReason): Range {
    const before = this.#dead.at(-1);
    const isAlike =
      before?.deliveryCount === deliveryCount && before.reason === reason && before.letter === null;
    if (before?.last === first - 1 && isAlike) this.#dead[this.#dead.length - 1] = { ...before, last };
    else this.#dead.push({ first, last, deliveryCount, reason, letter: null });
    if (!this.#settings.hasDeadLetters) return complete(first, last, "archived");
    return { first, last, state: "archiving", deliveryCount, lock: null };
  }

  // ── What happens to the log ──

  /** The dead letters of these records are written (or nothing can be written of them): they are archived. */
  archive(first: number, last: number): void {
    this.#complete(first, last, "archiving");
  }

  /**
   * These have no records for this group: control batches, transactions that were aborted. Those that are acquired
   * are their member's to tell of. Behind the end only what follows without a gap; the rest is read again.
   */
  skip(first: number, last: number): void {
    this.#complete(first, Math.min(last, this.#endOffset - 1), "available");
    if (first <= this.#endOffset && last >= this.#endOffset)
      this.#conclude([complete(this.#endOffset, last, "archived")]);
    this.#advance();
  }

  #complete(first: number, last: number, state: "available" | "archiving"): void {
    for (const range of this.#ranges.within(first, last))
      if (range.state === state) this.#conclude([complete(range.first, range.last, "archived")]);
    this.#advance();
  }

  /**
   * The log begins here now: retention or DeleteRecords took what lies before. Returns what of it was not complete,
   * to be counted and told.
   */
  moveStart(logStart: number): {
    readonly available: number;
    readonly acquired: number;
    readonly archiving: number;
  } {
    const before = { ...this.#counts };
    if (logStart > this.#startOffset) {
      this.#forget(logStart);
      this.#endOffset = Math.max(this.#endOffset, logStart);
      this.#advance();
    }
    return {
      available: before.available - this.#counts.available,
      acquired: before.acquired - this.#counts.acquired,
      archiving: before.archiving - this.#counts.archiving,
    };
  }

  // ── What is kept ──

  /** What changed since it was taken last; null: nothing. It must be written before what is taken next. */
  takeChanges(): DeliveryChanges | null {
    const hasMoved = this.#takenStart !== this.#startOffset;
    if (this.#changed.isEmpty && this.#dead.length === 0 && !hasMoved) return null;
    const batches: StateBatch[] = [];
    for (const { first, last } of this.#changed.take()) {
      if (last < this.#startOffset) continue;
      for (const range of this.#ranges.within(first, last)) keep(batches, range);
    }
    const dead = this.#dead;
    this.#dead = [];
    this.#takenStart = this.#startOffset;
    return { startOffset: this.startOffset, batches, deliveryCompleteCount: this.#completeCount, dead };
  }

  get #completeCount(): number {
    return this.#counts.acknowledged + this.#counts.archived;
  }

  // ── Every change goes through here ──

  /** What is told of these records has to outlive us. */
  #conclude(ranges: readonly Range[]): void {
    for (const { first, last } of ranges) this.#changed.add(first, last);
    this.#write(ranges);
  }

  #write(ranges: readonly Range[]): void {
    const first = (ranges[0] as Range).first;
    const last = (ranges.at(-1) as Range).last;
    for (const range of ranges) {
      this.#counts[range.state] += sizeOf(range);
      if (range.lock !== null) this.#locks.add(range.lock, sizeOf(range));
      if (range.state === "available") this.#availableFrom = Math.min(this.#availableFrom, range.first);
    }
    for (const range of this.#ranges.within(first, last)) this.#leave(range);
    this.#ranges.replace(ranges);
    this.#endOffset = Math.max(this.#endOffset, last + 1);
  }

  #leave(range: Range): void {
    this.#counts[range.state] -= sizeOf(range);
    if (range.lock !== null) this.#locks.remove(range.lock, sizeOf(range));
  }

  /** Past what is complete. */
  #advance(): void {
    for (let { first } = this.#ranges; first !== undefined; { first } = this.#ranges) {
      if (first.state !== "acknowledged" && first.state !== "archived") return;
      this.#forget(first.last + 1);
    }
  }

  #forget(before: number): void {
    for (const range of this.#ranges.within(this.#startOffset, before - 1)) this.#leave(range);
    this.#ranges.dropBefore(before);
    this.#startOffset = before;
    this.#availableFrom = Math.max(this.#availableFrom, before);
  }
}

/** As it is kept. */
const codes = { acknowledged: 2, archiving: 3, archived: 4 } satisfies Partial<Record<RangeState, KeptState>>;

/** An acquisition is not kept: after a restart the record is as it was before. */
function keep(batches: StateBatch[], { first, last, state, deliveryCount: count }: Range): void {
  const code = state === "acquired" || state === "available" ? 0 : codes[state];
  const deliveryCount = state === "acquired" ? count - 1 : count;
  const before = batches.at(-1);
  if (before?.last === first - 1 && before.state === code && before.deliveryCount === deliveryCount)
    batches[batches.length - 1] = { ...before, last: offset(last) };
  else batches.push({ first: offset(first), last: offset(last), state: code, deliveryCount });
}
