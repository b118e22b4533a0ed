/**
 * Judges what a share group did by what its members print: every record accepted at least once and with its own
 * value, none given out after its acceptance was answered, none more often than the group allows. Knows no
 * processes. What a member prints late was given to it earlier: one that runs is late by `slackMs` at most, of one
 * that was stopped nothing counts that it may have held while it was.
 */
import { GroupJudge } from "./group-judge.ts";

export interface ShareCounts {
  /** Different records whose acceptance was answered. */
  readonly accepted: number;
  /** Records of which it is not known whether their acceptance arrived: who asked died, or was told nothing. */
  readonly unsure: number;
  readonly deliveries: number;
  /** Deliveries but the first of each record. */
  readonly repeated: number;
  readonly released: number;
  readonly refused: number;
  readonly deliveriesMost: number;
}

export interface ShareRules {
  readonly partitionCount: number;
  readonly deliveriesMax: number;
  readonly slackMs: number;
}

interface Fate {
  deliveries: number;
  /** Somebody asked for its acceptance. */
  isAsked: boolean;
  /** When the first acceptance was answered, ms since 1970. */
  acceptedMs: number;
  /** When it was given out last, ms since 1970, and to whom: what counts is judged at the end. */
  gotMs: number;
  gotBy: number;
}

interface Pause {
  readonly member: number;
  readonly fromMs: number;
  toMs: number;
}

const violationsMax = 20;

export class ShareJudge {
  readonly #rules: ShareRules;
  readonly #fates: Map<number, Fate>[];
  readonly #pauses: Pause[] = [];
  readonly #violations: string[] = [];
  #deliveries = 0;
  #repeated = 0;
  #released = 0;
  #refused = 0;
  #most = 0;

  constructor(rules: ShareRules) {
    this.#rules = rules;
    this.#fates = Array.from({ length: rules.partitionCount }, () => new Map());
  }

  get violations(): readonly string[] {
    return this.#violations;
  }

  get counts(): ShareCounts {
    let accepted = 0;
    let unsure = 0;
    for (const { acceptedMs, isAsked } of this.#fates.flatMap((each) => [...each.values()])) {
      if (acceptedMs < Infinity) accepted += 1;
      else if (isAsked) unsure += 1;
    }
    return {
      accepted,
      unsure,
      deliveries: this.#deliveries,
      repeated: this.#repeated,
      released: this.#released,
      refused: this.#refused,
      deliveriesMost: this.#most,
    };
  }

  /** A member is stopped; it goes on when `resumed` is told. */
  paused(member: number, nowMs: number): void {
    this.#pauses.push({ member, fromMs: nowMs, toMs: Infinity });
  }
  resumed(member: number, nowMs: number): void {
    for (const pause of this.#pauses) {
      if (pause.member === member && pause.toMs === Infinity) pause.toMs = nowMs;
    }
  }

  /** A line of a member, as share-members.ts describes it. Others are passed over. */
  line(member: number, line: string): void {
    const [verb, ...words] = line.split(" ");
    if (verb === "got") this.#got(member, words);
    else if (verb === "accepts") this.#fate(words[0], words[1]).isAsked = true;
    else if (verb === "accepted") {
      const fate = this.#fate(words[1], words[2]);
      fate.acceptedMs = Math.min(fate.acceptedMs, Number(words[0]));
    } else if (verb === "released") this.#released += 1;
    else if (verb === "refused") this.#refused += 1;
  }

  /** Records of which nobody has asked for acceptance yet; `ends`: how many were written to each partition. */
  missing(ends: readonly number[]): number {
    let missing = 0;
    for (const [partition, end] of ends.entries()) {
      const fates = this.#fates[partition];
      for (let offset = 0; offset < end; offset++) {
        const fate = fates?.get(offset);
        if (fate === undefined || (!fate.isAsked && fate.acceptedMs === Infinity)) missing += 1;
      }
    }
    return missing;
  }

  /** Everything is told: what was written must have been accepted, or asked for. */
  finish(ends: readonly number[]): void {
    const missing = this.missing(ends);
    if (missing > 0) this.#violate(`${missing} records were never accepted`);
    for (const [partition, fates] of this.#fates.entries()) {
      for (const [offset, { acceptedMs, gotMs, gotBy }] of fates) {
        if (offset >= (ends[partition] ?? 0)) {
          this.#violate(`record ${offset} of partition ${partition} was never written`);
        }
        if (gotMs > acceptedMs + this.#rules.slackMs) {
          this.#violate(
            `record ${offset} of partition ${partition} was given to member ${gotBy} ${gotMs - acceptedMs} ms after its acceptance was answered`,
          );
        }
      }
    }
  }

  #got(member: number, [time, partition, offset, deliveries, value]: readonly string[]): void {
    const fate = this.#fate(partition, offset);
    this.#deliveries += 1;
    fate.deliveries += 1;
    if (fate.deliveries > 1) this.#repeated += 1;
    const told = Number(deliveries);
    this.#most = Math.max(this.#most, told);
    if (told < 1 || told > this.#rules.deliveriesMax) {
      this.#violate(`record ${offset} of partition ${partition} was delivered for the ${deliveries}. time`);
    }
    if (value !== GroupJudge.value(Number(partition), Number(offset))) {
      this.#violate(`record ${offset} of partition ${partition} has the value ${value}`);
    }
    const nowMs = Number(time);
    if (nowMs > fate.gotMs && !this.#mayBeOld(member, nowMs)) {
      fate.gotMs = nowMs;
      fate.gotBy = member;
    }
  }

  /** Whether the member was stopped a moment ago, so that what it prints now was given to it long before. */
  #mayBeOld(member: number, nowMs: number): boolean {
    return this.#pauses.some(
      (pause) =>
        pause.member === member && nowMs >= pause.fromMs && nowMs <= pause.toMs + this.#rules.slackMs,
    );
  }

  #fate(partition: string | undefined, offset: string | undefined): Fate {
    const fates = this.#fates[Number(partition)];
    if (fates === undefined) throw new Error(`A member speaks of partition ${partition}`);
    let fate = fates.get(Number(offset));
    if (fate === undefined) {
      fate = { deliveries: 0, isAsked: false, acceptedMs: Infinity, gotMs: -Infinity, gotBy: -1 };
      fates.set(Number(offset), fate);
    }
    return fate;
  }

  #violate(violation: string): void {
    if (this.#violations.length < violationsMax) this.#violations.push(violation);
  }
}
