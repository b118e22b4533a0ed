/**
 * What was said of messages of one broker and is not answered yet. It promises that each wish is settled once: with the
 * broker's word about it, or as unknown. A broker refuses all that one request says of a partition when one offset
 * of it is refused; then halves are asked for, until those that are wrong stand alone, so that each is told its own answer.
 */
import { offset, partitionIndex } from "../../base/ids.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import type { ShareAcknowledgeRequest } from "../../protocol/messages/share-acknowledge.ts";
import { BrokerRefusedError, ConnectionLostError } from "../errors.ts";
import type { Delivery } from "./delivery.ts";
import type { SharePlace } from "./membership.ts";

/** Kafka's numbers. A gap is an offset that was acquired and has no record. */
export const AcknowledgeType = { gap: 0, accept: 1, release: 2, reject: 3, renew: 4 } as const;
export type AcknowledgeType = (typeof AcknowledgeType)[keyof typeof AcknowledgeType];

/** Wishes of one partition in one request. */
const wishesMax = 1_000;

export interface Wish {
  readonly place: SharePlace;
  readonly first: number;
  /** Inclusive. */
  readonly last: number;
  readonly type: AcknowledgeType;
  /** `undefined`: of a gap, or of what could not be read. */
  readonly delivery: Delivery | undefined;
  /** On the monotonic clock; after it nothing more is tried. */
  readonly giveUpMs: number;
  /** Of the request that carried it, on the monotonic clock, and for how long the lock holds from then on. */
  readonly onDone: (sentMs: number, lockMs: number) => void;
  readonly onFailed: (cause: Error, fate: "not-acknowledged" | "unknown") => void;
  /** A request that carried it may have been carried out. */
  isDoubtful: boolean;
  /** How many wishes a request may have beside it, itself included. */
  together: number;
}

type Topics = ShareAcknowledgeRequest["topics"];

/** Wishes that are on their way. */
export interface Carried {
  /** By partition; those that were settled are taken out. */
  readonly wishes: Map<string, readonly Wish[]>;
  readonly topics: Topics;
  readonly hasRenewals: boolean;
}

export const nothingCarried = (): Carried => ({ wishes: new Map(), topics: [], hasRenewals: false });

export const wishesOf = ({ wishes }: Carried): readonly Wish[] => [...wishes.values()].flat();

export const nameOf = ({ topicId, partition }: Pick<SharePlace, "topicId" | "partition">): string =>
  `${topicId}/${partition}`;

export class Acknowledgements {
  /** By partition. */
  readonly #waiting = new Map<string, Wish[]>();
  #renewals = 0;

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  get hasRenewals(): boolean {
    return this.#renewals > 0;
  }

  /** Whether all are of these partitions. */
  isWithin(names: ReadonlySet<string>): boolean {
    return [...this.#waiting.keys()].every((name) => names.has(name));
  }

  add(wish: Wish): void {
    const name = nameOf(wish.place);
    const waiting = this.#waiting.get(name);
    if (wish.type === AcknowledgeType.renew) this.#renewals++;
    if (waiting === undefined) this.#waiting.set(name, [wish]);
    else waiting.push(wish);
  }

  /** Something else is said of it now: a renewal that has not left is not needed any more, and counts as done. */
  dropRenewal(delivery: Delivery): void {
    const name = nameOf(delivery.place);
    const waiting = this.#waiting.get(name);
    const dropped = waiting?.filter(
      (wish) => wish.delivery === delivery && wish.type === AcknowledgeType.renew,
    );
    if (waiting === undefined || dropped === undefined || dropped.length === 0) return;
    this.#renewals -= dropped.length;
    this.#keep(
      name,
      waiting.filter((wish) => !dropped.includes(wish)),
    );
    for (const wish of dropped) wish.onDone(Number.NEGATIVE_INFINITY, 0);
  }

  take(): Carried {
    const wishes = new Map<string, readonly Wish[]>();
    const topics = new Map<
      string,
      { topicId: SharePlace["topicId"]; partitions: Topics[number]["partitions"][number][] }
    >();
    let hasRenewals = false;
    for (const [name, waiting] of this.#waiting) {
      const taken = these(waiting);
      this.#keep(name, waiting.slice(taken.length));
      wishes.set(name, taken);
      const renewed = taken.filter(({ type }) => type === AcknowledgeType.renew).length;
      this.#renewals -= renewed;
      hasRenewals ||= renewed > 0;
      const { topicId, partition } = (taken[0] as Wish).place;
      const topic = topics.get(topicId) ?? { topicId, partitions: [] };
      topics.set(topicId, topic);
      topic.partitions.push({
        partitionIndex: partitionIndex(partition),
        acknowledgementBatches: batchesOf(taken),
      });
    }
    return { wishes, topics: [...topics.values()], hasRenewals };
  }

  /** The broker's word about one partition of a request. */
  settle(
    carried: Carried,
    name: string,
    answer: { readonly errorCode: number; readonly message: string | null },
    when: { readonly sentMs: number; readonly lockMs: number; readonly nowMs: number },
  ): void {
    const wishes = carried.wishes.get(name) ?? [];
    carried.wishes.delete(name);
    const { errorCode, message } = answer;
    if (errorCode === ErrorCode.NONE) {
      for (const wish of wishes) wish.onDone(when.sentMs, when.lockMs);
      return;
    }
    const cause = new BrokerRefusedError("It", errorCode, message);
    const isOfRecords =
      errorCode === ErrorCode.INVALID_RECORD_STATE || errorCode === ErrorCode.INVALID_REQUEST;
    if (isOfRecords && wishes.length > 1) {
      const together = Math.ceil(wishes.length / 2);
      this.#again(wishes.map((wish) => Object.assign(wish, { together })));
      return;
    }
    // Who does not lead the partition any more may have written it down before that.
    if (!isOfRecords) for (const wish of wishes) wish.isDoubtful = true;
    if (errorFacts(errorCode).retriable && !movedCodes.has(errorCode)) {
      this.again(wishes, cause, when.nowMs);
      return;
    }
    for (const wish of wishes) wish.onFailed(cause, wish.isDoubtful ? "unknown" : "not-acknowledged");
  }

  /** Partitions that the answer does not name: nobody knows. */
  settleRest(carried: Carried, nowMs: number): void {
    const wishes = wishesOf(carried);
    for (const wish of wishes) wish.isDoubtful = true;
    this.again(wishes, new ConnectionLostError("the answer did not name it", { sent: true }), nowMs);
  }

  /** They are tried again, unless it is too late. */
  again(wishes: readonly Wish[], cause: Error, nowMs: number): void {
    const late = wishes.filter((wish) => wish.giveUpMs <= nowMs);
    this.#again(wishes.filter((wish) => wish.giveUpMs > nowMs));
    for (const wish of late) wish.onFailed(cause, wish.isDoubtful ? "unknown" : "not-acknowledged");
  }

  /** What waits for a broker that cannot be asked fails when its time is over. */
  expire(cause: Error, nowMs: number): void {
    for (const [name, waiting] of this.#waiting) {
      const late = waiting.filter(({ giveUpMs }) => giveUpMs <= nowMs);
      if (late.length === 0) continue;
      this.#renewals -= late.filter(({ type }) => type === AcknowledgeType.renew).length;
      this.#keep(
        name,
        waiting.filter(({ giveUpMs }) => giveUpMs > nowMs),
      );
      for (const wish of late) wish.onFailed(cause, wish.isDoubtful ? "unknown" : "not-acknowledged");
    }
  }

  /** All that waits fails. */
  giveUp(cause: Error): void {
    for (const [name, waiting] of this.#waiting) {
      this.#waiting.delete(name);
      this.#renewals -= waiting.filter(({ type }) => type === AcknowledgeType.renew).length;
      for (const wish of waiting) wish.onFailed(cause, wish.isDoubtful ? "unknown" : "not-acknowledged");
    }
  }

  /** Before those that wait, so that what is said of one record keeps its order. */
  #again(wishes: readonly Wish[]): void {
    const byName = new Map<string, Wish[]>();
    for (const wish of wishes) {
      const name = nameOf(wish.place);
      byName.set(name, [...(byName.get(name) ?? []), wish]);
      if (wish.type === AcknowledgeType.renew) this.#renewals++;
    }
    for (const [name, back] of byName) this.#waiting.set(name, [...back, ...(this.#waiting.get(name) ?? [])]);
  }

  #keep(name: string, wishes: Wish[]): void {
    if (wishes.length === 0) this.#waiting.delete(name);
    else this.#waiting.set(name, wishes);
  }
}

/** Another broker has the partition now, or nobody has it: the locks that this one gave are gone. */
const movedCodes: ReadonlySet<number> = new Set([
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.UNKNOWN_TOPIC_ID,
]);

/** As many from the front as may go together; no offset twice. */
function these(waiting: readonly Wish[]): readonly Wish[] {
  let max = wishesMax;
  const offsets = new Set<number>();
  let count = 0;
  for (const wish of waiting) {
    if (offsets.has(wish.first)) break;
    const together = Math.min(max, wish.together);
    if (count >= together) break;
    max = together;
    offsets.add(wish.first);
    count++;
  }
  return waiting.slice(0, count);
}

function batchesOf(wishes: readonly Wish[]): Topics[number]["partitions"][number]["acknowledgementBatches"] {
  const batches: { first: number; last: number; type: AcknowledgeType }[] = [];
  for (const { first, last, type } of wishes.toSorted((a, b) => a.first - b.first)) {
    const before = batches.at(-1);
    if (before !== undefined && before.last + 1 === first && before.type === type) before.last = last;
    else batches.push({ first, last, type });
  }
  return batches.map(({ first, last, type }) => ({
    firstOffset: offset(first),
    lastOffset: offset(last),
    acknowledgeTypes: [type],
  }));
}
