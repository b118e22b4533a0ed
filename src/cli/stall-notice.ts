/** Says on standard error that nothing is acknowledged any more, while `produce` goes on trying: silence would look like success. */
import type { Delivery } from "./delivery.ts";
import { formatCount } from "./table.ts";
import type { Terminal } from "./terminal.ts";

export const stallMs = 5_000;

export class StallNotice {
  readonly #timer: NodeJS.Timeout;

  constructor(terminal: Terminal, delivery: Delivery, everyMs: number = stallMs) {
    let settled = 0;
    let wasUnderWay = false;
    this.#timer = setInterval(() => {
      const nowSettled = delivery.given - delivery.underWay;
      if (wasUnderWay && delivery.underWay > 0 && nowSettled === settled) {
        const records =
          delivery.underWay === 1 ? "1 record is" : `${formatCount(delivery.underWay)} records are`;
        void terminal.stderr.write(
          `Nothing was acknowledged in the last ${everyMs / 1000} s; ${records} under way, and tried again until --timeout.\n`,
        );
      }
      settled = nowSettled;
      wasUnderWay = delivery.underWay > 0;
    }, everyMs);
    // It never keeps the process alive.
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
