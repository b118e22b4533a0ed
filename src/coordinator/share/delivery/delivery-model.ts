/**
 * What tests expect of one share-partition: a word for each offset, and nothing clever. It is told what the table
 * was asked and what it answered, says what is wrong with that, and knows what must come of a restart.
 */
import { assert } from "../../../base/assert.ts";
import type { AcquiredRecords, AcquireRequest } from "./acquisition.ts";
import type { RangeState } from "./ranges.ts";
import type { DeliveryChanges, DeliverySettings } from "./state.ts";
import type { DeliveryTable, HoldEnd } from "./table.ts";

interface Known {
  readonly state: RangeState;
  readonly count: number;
  readonly memberId: string | null;
  readonly deadlineMs: number;
}

/** What lies in the log at an offset. "nothing": compaction took it, or it was never a record of anyone's. */
export type Content = "record" | "nothing";

const states = { 0: "available", 2: "acknowledged", 3: "archiving", 4: "archived" } as const;
const never: Known = { state: "available", count: 0, memberId: null, deadlineMs: Infinity };

export class DeliveryModel {
  readonly settings: DeliverySettings;
  /** From offset 0 on. */
  readonly log: Content[] = [];
  logStart = 0;
  #known = new Map<number, Known>();
  #start = 0;
  #end = 0;
  /** What is kept, once it is durable; and what was taken and may still be lost. */
  #kept = new Map<number, Known>();
  #keptStart = 0;
  #waiting: DeliveryChanges[] = [];
  /** Why records are complete: durably, so that they are never delivered again. */
  readonly #concluded = new Set<number>();
  /** Of whom it is to be told that they are dead. */
  #died = new Set<number>();

  constructor(settings: DeliverySettings) {
    this.settings = settings;
  }

  get end(): number {
    return this.#end;
  }

  at(offset: number): Known {
    return this.#known.get(offset) ?? never;
  }

  // ── What was done ──

  acquired(table: DeliveryTable, request: AcquireRequest, told: readonly AcquiredRecords[]): void {
    const { batches, first, last, memberId, nowMs, recordsMax, mode } = request;
    const isThere = (at: number): boolean => batches.some((batch) => batch.first <= at && at <= batch.last);
    const offsets = told.flatMap((records) => range(records.first, records.last));
    same(
      offsets,
      [...new Set(offsets)].sort((a, b) => a - b),
      "each once, in order",
    );
    const room = this.settings.recordLocksMax - this.#inFlight();
    const count = offsets.length;
    const lastBatch = batches.find((batch) => batch.last >= (offsets.at(-1) ?? 0));
    const beforeLast = offsets.filter((at) => at < (lastBatch?.first ?? 0)).length;
    assert(mode === "strict" ? count <= recordsMax : beforeLast < recordsMax, "no more than asked for");
    assert(offsets.filter((at) => at >= this.#end).length <= Math.max(0, room), "within the bound");
    for (const { first: from, last: to, deliveryCount } of told) {
      assert(deliveryCount <= this.settings.deliveryCountLimit, "no more often than allowed");
      for (const at of range(from, to)) {
        assert(isThere(at) && at >= first && at <= last, "of what was read");
        same(this.at(at).state, "available", `${at} was available`);
        same(this.at(at).count + 1, deliveryCount, `deliveries of ${at}`);
        assert(!this.#concluded.has(at), `${at} was acknowledged, durably`);
      }
    }
    this.#judgeIsolation(told);
    if (this.#hasAlone(memberId)) {
      assert(told.length === 0, "who has what goes alone gets nothing else");
      return;
    }
    const wanted = batches.flatMap((batch) => range(batch.first, Math.min(batch.last, last)));
    const deliverable = wanted.filter(
      (at) => at >= first && at >= this.#start && this.at(at).state === "available" && !this.#isPast(at),
    );
    const [next] = deliverable;
    const isNewAllowed = room > 0 && table.rangeCount < 2 * this.settings.recordLocksMax;
    if (next !== undefined && recordsMax > 0 && first <= this.#end && (next < this.#end || isNewAllowed))
      same(offsets[0], next, "the first that may be had is had");
    // Up to where it came, what is not there is archived, and what is past a lowered limit is dead. It may come
    // to the beginning of a batch of which it takes nothing.
    const reached = offsets.at(-1) ?? -1;
    for (const at of range(Math.max(first, this.#start), batches.at(-1)?.last ?? -1)) {
      if (this.at(at).state !== "available" || (at > reached && !isComplete(table, at))) continue;
      if (!isThere(at)) this.#set(at, { ...never, state: "archived" });
      else if (this.#isPast(at)) this.#die(at);
    }
    const deadlineMs = nowMs + this.settings.lockDurationMs;
    for (const at of offsets)
      this.#set(at, { state: "acquired", count: this.at(at).count + 1, memberId, deadlineMs });
  }

  #isPast(at: number): boolean {
    return this.at(at).count >= this.settings.deliveryCountLimit;
  }

  /** One that was delivered nearly as often as allowed goes alone. */
  #judgeIsolation(told: readonly AcquiredRecords[]): void {
    const limit = this.settings.deliveryCountLimit;
    if (limit < 3 || told.every(({ deliveryCount }) => deliveryCount < limit)) return;
    assert(told.length === 1 && told[0]?.first === told[0]?.last, "the last time a record goes alone");
  }

  #hasAlone(memberId: string): boolean {
    const { deliveryCountLimit: limit } = this.settings;
    const from = Math.max(2, Math.ceil(limit / 2));
    if (limit < 3) return false;
    return this.#inState("acquired").some(
      (at) => this.at(at).memberId === memberId && this.at(at).count > from,
    );
  }

  /** What follows from a word that was accepted. */
  acknowledged(at: number, type: number, nowMs: number): void {
    if (at < this.#start) return;
    const known = this.at(at);
    if (type === 0) this.#set(at, { ...never, state: "archived" });
    else if (type === 1) this.#set(at, { ...never, state: "acknowledged" });
    else if (type === 2) this.#again(at);
    else if (type === 3) this.#die(at);
    else this.#set(at, { ...known, deadlineMs: nowMs + this.settings.lockDurationMs });
  }

  /** Whether a word of the member about these is accepted. */
  mayAcknowledge(memberId: string, first: number, last: number): boolean {
    if (last >= this.#end) return false;
    return range(Math.max(first, this.#start), last).every((at) => this.at(at).memberId === memberId);
  }

  released(memberId: string, end: HoldEnd): number {
    const mine = this.#inState("acquired").filter((at) => this.at(at).memberId === memberId);
    for (const at of mine)
      if (end === "lost") this.#again(at);
      else this.#set(at, { ...never, count: this.at(at).count - 1 });
    return mine.length;
  }

  passed(nowMs: number): number {
    const due = this.#inState("acquired").filter((at) => this.at(at).deadlineMs <= nowMs);
    for (const at of due) this.#again(at);
    return due.length;
  }

  archived(first: number, last: number): void {
    for (const at of range(Math.max(first, this.#start), last))
      if (this.at(at).state === "archiving") this.#set(at, { ...never, state: "archived" });
  }

  skipped(first: number, last: number): void {
    for (const at of range(Math.max(first, this.#start), last))
      if (at <= this.#end && this.at(at).state === "available")
        this.#set(at, { ...never, state: "archived" });
  }

  movedStart(logStart: number): void {
    this.logStart = logStart;
    for (const at of this.#known.keys()) if (at < logStart) this.#known.delete(at);
    this.#start = Math.max(this.#start, logStart);
    this.#end = Math.max(this.#end, logStart);
  }

  #again(at: number): void {
    if (this.#isPast(at)) this.#die(at);
    else this.#set(at, { ...never, count: this.at(at).count });
  }

  #die(at: number): void {
    this.#died.add(at);
    const { count } = this.at(at);
    this.#set(
      at,
      this.settings.hasDeadLetters
        ? { ...never, state: "archiving", count }
        : { ...never, state: "archived" },
    );
  }

  #set(at: number, known: Known): void {
    this.#known.set(at, known);
    this.#end = Math.max(this.#end, at + 1);
  }

  // ── What is kept ──

  /** With all that was taken, what is kept is what is known, but for what members hold. */
  took(changes: DeliveryChanges): void {
    this.#waiting.push(changes);
    same(changes.startOffset, this.#start, "the start that is kept");
    const dead = changes.dead.flatMap(({ first, last }) => range(first, last));
    same(dead.sort(inOrder), [...this.#died].sort(inOrder), "the dead are told, each once");
    this.#died = new Set();
    const kept = new Map(this.#kept);
    for (const { batches } of this.#waiting)
      for (const { first, last, state, deliveryCount: count } of batches)
        for (const at of range(first, last)) kept.set(at, { ...never, state: states[state], count });
    for (const at of range(this.#start, this.#end - 1)) {
      const { state, count } = this.at(at);
      const wanted = state === "acquired" ? ["available", count - 1] : [state, count];
      const { state: keptState, count: keptCount } = kept.get(at) ?? never;
      same([keptState, keptCount], wanted, `what is kept of ${at}`);
    }
  }

  /** The oldest of what was taken is durable now. Returns it. */
  keep(): DeliveryChanges | null {
    const changes = this.#waiting.shift();
    if (changes === undefined) return null;
    for (const { first, last, state, deliveryCount } of changes.batches)
      for (const at of range(first, last)) {
        const before = this.#kept.get(at) ?? never;
        assert(rank(states[state]) >= rank(before.state), "what is kept never goes back");
        assert(state !== 0 || deliveryCount >= before.count, "deliveries are not forgotten");
        this.#kept.set(at, { ...never, state: states[state], count: deliveryCount });
        if (state === 2 || state === 4) this.#concluded.add(at);
      }
    assert(changes.startOffset >= this.#keptStart, "the start never goes back");
    for (const at of range(this.#keptStart, changes.startOffset - 1)) this.#concluded.add(at);
    this.#keptStart = changes.startOffset;
    return changes;
  }

  /** The process is gone, and what was not durable with it. Returns what is read at the start. */
  crash(): { readonly startOffset: number; readonly batches: readonly (readonly [number, Known])[] } {
    this.#waiting = [];
    for (const at of this.#kept.keys()) if (at < this.#keptStart) this.#kept.delete(at);
    this.#known = new Map(this.#kept);
    this.#died = new Set([...this.#kept].flatMap(([at, { state }]) => (state === "archiving" ? [at] : [])));
    this.#start = this.#keptStart;
    this.#end = Math.max(this.#start, ...[...this.#kept.keys()].map((at) => at + 1));
    return { startOffset: this.#start, batches: [...this.#kept].sort(([a], [b]) => a - b) };
  }

  // ── What must be ──

  judge(table: DeliveryTable): void {
    while (this.#start < this.#end && rank(this.at(this.#start).state) >= rank("acknowledged")) this.#start++;
    same(table.startOffset, this.#start, "start");
    same(table.endOffset, this.#end, "end");
    const ranges = table.ranges(this.#start, this.#end);
    const offsets = range(this.#start, this.#end - 1);
    same(
      ranges.flatMap(({ first, last }) => range(first, last)),
      offsets,
      "each is in one state",
    );
    for (const { first, last, state, deliveryCount, lock } of ranges)
      for (const at of range(first, last)) {
        const known = this.at(at);
        same([state, lock?.memberId ?? null], [known.state, known.memberId], `of ${at}`);
        same(deliveryCount, known.count, `deliveries of ${at}`);
      }
    for (const state of Object.keys(table.counts) as RangeState[])
      same(table.counts[state], this.#inState(state).length, state);
    same(table.nextFetchOffset, this.#inState("available")[0] ?? this.#end, "next fetch offset");
    const deadlines = this.#inState("acquired").map((at) => this.at(at).deadlineMs);
    same(table.nextDeadlineMs, Math.min(Infinity, ...deadlines), "deadline");
    assert(table.rangeCount <= 4 * this.settings.recordLocksMax + 2, "memory is bounded");
  }

  #inState(state: RangeState): readonly number[] {
    return range(this.#start, this.#end - 1).filter((at) => this.at(at).state === state);
  }

  #inFlight(): number {
    return (["available", "acquired", "archiving"] as const).reduce(
      (sum, state) => sum + this.#inState(state).length,
      0,
    );
  }

  inFlight(): number {
    return this.#inFlight();
  }
}

/** Inclusive; empty if it ends before it begins. */
export function range(first: number, last: number): number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index);
}

function same(actual: unknown, expected: unknown, sentence: string): void {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  assert(found === wanted, `${sentence}: ${found}, and not ${wanted}`);
}

function isComplete(table: DeliveryTable, at: number): boolean {
  return at < table.startOffset || table.ranges(at, at)[0]?.state === "archived";
}

const inOrder = (a: number, b: number): number => a - b;

function rank(state: RangeState): number {
  return ["available", "acquired", "archiving", "acknowledged", "archived"].indexOf(state);
}
