/**
 * Judges what a group did by what its members print: every record processed at least once and with its own
 * value, no offset committed that was not processed before, no partition with two owners in one generation.
 * Knows neither time nor processes. Lines of different members arrive in no certain order, so what a commit
 * needs is looked at when `settle` is told that all lines before it have arrived.
 */

export interface GroupCounts {
  /** Different records that were processed, and how often one was again. */
  readonly processed: number;
  readonly repeated: number;
  /** Offsets that members say are committed, and commits that were refused to them. */
  readonly commits: number;
  readonly refused: number;
  /** Committed offsets that the broker was asked for. */
  readonly asked: number;
  /** Partitions that a member said it owns in a generation. */
  readonly owned: number;
}

const violationsMax = 20;

interface Claim {
  readonly who: string;
  readonly partition: number;
  readonly offset: number;
}

export class GroupJudge {
  readonly #processed: Uint8Array[];
  /** Of each partition, the first offset that was not processed. */
  readonly #prefix: number[];
  readonly #aheadMax: number;
  readonly #owners = new Map<string, number>();
  readonly #violations: string[] = [];
  #claims: Claim[] = [];
  readonly #counts = { processed: 0, repeated: 0, commits: 0, refused: 0, asked: 0, owned: 0 };

  /** `aheadMax`: so far a commit may be ahead, of a client that commits what it is about to print. */
  constructor(partitionCount: number, aheadMax = 0) {
    this.#processed = Array.from({ length: partitionCount }, () => new Uint8Array(1024));
    this.#prefix = Array.from({ length: partitionCount }, () => 0);
    this.#aheadMax = aheadMax;
  }

  get violations(): readonly string[] {
    return this.#violations;
  }

  get counts(): GroupCounts {
    return { ...this.#counts };
  }

  /** The value that a record must have. */
  static value(partition: number, offset: number): string {
    return `${partition}-${offset}`;
  }

  /** A line of a member, as members.ts describes it. Others are passed over. */
  line(member: number, line: string): void {
    const [verb, ...words] = line.split(" ");
    const [first = "", second = "", value = ""] = words;
    if (verb === "did") this.#did(member, Number(first), Number(second), value);
    else if (verb === "owns") this.#owns(member, first, words.slice(1));
    else if (verb === "refused") this.#counts.refused += 1;
    else if (verb === "committed") {
      this.#counts.commits += 1;
      this.#claims.push({ who: `member ${member}`, partition: Number(first), offset: Number(second) });
    }
  }

  /** What the broker tells to be committed. */
  asked(committed: readonly { readonly partition: number; readonly offset: number }[]): void {
    for (const { partition, offset } of committed) {
      this.#counts.asked += 1;
      this.#claims.push({ who: "the broker", partition, offset });
    }
  }

  /** Where commits stand by now; hand it to `settle` when the lines from before have arrived. */
  mark(): number {
    return this.#claims.length;
  }

  /** Looks at the commits before a mark, which is used up by that. */
  settle(mark: number = this.#claims.length): void {
    for (const { who, partition, offset } of this.#claims.slice(0, mark)) {
      const processed = this.#prefix[partition] ?? 0;
      if (offset <= processed + this.#aheadMax) continue;
      this.#accuse(
        `${who} tells partition ${partition} committed at ${offset}, but ${processed} is not processed`,
      );
    }
    this.#claims = this.#claims.slice(mark);
  }

  /** At the end: everything below `ends` is processed, and nothing else is. */
  finish(ends: readonly number[]): void {
    this.settle();
    for (const [partition, end] of ends.entries()) {
      const processed = this.#prefix[partition] ?? 0;
      if (processed !== end) {
        this.#accuse(`partition ${partition} ends at ${end}, but ${processed} was never processed`);
      }
    }
  }

  #did(member: number, partition: number, offset: number, value: string): void {
    const expected = GroupJudge.value(partition, offset);
    if (value !== expected) {
      this.#accuse(`member ${member} read "${value}" at ${offset} of partition ${partition}`);
    }
    const known = this.#processed[partition];
    if (known === undefined || !Number.isSafeInteger(offset)) {
      this.#accuse(`member ${member} read partition ${partition} at ${offset}`);
      return;
    }
    const processed = withRoom(known, offset);
    this.#processed[partition] = processed;
    if (processed[offset] === 1) this.#counts.repeated += 1;
    else this.#counts.processed += 1;
    processed[offset] = 1;
    let prefix = this.#prefix[partition] ?? 0;
    while (processed[prefix] === 1) prefix += 1;
    this.#prefix[partition] = prefix;
  }

  #owns(member: number, generation: string, partitions: readonly string[]): void {
    // Some clients do not tell their generation, or have none at the moment.
    if (!(Number(generation) >= 0)) return;
    for (const partition of partitions) {
      this.#counts.owned += 1;
      const key = `${generation} ${partition}`;
      const other = this.#owners.get(key);
      this.#owners.set(key, member);
      if (other !== undefined && other !== member) {
        this.#accuse(
          `members ${other} and ${member} both own partition ${partition} in generation ${generation}`,
        );
      }
    }
  }

  #accuse(violation: string): void {
    if (this.#violations.length >= violationsMax || this.#violations.includes(violation)) return;
    this.#violations.push(violation);
  }
}

function withRoom(bytes: Uint8Array, index: number): Uint8Array {
  if (index < bytes.length) return bytes;
  const larger = new Uint8Array(Math.max(bytes.length * 2, index + 1));
  larger.set(bytes);
  return larger;
}
