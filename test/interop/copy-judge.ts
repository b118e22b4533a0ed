/**
 * Judges a copy that was made in transactions: readers of committed records print every record of the input once,
 * those of a partition in their order, and nothing else; what a copier was told to be committed stays committed.
 * Knows neither time nor processes. The output has the partitions of the input, and the value of a record tells
 * where it is in the input (`GroupJudge.value`).
 */
import { GroupJudge } from "./group-judge.ts";

export interface CopyCounts {
  /** Transactions that copiers say are committed, and records in them. */
  readonly commits: number;
  readonly copied: number;
  /** Transactions that were aborted on purpose, and records in them. */
  readonly aborts: number;
  readonly aborted: number;
  /** Transactions that failed. */
  readonly refused: number;
  /** Committed offsets that the broker was asked for. */
  readonly asked: number;
}

interface Claim {
  readonly member: number;
  readonly partition: number;
  readonly end: number;
}

const violationsMax = 20;

export class CopyJudge {
  readonly #violations: string[] = [];
  readonly #counts = { commits: 0, copied: 0, aborts: 0, aborted: 0, refused: 0, asked: 0 };
  /** Of each partition, so far the group has committed, as members were told some time ago. */
  readonly #due: number[];
  /** The same as the broker said. */
  readonly #known: number[];
  readonly #claims: Claim[] = [];
  #settled = 0;

  constructor(partitionCount: number) {
    this.#due = Array.from({ length: partitionCount }, () => 0);
    this.#known = this.#due.map(() => 0);
  }

  get violations(): readonly string[] {
    return this.#violations;
  }

  get counts(): CopyCounts {
    return { ...this.#counts };
  }

  /** A line of a copier, as copiers.ts describes it. Others are passed over. */
  line(member: number, line: string): void {
    const [verb, ...words] = line.split(" ");
    const [count = Number.NaN, ...claims] = words.map(Number);
    if (verb === "committed") {
      this.#counts.commits += 1;
      this.#counts.copied += count;
      for (let at = 0; at + 1 < claims.length; at += 2) {
        this.#claims.push({ member, partition: claims[at] ?? -1, end: claims[at + 1] ?? -1 });
      }
    } else if (verb === "aborted") {
      this.#counts.aborts += 1;
      this.#counts.aborted += count;
    } else if (verb === "refused") this.#counts.refused += 1;
  }

  /** How many claims were heard so far. */
  mark(): number {
    return this.#settled + this.#claims.length;
  }

  /** From now on the broker must know of all commits that copiers were told of before `mark`. */
  settle(mark = this.mark()): void {
    const due = this.#claims.splice(0, Math.max(0, mark - this.#settled));
    this.#settled += due.length;
    for (const { partition, end } of due) this.#due[partition] = Math.max(this.#due[partition] ?? 0, end);
  }

  /** What the broker tells to be committed; it was asked after `settle`. */
  asked(committed: readonly { readonly partition: number; readonly offset: number }[]): void {
    for (const [partition, due] of this.#due.entries()) {
      const offset = committed.find((each) => each.partition === partition)?.offset ?? 0;
      const known = this.#known[partition] ?? 0;
      const told = `the group has committed ${offset} of partition ${partition}, but`;
      this.#counts.asked += 1;
      if (offset < known) this.accuse(`${told} the broker said ${known} before`);
      else if (offset < due) this.accuse(`${told} a copier was told of ${due} before`);
      this.#known[partition] = Math.max(known, offset);
    }
  }

  accuse(violation: string): void {
    if (this.#violations.length >= violationsMax || this.#violations.includes(violation)) return;
    this.#violations.push(violation);
  }
}

/** What one reader of committed records has printed of the output. */
export class CopyRead {
  readonly #judge: CopyJudge;
  readonly #reader: string;
  /** Of each partition, the record of the input that is due. */
  readonly #due: number[];
  readonly #offsets: number[];
  #count = 0;

  constructor(judge: CopyJudge, reader: string, partitionCount: number) {
    this.#judge = judge;
    this.#reader = reader;
    this.#due = Array.from({ length: partitionCount }, () => 0);
    this.#offsets = this.#due.map(() => -1);
  }

  /** Records that were read. */
  get count(): number {
    return this.#count;
  }

  /** "record PARTITION OFFSET VALUE"; others are passed over. */
  line(line: string): void {
    const [verb, first, second, value = ""] = line.split(" ");
    if (verb !== "record") return;
    const partition = Number(first);
    const offset = Number(second);
    const where = `${this.#reader} read "${value}" at ${offset} of partition ${partition}`;
    this.#count += 1;
    if (offset <= (this.#offsets[partition] ?? Number.NaN)) {
      this.#judge.accuse(`${where}, behind ${this.#offsets[partition]}`);
    }
    this.#offsets[partition] = offset;
    const due = this.#due[partition] ?? -1;
    if (value !== GroupJudge.value(partition, due)) this.#judge.accuse(`${where}, where ${due} was due`);
    const place = Number(value.split("-")[1]);
    this.#due[partition] = Math.max(due, Number.isSafeInteger(place) ? place + 1 : due);
  }

  /** At the end of reading: everything below `ends` was there. */
  finish(ends: readonly number[]): void {
    for (const [partition, end] of ends.entries()) {
      const due = this.#due[partition] ?? 0;
      if (due === end) continue;
      this.#judge.accuse(`${this.#reader} read partition ${partition} up to ${due} of ${end}`);
    }
  }
}
