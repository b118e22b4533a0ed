/**
 * Tells the coordinator that a member is alive, whatever its handlers do, and knows for how long nobody
 * can have taken its place. A member that was asleep for longer than its session hands out nothing until
 * the coordinator has answered (C06): another may have its partitions by then.
 */
import type { Clock, Timer } from "../../base/ports.ts";
import { ErrorCode } from "../../protocol/errors.ts";

export interface HeartAccess {
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly sessionMs: number;
  /** One heartbeat, tried once: the error code of its answer. */
  readonly beat: () => Promise<number>;
  /** The group says something else than "stay": a code of the classic protocol, or why it refuses. */
  readonly onVerdict: (code: number) => void;
  /** The heartbeat failed for good, or failed now and is tried again. */
  readonly onFailure: (cause: Error) => void;
  /** It may be alive again. */
  readonly onBeat: () => void;
}

export class Heart {
  readonly #access: HeartAccess;
  #timer: Timer | null = null;
  /** Changes when it starts or stops: an answer to a beat of before says nothing. */
  #life = 0;
  #confirmedMs = Number.NEGATIVE_INFINITY;

  constructor(access: HeartAccess) {
    this.#access = access;
  }

  /** `sentMs`: when the request left, on the monotonic clock, whose answer made the session. */
  start(sentMs: number): void {
    this.stop();
    this.#confirmedMs = sentMs;
    this.#schedule(this.#life);
  }

  stop(): void {
    this.#life++;
    this.#timer?.cancel();
    this.#timer = null;
  }

  /** Whether the session can not have ended. */
  get isAlive(): boolean {
    return this.#access.clock.monotonicMs() - this.#confirmedMs < this.#access.sessionMs;
  }

  #schedule(life: number): void {
    const { clock, intervalMs } = this.#access;
    this.#timer = clock.schedule(intervalMs, () => void this.#beat(life));
  }

  async #beat(life: number): Promise<void> {
    const { clock, beat, onVerdict, onFailure, onBeat } = this.#access;
    const sentMs = clock.monotonicMs();
    let code: number;
    try {
      code = await beat();
    } catch (cause) {
      if (life !== this.#life) return;
      onFailure(cause as Error);
      if (life === this.#life) this.#schedule(life);
      return;
    }
    if (life !== this.#life) return;
    // A member that is to join again is a member.
    if (code === ErrorCode.NONE || code === ErrorCode.REBALANCE_IN_PROGRESS) {
      this.#confirmedMs = sentMs;
      onBeat();
    }
    this.#schedule(life);
    if (code !== ErrorCode.NONE) onVerdict(code);
  }
}
