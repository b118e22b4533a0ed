/**
 * What requests cost, estimated: by the list prices of S3 Standard in us-east-1 of 2026, for requests alone, not for
 * what is stored or for traffic. Other stores and regions have others; a store of one's own has none.
 */
import type { Clock } from "../../base/ports.ts";
import type { RequestKind } from "./judgement.ts";

/** US dollars for a thousand. */
const dollarsPerThousand: { readonly [K in RequestKind]: number } = {
  put: 0.005,
  list: 0.005,
  lifecycle: 0.005,
  get: 0.0004,
  delete: 0,
};

const minutesKept = 60;
const minuteMs = 60_000;

export class RequestCosts {
  readonly #clock: Clock;
  readonly #dollars = new Float64Array(minutesKept);
  readonly #firstMinute: number;
  #minute: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#firstMinute = this.#minute = this.#now();
  }

  count(kind: RequestKind): void {
    this.#turn();
    const at = this.#minute % minutesKept;
    this.#dollars[at] = (this.#dollars[at] as number) + dollarsPerThousand[kind] / 1000;
  }

  /** At the rate of the last hour, or of the time since the start if that is shorter. */
  dollarsPerHour(): number {
    this.#turn();
    const sum = this.#dollars.reduce((all, each) => all + each, 0);
    const minutes = Math.min(minutesKept, this.#minute - this.#firstMinute + 1);
    return (sum * 60) / minutes;
  }

  #now(): number {
    return Math.floor(this.#clock.monotonicMs() / minuteMs);
  }

  #turn(): void {
    const now = this.#now();
    if (now - this.#minute >= minutesKept) this.#dollars.fill(0);
    else for (let minute = this.#minute + 1; minute <= now; minute++) this.#dollars[minute % minutesKept] = 0;
    this.#minute = now;
  }
}
