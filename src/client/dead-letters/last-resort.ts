/**
 * What a member of a consumer group does with records whose handler throws: tries again a few times, then writes them to a
 * dead-letter topic, and only then counts them as finished. It promises that a record is either handled, or durable
 * in the dead-letter topic, before any offset behind it is committed. After a crash in between, a letter may be there twice.
 */
import type { Cluster } from "../cluster.ts";
import { OptionError } from "../errors.ts";
import type { Handle, HandlerContext } from "../group/handlers.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import { Producer } from "../producer.ts";
import { Reject } from "../share/errors.ts";
import { orLogged } from "../share/options.ts";
import { deadLetterFor } from "./letter.ts";

export interface DeadLetterOptions {
  /** It must be there. */
  readonly topic: string;
  /** How often a handler that threw is called again; default 3. One that throws `Reject` is not. */
  readonly retries?: number | undefined;
  /** Before each of these calls, in ms, or for the first, the second, …; default 1,000. What comes in order waits meanwhile. */
  readonly delayMs?: number | ((attempt: number) => number) | undefined;
  /** Told of each record when it is durable in the dead-letter topic. */
  readonly onDeadLetter?: ((record: IncomingRecord, cause: unknown) => void) | undefined;
}

/** The longest pause between two attempts. */
const delayMsMax = 900_000;

export class LastResort {
  readonly #cluster: Cluster;
  readonly #group: string;
  readonly #topic: string;
  readonly #retries: number;
  readonly #delayMs: number | ((attempt: number) => number);
  readonly #onDeadLetter: (record: IncomingRecord, cause: unknown) => void;
  #producer: Producer | undefined = undefined;
  #isThere: Promise<unknown> | undefined = undefined;

  /** Throws `OptionError`. */
  constructor(cluster: Cluster, group: string, options: DeadLetterOptions) {
    const { topic, retries = 3, delayMs = 1_000, onDeadLetter = () => undefined } = options;
    if (typeof topic !== "string" || topic === "") throw new OptionError("deadLetters names a topic.");
    if (!Number.isSafeInteger(retries) || retries < 0) {
      throw new OptionError(`deadLetters.retries is a whole number from 0 on, not ${String(retries)}.`);
    }
    if (typeof delayMs === "number" && !(delayMs >= 0 && delayMs <= delayMsMax)) {
      throw new OptionError(
        `deadLetters.delayMs is from 0 to ${delayMsMax} (15 minutes), not ${String(delayMs)}.`,
      );
    }
    this.#cluster = cluster;
    this.#group = group;
    this.#topic = topic;
    this.#retries = retries;
    this.#delayMs = delayMs;
    this.#onDeadLetter = onDeadLetter;
  }

  /** The handler with its attempts and its last resort around it. It throws when the letter cannot be written. */
  around(handle: Handle): Handle {
    return async (record, context) => {
      await this.#check(record);
      for (let attempt = 1; ; attempt++) {
        try {
          return await handle(record, context);
        } catch (cause) {
          // Another member handles the record.
          if (context.signal.aborted) throw cause;
          if (cause instanceof Reject || attempt > this.#retries) return this.#bury(record, attempt, cause);
          await this.#pause(attempt, context);
          if (context.signal.aborted) throw cause;
        }
      }
    };
  }

  async close(): Promise<void> {
    await this.#producer?.close();
  }

  /** A topic that is missing is told before the first record needs it. */
  async #check(record: IncomingRecord): Promise<void> {
    if (record.topic === this.#topic) {
      throw new OptionError(
        `Dead letters of topic "${record.topic}" cannot go to the same topic: they would be read again.`,
      );
    }
    this.#isThere ??= this.#cluster.topic(this.#topic);
    await this.#isThere.catch((cause: unknown) => {
      this.#isThere = undefined;
      throw cause;
    });
  }

  async #bury(record: IncomingRecord, deliveryCount: number, cause: unknown): Promise<void> {
    this.#producer ??= new Producer(this.#cluster, {});
    const reason = cause instanceof Error ? cause.message : String(cause);
    const wallMs = this.#cluster.settings.clock.wallMs();
    await this.#producer.send(
      deadLetterFor(this.#topic, record, { group: this.#group, deliveryCount, reason, wallMs }),
    );
    // It is durable: what this throws must not have the record handled again, and a second letter written.
    orLogged(this.#cluster.settings.log, "onDeadLetter", () => this.#onDeadLetter(record, cause));
  }

  #pause(attempt: number, { signal }: HandlerContext): Promise<void> {
    const { log } = this.#cluster.settings;
    const own = this.#delayMs;
    const asked = typeof own === "number" ? own : orLogged(log, "delayMs", () => own(attempt));
    const delayMs = Math.min(delayMsMax, Math.max(0, Number(asked) || 0));
    return new Promise((resolve) => {
      const over = (): void => {
        timer.cancel();
        signal.removeEventListener("abort", over);
        resolve();
      };
      const timer = this.#cluster.settings.clock.schedule(delayMs, over);
      signal.addEventListener("abort", over, { once: true });
    });
  }
}
