/**
 * Judges what a share group did by what its members print, and by its dead letters: every sound record accepted at
 * least once and with its own value, none given out after its acceptance was answered, none more often than the group
 * allows; of each poison record one dead letter, and of no other. Knows no processes. What a member prints late was
 * given to it earlier: one that runs is late by `slackMs` at most, of one that was stopped nothing counts that it may
 * have held while it was.
 */
import { Fates } from "./share-fates.ts";
import { jobKind, jobValue, noPoison, type Poison } from "./share-jobs.ts";

export interface ShareCounts {
  /** Different records whose acceptance was answered. */
  readonly accepted: number;
  /** Records of which it is not known whether their acceptance arrived: who asked died, or was told nothing. */
  readonly unsure: number;
  readonly deliveries: number;
  /** Deliveries but the first of each record. */
  readonly repeated: number;
  readonly released: number;
  /** Answered rejections, and workers that died of a record. */
  readonly rejected: number;
  readonly died: number;
  readonly refused: number;
  readonly deliveriesMost: number;
  readonly letters: number;
  /** Of records that were given out after their acceptance, but within `slackMs`, the greatest time between, in ms. */
  readonly lateMsMost: number;
}

export interface ShareRules {
  readonly partitionCount: number;
  readonly deliveriesMax: number;
  readonly slackMs: number;
  /** Default: none; then nothing may become a dead letter. */
  readonly poison?: Poison;
}

interface Pause {
  readonly fromMs: number;
  toMs: number;
}

const violationsMax = 20;

export class ShareJudge {
  readonly #rules: ShareRules;
  readonly #poison: Poison;
  readonly #fates: readonly Fates[];
  readonly #pauses = new Map<number, Pause[]>();
  readonly #violations: string[] = [];
  #violationCount = 0;
  readonly #counts = {
    deliveries: 0,
    repeated: 0,
    released: 0,
    rejected: 0,
    died: 0,
    refused: 0,
    letters: 0,
  };
  #most = 0;
  #lateMsMost = 0;

  constructor(rules: ShareRules) {
    this.#rules = rules;
    this.#poison = rules.poison ?? noPoison;
    this.#fates = Array.from({ length: rules.partitionCount }, () => new Fates());
  }

  /** The first of them; how many there are in all is `violationCount`. */
  get violations(): readonly string[] {
    return this.#violations;
  }
  get violationCount(): number {
    return this.#violationCount;
  }

  get counts(): ShareCounts {
    const accepted = sum(this.#fates.map((fates) => fates.accepted));
    const unsure = sum(this.#fates.map((fates) => fates.asked)) - accepted;
    return { accepted, unsure, ...this.#counts, deliveriesMost: this.#most, lateMsMost: this.#lateMsMost };
  }

  /** A member is stopped; it goes on when `resumed` is told. */
  paused(member: number, nowMs: number): void {
    const pauses = this.#pauses.get(member) ?? [];
    this.#pauses.set(member, pauses);
    pauses.push({ fromMs: nowMs, toMs: Infinity });
  }
  resumed(member: number, nowMs: number): void {
    for (const pause of this.#pauses.get(member) ?? []) pause.toMs = Math.min(pause.toMs, nowMs);
  }

  /** A line of a member, as share-members.ts describes it. Others are passed over. */
  line(member: number, line: string): void {
    const [verb, ...words] = line.split(" ");
    if (verb === "got") this.#got(member, words);
    else if (verb === "accepts") this.#of(words[0]).ask(Number(words[1]));
    else if (verb === "accepted") this.#of(words[1]).accept(Number(words[2]), Number(words[0]));
    else if (verb === "released") this.#counts.released += 1;
    else if (verb === "rejected") this.#counts.rejected += 1;
    else if (verb === "dies") this.#counts.died += 1;
    else if (verb === "refused") this.#counts.refused += 1;
  }

  /** What was found in the dead-letter topic. */
  letter(partition: number, offset: number, value: string): void {
    this.#counts.letters += 1;
    this.#of(partition).letter(offset);
    this.#expectValue(partition, offset, value, "dead letter of record");
  }

  /**
   * Sound records of which nobody has asked for acceptance yet; `ends`: how many were written to each partition.
   * With poison of which somebody did this is too few, and `finish` tells of that.
   */
  missing(ends: readonly number[]): number {
    return sum(
      ends.map((end, partition) => this.#soundCount(partition, end) - (this.#fates[partition]?.asked ?? 0)),
    );
  }

  /** Everything is told: what was written must have been accepted, or asked for. */
  finish(ends: readonly number[]): void {
    let missing = 0;
    for (const [partition, fates] of this.#fates.entries()) {
      const end = ends[partition] ?? 0;
      for (let offset = end; offset < fates.end; offset++) {
        this.#violate(`record ${offset} of partition ${partition} was never written`);
      }
      for (let offset = 0; offset < end; offset++) {
        const isSound = jobKind(partition, offset, this.#poison) === "sound";
        if (isSound && !fates.isAsked(offset)) missing += 1;
        if (!isSound && fates.isAsked(offset)) {
          this.#violate(`record ${offset} of partition ${partition} is poison, and was accepted`);
        }
        const letters = fates.lettersOf(offset);
        if (letters !== (isSound ? 0 : 1)) {
          this.#violate(`record ${offset} of partition ${partition} has ${letters} dead letters`);
        }
        this.#judgeLateness(partition, offset, fates.lateness(offset));
      }
    }
    if (missing > 0) this.#violate(`${missing} records were never accepted`);
  }

  #judgeLateness(
    partition: number,
    offset: number,
    { ms, by }: { readonly ms: number; readonly by: number },
  ): void {
    if (ms <= this.#rules.slackMs) {
      this.#lateMsMost = Math.max(this.#lateMsMost, ms);
      return;
    }
    this.#violate(
      `record ${offset} of partition ${partition} was given to member ${by} ${ms} ms after its acceptance was answered`,
    );
  }

  #got(member: number, words: readonly string[]): void {
    const [nowMs = 0, partition = 0, offset = 0, told = 0] = words.map(Number);
    const fates = this.#of(partition);
    this.#counts.deliveries += 1;
    if (fates.give(offset) > 1) this.#counts.repeated += 1;
    this.#most = Math.max(this.#most, told);
    if (told < 1 || told > this.#rules.deliveriesMax) {
      this.#violate(`record ${offset} of partition ${partition} was delivered for the ${told}. time`);
    }
    this.#expectValue(partition, offset, words[4] ?? "", "record");
    if (!this.#mayBeOld(member, nowMs)) fates.got(offset, nowMs, member);
  }

  #expectValue(partition: number, offset: number, value: string, what: string): void {
    if (value === jobValue(partition, offset, this.#poison)) return;
    this.#violate(`${what} ${offset} of partition ${partition} has the value ${value}`);
  }

  /** Whether the member was stopped a moment ago, so that what it prints now was given to it long before. */
  #mayBeOld(member: number, nowMs: number): boolean {
    const pauses = this.#pauses.get(member);
    if (pauses === undefined) return false;
    return pauses.some(({ fromMs, toMs }) => nowMs >= fromMs && nowMs <= toMs + this.#rules.slackMs);
  }

  #soundCount(partition: number, end: number): number {
    const { rejectedEvery, deadlyEvery } = this.#poison;
    if (rejectedEvery === 0 && deadlyEvery === 0) return end;
    let count = 0;
    for (let offset = 0; offset < end; offset++) {
      if (jobKind(partition, offset, this.#poison) === "sound") count += 1;
    }
    return count;
  }

  #of(partition: number | string | undefined): Fates {
    const fates = this.#fates[Number(partition)];
    if (fates === undefined) throw new Error(`A member speaks of partition ${partition}`);
    return fates;
  }

  #violate(violation: string): void {
    this.#violationCount += 1;
    if (this.#violations.length < violationsMax) this.#violations.push(violation);
  }
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0);
