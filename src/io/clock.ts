/** The `Clock` port over the machine's clocks. */
import type { Clock, Timer } from "../base/ports.ts";

/** Node fires a longer timer at once. */
const timeoutMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  schedule(delayMs: number, run: () => void): Timer {
    let handle: NodeJS.Timeout;
    const arm = (leftMs: number): void => {
      handle =
        leftMs > timeoutMsMax
          ? setTimeout(() => arm(leftMs - timeoutMsMax), timeoutMsMax)
          : setTimeout(run, leftMs);
    };
    arm(Math.max(0, delayMs));
    return { cancel: () => clearTimeout(handle) };
  },
};
