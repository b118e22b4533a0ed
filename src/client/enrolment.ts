/**
 * Under what the batches of a transaction go: the producer's identity, and which partitions are part of the
 * transaction. Before KIP-890 a partition is added by a request of its own before the first batch goes there;
 * since then the broker that is written to sees to that.
 */
import { Produce } from "../protocol/messages/produce.ts";
import type { Identity, Lane } from "./lane.ts";
import type { OnStanding, Standing } from "./registration.ts";
import type { Terms } from "./transaction-coordinator.ts";

/** The first version whose sender leaves the adding to the broker. */
const implicitAddVersion = 12;

export class Enrolment implements Standing {
  readonly #onAnswer: OnStanding;
  readonly #add: (terms: Terms, lanes: readonly Lane[]) => Promise<void>;
  readonly #onFailed: (cause: Error) => void;
  #terms: Terms | null = null;
  #added = new Set<Lane>();
  #wanted = new Set<Lane>();
  #isAsking = false;
  /** Something may have been written, or added, since `begin`. */
  isTouched = false;

  /** `onFailed`: the transaction cannot be committed. */
  constructor(
    onAnswer: OnStanding,
    access: {
      readonly add: (terms: Terms, lanes: readonly Lane[]) => Promise<void>;
      readonly onFailed: (cause: Error) => void;
    },
  ) {
    this.#onAnswer = onAnswer;
    this.#add = access.add;
    this.#onFailed = access.onFailed;
  }

  /** Another transaction begins. */
  begin(terms: Terms): void {
    this.#terms = terms;
    this.#added = new Set();
    this.#wanted = new Set();
    this.#isAsking = false;
    this.isTouched = false;
  }

  get identity(): Identity | null {
    return this.#terms?.identity ?? null;
  }

  get produceVersionMax(): number {
    return this.#terms?.version === 2 ? Produce.versions[1] : implicitAddVersion - 1;
  }

  admits(lane: Lane): boolean {
    if (this.#terms?.version === 2 || this.#added.has(lane)) {
      this.isTouched = true;
      return true;
    }
    this.#wanted.add(lane);
    return false;
  }

  request(): void {
    const terms = this.#terms;
    if (terms === null || this.#isAsking || this.#wanted.size === 0) return;
    this.#isAsking = true;
    // When this turn's work is done, so that what it wants goes together.
    queueMicrotask(() => {
      if (this.#terms === terms) void this.#ask(terms);
    });
  }

  /** The transaction is aborted when its sequence is broken; nothing goes on under the same epoch. */
  giveUp(): void {}

  async #ask(terms: Terms): Promise<void> {
    const lanes = [...this.#wanted];
    this.#wanted.clear();
    this.isTouched = true;
    let failure: Error | null = null;
    try {
      await this.#add(terms, lanes);
    } catch (cause) {
      failure = cause as Error;
    }
    // The transaction that asked is over.
    if (this.#terms !== terms) return;
    this.#isAsking = false;
    if (failure !== null) return this.#onFailed(failure);
    for (const lane of lanes) this.#added.add(lane);
    this.#onAnswer(null);
  }
}
