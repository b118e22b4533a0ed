/** Asks until it is answered: a broker may hear only now of a fault from before, and start again under whoever asks. */
import { type Clock, sleep } from "../base/ports.ts";
import { Disconnected } from "./client.ts";

const retryMs = 1_000;

export async function insist<T>(clock: Clock, ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (cause) {
      if (!(cause instanceof Disconnected)) throw cause;
      await sleep(clock, retryMs);
    }
  }
}
