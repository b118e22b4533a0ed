/**
 * The probe of a store, once more each day: what stands behind an address can change (another version, another
 * setting, a proxy before it), and a store that begins to ignore conditions lets two brokers overwrite each other's
 * records. A verdict that is "wrong" is told once, and then nobody may go on. A store that does not answer is not a
 * verdict: that is asked again an hour later.
 */
import { HoldfastError, RefusedError } from "../base/errors.ts";
import type { Clock, Logger, Random, Timer } from "../base/ports.ts";
import type { ProbeVerdict } from "./probe.ts";

export interface DailyProbeOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Of the store, for people. */
  readonly name: string;
  readonly probe: () => AsyncIterable<ProbeVerdict>;
  /** Once: the store cannot keep records, and the process must end. */
  readonly onUnsound: (cause: RefusedError) => void;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

export class DailyProbe {
  readonly #options: DailyProbeOptions;
  #timer: Timer | null = null;
  #isClosed = false;

  constructor(options: DailyProbeOptions) {
    this.#options = options;
    // Brokers that start together do not probe together.
    this.#plan(dayMs * this.#chance());
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  /** In [0, 1). */
  #chance(): number {
    return this.#options.random.u32() / 0x1_0000_0000;
  }

  #plan(delayMs: number): void {
    if (this.#isClosed) return;
    this.#timer = this.#options.clock.schedule(delayMs, () => void this.#run());
  }

  async #run(): Promise<void> {
    const { log, name, probe, onUnsound } = this.#options;
    try {
      for await (const { status, about, text, facts } of probe()) {
        if (this.#isClosed) return;
        if (status === "wrong") {
          return onUnsound(
            new RefusedError(
              `${name} cannot keep records safely any more; ${about}: ${text} This broker stops, before it acknowledges what could be lost.`,
            ),
          );
        }
        if (facts?.["timedOut"] === true) return this.#again(`${about}: ${text}`);
        if (status === "risk") log.warn("store.probe.risk", { store: name, about, text });
      }
      log.info("store.probe.sound", { store: name });
      this.#plan(dayMs * (0.9 + this.#chance() / 5));
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#again(error.message);
    }
  }

  #again(cause: string): void {
    const { log, name } = this.#options;
    if (!this.#isClosed) log.warn("store.probe.untried", { store: name, cause });
    this.#plan(hourMs);
  }
}
