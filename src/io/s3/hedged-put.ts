/**
 * A put that is sent once more when it takes long. The bytes are the same, so it does not matter which of the two
 * arrives: that "the name is taken" is told to one may only mean that the other came first. When this settles, nothing
 * of either is sent any more; what was sent whole may still arrive.
 */
import type { Clock, Timer } from "../../base/ports.ts";
import type { OutcomeUnknownError } from "../../store/errors.ts";
import type { BucketError } from "./bucket-error.ts";

export type PutOutcome =
  | { readonly kind: "created" }
  | { readonly kind: "exists" }
  | { readonly kind: "failed"; readonly error: OutcomeUnknownError | BucketError };

export interface HedgedPutOptions {
  readonly clock: Clock;
  /** Null: never hedged. */
  readonly hedgeMs: number | null;
  readonly put: (signal: AbortSignal) => Promise<PutOutcome>;
  /** Asked when the time has come, and again when it said no: what was sent as the bucket went hangs on after its return. */
  readonly mayHedge: () => boolean;
  readonly onHedgeWon: () => void;
}

/** How long one that says "taken" waits for the other, which may say "created". */
const siblingMsMax = 1_000;
/** Until one that might not be hedged asks again. */
const hedgeAgainMs = 1_000;

export class HedgedPut {
  readonly #options: HedgedPutOptions;
  readonly #abort = new AbortController();
  #open = 0;
  #best: PutOutcome | null = null;
  #timer: Timer | null = null;
  #settle: (outcome: PutOutcome) => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;
  #isOver = false;

  constructor(options: HedgedPutOptions) {
    this.#options = options;
  }

  outcome(): Promise<PutOutcome> {
    return new Promise((resolve, reject) => {
      this.#settle = resolve;
      this.#fail = reject;
      this.#send(false);
      const { hedgeMs } = this.#options;
      if (hedgeMs !== null) this.#hedgeIn(hedgeMs);
    });
  }

  #hedgeIn(delayMs: number): void {
    const { clock, mayHedge } = this.#options;
    this.#timer = clock.schedule(delayMs, () => {
      if (this.#isOver) return;
      if (mayHedge()) this.#send(true);
      else this.#hedgeIn(hedgeAgainMs);
    });
  }

  #send(isHedge: boolean): void {
    this.#open++;
    this.#options.put(this.#abort.signal).then(
      (outcome) => this.#settled(outcome, isHedge),
      (error: unknown) => {
        // Our own mistake.
        this.#end();
        this.#fail(error);
      },
    );
  }

  #settled(outcome: PutOutcome, isHedge: boolean): void {
    if (this.#isOver) return;
    this.#open--;
    if (this.#best === null || rank(outcome) > rank(this.#best)) this.#best = outcome;
    const best = this.#best;
    if (isHedge && outcome.kind === "created") this.#options.onHedgeWon();
    if (best.kind === "created" || this.#open === 0) return this.#finish(best);
    this.#timer?.cancel();
    if (best.kind === "exists") {
      this.#timer = this.#options.clock.schedule(siblingMsMax, () => this.#finish(best));
    }
  }

  #finish(outcome: PutOutcome): void {
    if (this.#isOver) return;
    this.#end();
    this.#settle(outcome);
  }

  #end(): void {
    this.#isOver = true;
    this.#timer?.cancel();
    // The chunks belong to the caller again: nothing reads them after this.
    this.#abort.abort();
  }
}

/** "Created" is certain, "taken" is true, "unknown" is asked again, and only then does a refusal count. */
function rank(outcome: PutOutcome): number {
  if (outcome.kind === "created") return 3;
  if (outcome.kind === "exists") return 2;
  return outcome.error.retriable ? 1 : 0;
}
