/**
 * What a check found: of each kind every case is counted and the first few are kept, each as one sentence
 * with the partition, offsets, values and operations that it names. "bug": a correct log cannot do that.
 * "allowed": it can, and whoever compares systems wants to know how often.
 */
import type { History } from "./history.ts";
import { NONE } from "./words.ts";

/** The names of the first three groups are those of Jepsen's Kafka tests, so that results can be compared. */
export type AnomalyKind =
  // What the log holds, and who read it
  | "inconsistent-offsets"
  | "duplicate"
  | "lost-write"
  | "unseen"
  | "G1a"
  | "precommitted-read"
  // In which order
  | "int-poll-skip"
  | "int-nonmonotonic-poll"
  | "poll-skip"
  | "nonmonotonic-poll"
  | "int-send-skip"
  | "int-nonmonotonic-send"
  | "nonmonotonic-send"
  // Cycles
  | "G0"
  | "G0-process"
  | "G0-realtime"
  | "G1c"
  | "G1c-process"
  | "G1c-realtime"
  // What is asked beyond those
  | "torn-transaction"
  | "zombie-write"
  | "hanging-transaction"
  | "wrong-place"
  | "altered"
  | "phantom"
  | "lost-prefix"
  | "lost-middle"
  | "lost-suffix"
  | "divergence"
  | "header-truth"
  | "wrong-lookup"
  | "realtime-nonmonotonic-send"
  | "watermark-went-back"
  | "log-start-moved"
  | "watermark-order"
  | "committed-offset-went-back"
  | "commit-went-back"
  | "commit-ahead"
  | "stale-commit"
  | "two-owners"
  | "aborted-commit"
  | "phantom-commit"
  | "handled-twice"
  | "unprocessed";

export type Verdict = "bug" | "allowed";

export interface Finding {
  readonly kind: AnomalyKind;
  readonly verdict: Verdict;
  /** What is wrong and where, for a person. */
  readonly sentence: string;
  /** As `topic/index`; null where it is about several. */
  readonly partition: string | null;
  readonly offsets: readonly number[];
  readonly values: readonly string[];
  /** What was done, by whom and when. */
  readonly operations: readonly string[];
}

export interface FindingsOfKind {
  readonly kind: AnomalyKind;
  readonly verdict: Verdict;
  /** All of them, kept or not. */
  readonly count: number;
  /** The first, at most `examplesMax`. */
  readonly examples: readonly Finding[];
}

export const examplesMax = 32;
/** Of what one sentence lists, how much is spelled out. */
export const listedMax = 8;
const valueLengthMax = 48;

/** What a check tells of one case, in the numbers of the history. */
export interface Case {
  readonly sentence: string;
  readonly partition?: number;
  readonly offsets?: readonly number[];
  readonly values?: readonly number[];
  readonly operations?: readonly number[];
}

export class Findings {
  readonly #history: History;
  readonly #kinds = new Map<
    string,
    { kind: AnomalyKind; verdict: Verdict; count: number; examples: Finding[] }
  >();
  /** How many times the innermost loops went round: what checking cost, without a clock. */
  work = 0;

  constructor(history: History) {
    this.#history = history;
  }

  /** `tell` is called only while examples are kept. */
  add(kind: AnomalyKind, verdict: Verdict, tell: () => Case, count = 1): void {
    const name = `${kind} ${verdict}`;
    let known = this.#kinds.get(name);
    if (known === undefined) this.#kinds.set(name, (known = { kind, verdict, count: 0, examples: [] }));
    known.count += count;
    if (known.examples.length >= examplesMax) return;
    const { sentence, partition, offsets = [], values = [], operations = [] } = tell();
    known.examples.push({
      kind,
      verdict,
      sentence: sentence.replace(
        /^(operation|group) /,
        (word) => word.charAt(0).toUpperCase() + word.slice(1),
      ),
      partition: partition === undefined ? null : this.#history.partitions.at(partition),
      offsets,
      values: values.map((value) => this.#history.values.at(value)),
      operations: operations.map((operation) => this.operation(operation)),
    });
  }

  all(): readonly FindingsOfKind[] {
    return [...this.#kinds.values()];
  }

  // ── Words for sentences ──

  value(number: number): string {
    const name = this.#history.values.at(number);
    return `"${name.length > valueLengthMax ? `${name.slice(0, valueLengthMax)}…` : name}"`;
  }

  values(numbers: readonly number[], count = numbers.length): string {
    const listed = numbers.slice(0, listedMax).map((number) => this.value(number));
    return `${listed.join(", ")}${count > listed.length ? ` and ${count - listed.length} more` : ""}`;
  }

  partition(number: number): string {
    return this.#history.partitions.at(number);
  }

  /** "orders/0 at 17", or "orders/0" where the offset is not known. */
  place(partition: number, offset: number): string {
    return offset === NONE ? this.partition(partition) : `${this.partition(partition)} at ${offset}`;
  }

  client(operation: number): string {
    return this.#history.clients.at(this.#history.operations.client.at(operation));
  }

  /** In a sentence: who did it and which it was. */
  by(operation: number): string {
    return `operation ${operation} of ${this.client(operation)}`;
  }

  /** Beside a sentence: the whole of it. */
  operation(number: number): string {
    const { operations } = this.#history;
    const begun = operations.beginMs.at(number);
    const ended = operations.endMs.at(number);
    const when =
      operations.endEvent.at(number) === NONE ? `${begun} ms, never ended` : `${begun} to ${ended} ms`;
    return `${number}: ${operations.kind[number]} by ${this.client(number)}, ${operations.outcome[number]}, ${when}`;
  }
}
