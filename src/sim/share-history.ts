/**
 * What the workers of one share group did and saw, and the judgement on it. A record that was accepted or rejected,
 * and whose worker was told so, is never given again to whoever asks later; none is given more often than the limit;
 * while a worker has a record in time, nobody else gets it, and his word about it counts; a word about what one does
 * not hold changes nothing. In the end each record was accepted, or is dead: rejected, or given as often as allowed.
 * A request of which nobody heard an answer may have happened or not.
 */
import type { ErrorCode } from "../protocol/errors.ts";
import { ErrorCode as Code, errorFacts } from "../protocol/errors.ts";

export interface ShareRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly value: string;
}

/** A record as one worker has it. */
export interface Held extends ShareRecord {
  readonly deliveryCount: number;
  /** When the request was sent that gave it, or that renewed its lock: it is locked from then on at least. */
  sinceMs: number;
}

export type Word = "accept" | "release" | "reject" | "renew";

/** With a smaller limit nobody can tell which record ends its workers. */
const isolatingLimitMin = 3;

/** What a broker logs of records that it gives up without a dead letter. */
export interface DroppedRecords {
  readonly topic: string;
  readonly partition: number;
  readonly first: number;
  readonly last: number;
  readonly deliveryCount: number;
  readonly reason: string;
}

/** So many of the newest records are spoken of by those who do not hold them. */
const recent = 20;

interface Fate {
  readonly value: string;
  /** The highest delivery count that a worker was told, and how many fetches had no answer by then. */
  count: number;
  /** Whoever asks after `sinceMs` is given it for this time at least: what ended the deliveries before is durable. */
  least: { readonly count: number; readonly sinceMs: number };
  doubts: number;
  /** Words that were not refused. */
  accepts: number;
  rejects: number;
  /** Since when a worker knows that it is done with; `Infinity`: nobody was told. */
  doneMs: number;
  /** What was certainly decided: a word that came in time, and whose worker heard that it was taken. */
  verdict: "accept" | "reject" | null;
  holder: Holder | null;
}

/** A fact once each of `needs` has heard the answer to a request that it sent later: none of their connections had ended. */
interface Suspicion {
  readonly sentence: string;
  readonly atMs: number;
  readonly needs: Set<ShareVisit>;
}

/** A record in somebody's hands: given at some time from `sentMs` to `heardMs`. */
interface Holder {
  readonly session: ShareVisit;
  readonly sentMs: number;
  readonly heardMs: number;
  /** Locked until then at least. */
  readonly untilMs: number;
}

/** One connection of one worker. */
export class ShareVisit {
  readonly memberId: string;
  suspicions: Suspicion[] = [];
  /** What it held may be others' now. */
  isGone = false;
  constructor(memberId: string) {
    this.memberId = memberId;
  }
}

export interface ShareHistoryOptions {
  readonly group: string;
  readonly deliveryCountLimit: number;
  readonly lockMs: number;
  /** What is in somebody's hands is known to one broker only: another may take its place and give it to another. */
  readonly hasSeveralBrokers: boolean;
  readonly nowMs: () => number;
  readonly violate: (sentence: string) => void;
}

export class ShareHistory {
  readonly #options: ShareHistoryOptions;
  readonly #fates = new Map<string, Fate>();
  /** In the order in which they were seen first. */
  readonly #records: ShareRecord[] = [];
  /** A broker said that it gave them up. */
  readonly #dropped = new Set<string>();
  /** Accepted by one who did not hold them; of what the log has no more that means nothing, and is no error. */
  readonly #thefts = new Set<string>();
  /** Fetches of which nobody heard an answer: what they gave is not known. */
  #doubts = 0;
  readonly counts = {
    given: 0,
    again: 0,
    accepted: 0,
    rejected: 0,
    released: 0,
    renewed: 0,
    refused: 0,
    expired: 0,
    letters: 0,
  };

  constructor(options: ShareHistoryOptions) {
    this.#options = options;
  }

  get group(): string {
    return this.#options.group;
  }

  /** Some record that was given and is perhaps not done with, or null; for those who say what is not theirs to say. */
  someRecord(below: (count: number) => number): ShareRecord | null {
    const { length } = this.#records;
    return this.#records[length - 1 - below(Math.min(recent, length))] ?? null;
  }

  /** A fetch whose connection ended before an answer came. */
  fetchLost(): void {
    this.#doubts++;
  }

  /** What one answer gives of all partitions. */
  given(visit: ShareVisit, records: readonly Held[], sentMs: number): void {
    for (const record of records) this.#given(visit, record, sentMs);
    const { deliveryCountLimit: limit } = this.#options;
    for (const last of limit < isolatingLimitMin
      ? []
      : records.filter((each) => each.deliveryCount === limit))
      if (records.some((each) => each !== last && isBeside(each, last)))
        this.#violate(`${nameOf(last)} was given for the last time, and not alone`);
  }

  #given(visit: ShareVisit, record: Held, sentMs: number): void {
    const { deliveryCountLimit: limit, lockMs, nowMs } = this.#options;
    const { deliveryCount, value } = record;
    const fate = this.#fate(record);
    const name = nameOf(record);
    if (fate.value !== value) this.#violate(`${name} was ${fate.value} and is ${value}`);
    if (deliveryCount < 1 || deliveryCount > limit)
      this.#violate(`${name} was given for the ${deliveryCount}th time, and the limit is ${limit}`);
    if (sentMs > fate.doneMs) this.#violate(`${name} was given again after its acknowledgement was answered`);
    const heardMs = nowMs();
    if (sentMs > fate.least.sinceMs && deliveryCount < fate.least.count)
      this.#violate(
        `${name} was given for the ${deliveryCount}th time after it was known to be given for the ${fate.least.count}th`,
      );
    if (fate.verdict !== null && deliveryCount > fate.count)
      this.#violate(
        `${name} was given for the ${deliveryCount}th time, and was done with the ${fate.count}th`,
      );
    known(fate, deliveryCount, heardMs);
    const { holder } = fate;
    const untilMs = sentMs + lockMs;
    // An answer that was long under way tells of a lock that may have ended before the holder's began.
    const mustMeet =
      !this.#options.hasSeveralBrokers &&
      holder !== null &&
      heardMs < holder.untilMs &&
      holder.heardMs < untilMs;
    if (mustMeet && holder.session === visit) this.#violate(`${name} was given again to the one who has it`);
    else if (mustMeet && !holder.session.isGone) {
      const needs = new Set(sentMs < holder.sentMs ? [holder.session, visit] : [holder.session]);
      const suspicion = { sentence: `${name} was given to two at a time`, atMs: heardMs, needs };
      for (const each of needs) each.suspicions.push(suspicion);
    }
    this.counts.given++;
    if (deliveryCount > 1) this.counts.again++;
    fate.count = Math.max(fate.count, deliveryCount);
    fate.doubts = this.#doubts;
    fate.holder = { session: visit, sentMs, heardMs, untilMs };
  }

  /** The visit heard the answer to a request: so its connection was there when that was sent. */
  heard(visit: ShareVisit, sentMs: number): void {
    visit.suspicions = visit.suspicions.filter(({ sentence, atMs, needs }) => {
      if (atMs >= sentMs) return true;
      needs.delete(visit);
      if (needs.size === 0) this.#violate(sentence);
      return false;
    });
  }

  /** A word of a worker is sent: from now on others may get the records, unless it renews. */
  says(word: Word, records: readonly ShareRecord[]): void {
    for (const record of records) {
      const fate = this.#fate(record);
      if (word !== "renew") fate.holder = null;
      if (word === "accept") fate.accepts++;
      if (word === "reject") fate.rejects++;
    }
  }

  /** About what it holds, all said with one word; it may be late. */
  answered(visit: ShareVisit, word: Word, records: readonly Held[], code: ErrorCode, sentMs: number): void {
    const nowMs = this.#options.nowMs();
    for (const record of records) {
      const fate = this.#fate(record);
      const isInTime = !this.#options.hasSeveralBrokers && nowMs < record.sinceMs + this.#options.lockMs;
      if (code === Code.NONE) {
        if (word === "accept" || word === "reject") {
          fate.doneMs = Math.min(fate.doneMs, nowMs);
          // One that came too late is taken where the record is already done with, and decides nothing.
          if (isInTime) fate.verdict ??= word;
        }
        if (word === "release") known(fate, record.deliveryCount + 1, nowMs);
        if (word === "renew") {
          // Of what is done with already nothing is renewed, and no error told.
          if (isInTime) record.sinceMs = sentMs;
          if (fate.holder?.session === visit)
            fate.holder = { ...fate.holder, untilMs: sentMs + this.#options.lockMs };
        }
        this.counts[counted[word]]++;
        continue;
      }
      this.counts.refused++;
      if (!errorFacts(code).retriable) {
        if (word === "accept") fate.accepts--;
        if (word === "reject") fate.rejects--;
      }
      // Whoever took the partition over was never told what is in flight, which no state keeps.
      const isUnknownThere = this.#options.hasSeveralBrokers && code === Code.INVALID_REQUEST;
      const isOdd = code !== Code.INVALID_RECORD_STATE && !isUnknownThere && !errorFacts(code).retriable;
      if (isOdd || (isInTime && code === Code.INVALID_RECORD_STATE && records.length === 1))
        this.#violate(`${word} of ${nameOf(record)}, in time, was answered with ${errorFacts(code).name}`);
    }
  }

  /** A broker said that it gives these up; it may die before that is durable. */
  dropped({ topic, partition, first, last, deliveryCount, reason }: DroppedRecords): void {
    const isExpired = reason === "expired" && deliveryCount >= this.#options.deliveryCountLimit;
    for (let offset = first; offset <= last; offset++) {
      const name = nameOf({ topic, partition, offset });
      this.#dropped.add(name);
      if (!isExpired && !(reason === "rejected" && (this.#fates.get(name)?.rejects ?? 0) > 0))
        this.#violate(`${name} was dropped after ${deliveryCount} deliveries, as ${reason}`);
    }
  }

  /** Somebody who was never given the record said that he accepts it. */
  answeredThief(record: ShareRecord, code: ErrorCode): void {
    const fate = this.#fate(record);
    if (code === Code.NONE && !this.#mayBeDone(fate)) this.#thefts.add(nameOf(record));
  }

  /** Its worker is gone, or does not want it any more. */
  gone(visit: ShareVisit): void {
    visit.isGone = true;
    visit.suspicions = [];
  }

  // ── The end ──

  /** `final`: what a partition holds in the end, as the group sees it. `letters`: the values of its dead letters. */
  judge(
    topic: string,
    partition: number,
    final: ReadonlyMap<number, string>,
    letters: readonly string[],
  ): void {
    const dead = new Set(letters);
    for (const [offset, value] of final) {
      const name = nameOf({ topic, partition, offset });
      const fate = this.#fates.get(name);
      const isDead = dead.has(value) || this.#dropped.has(name);
      if (fate !== undefined && fate.value !== value)
        this.#violate(`${name} was given as ${fate.value} and is ${value}`);
      if (fate === undefined && !isDead) this.#violate(`${name} was never given to anybody`);
      if (fate !== undefined && fate.accepts === 0 && !isDead)
        this.#violate(
          `${name} is lost: given up to the ${fate.count}th time of ${this.#options.deliveryCountLimit}, and neither accepted nor dead`,
        );
      if (isDead && (fate === undefined || (fate.accepts === 0 && fate.rejects === 0))) this.counts.expired++;
      if (this.#thefts.has(name)) this.#violate(`${name} was accepted by one who does not hold it`);
    }
  }

  /** `letters`: the values of the dead-letter topic of the group. `log`: what of the records is there, and ever was. */
  judgeLetters(
    letters: readonly string[],
    log: { readonly isThere: (value: string) => boolean; readonly wasWritten: (value: string) => boolean },
  ): void {
    const seen = new Map<string, number>();
    for (const value of letters) seen.set(value, (seen.get(value) ?? 0) + 1);
    this.counts.letters += letters.length;
    for (const [name, fate] of this.#fates) {
      const count = seen.get(fate.value) ?? 0;
      seen.delete(fate.value);
      if (count > 1) this.#violate(`${name} has ${count} dead letters`);
      if (count > 0 && fate.verdict === "accept") this.#violate(`${name} was accepted and has a dead letter`);
      if (count > 0 && fate.rejects === 0 && !this.#mayBeExpired(fate))
        this.#violate(`${name} has a dead letter and is not dead`);
      if (count === 0 && fate.verdict === "reject" && log.isThere(fate.value))
        this.#violate(`${name} was rejected and has no letter`);
    }
    for (const value of seen.keys())
      if (!log.wasWritten(value))
        this.#violate(`a dead letter tells of ${value.slice(0, 40)}, which nobody wrote`);
  }

  #mayBeDone(fate: Fate): boolean {
    return fate.accepts > 0 || fate.rejects > 0 || this.#mayBeExpired(fate);
  }

  /** It was given as often as allowed, counting what nobody saw. */
  #mayBeExpired(fate: Fate): boolean {
    return fate.count + this.#doubts - fate.doubts >= this.#options.deliveryCountLimit;
  }

  #fate(record: ShareRecord): Fate {
    const name = nameOf(record);
    const known = this.#fates.get(name);
    if (known !== undefined) return known;
    const fate: Fate = {
      value: record.value,
      count: 0,
      doubts: this.#doubts,
      accepts: 0,
      rejects: 0,
      least: { count: 1, sinceMs: Infinity },
      doneMs: Infinity,
      verdict: null,
      holder: null,
    };
    this.#fates.set(name, fate);
    this.#records.push(record);
    return fate;
  }

  #violate(sentence: string): void {
    this.#options.violate(`${this.#options.group}: ${sentence}`);
  }
}

function known(fate: Fate, count: number, sinceMs: number): void {
  if (fate.least.sinceMs === Infinity || count > fate.least.count) fate.least = { count, sinceMs };
}

const counted = { accept: "accepted", release: "released", reject: "rejected", renew: "renewed" } as const;

const isBeside = (a: ShareRecord, b: ShareRecord): boolean =>
  a.topic === b.topic && a.partition === b.partition;

const nameOf = ({ topic, partition, offset }: Omit<ShareRecord, "value">): string =>
  `${topic}/${partition}/${offset}`;
