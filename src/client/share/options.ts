/** What a worker of a share group can be told, with defaults and bounds; what is wrong about it is said before a byte is sent. */
import type { Logger } from "../../base/ports.ts";
import type { RetryNotice } from "../consumer-options.ts";
import { OptionError } from "../errors.ts";
import { atLeast } from "../settings.ts";
import type { AcknowledgeError } from "./errors.ts";

export interface ShareConsumerOptions {
  readonly group: string;
  /** One topic, or several. */
  readonly topic: string | readonly string[];
  readonly rack?: string | undefined;
  /**
   * The most messages that are held in this process before anybody handles them. How many really are follows the pace of
   * the handlers: slow ones get a message only when one of them is free. Default 500.
   */
  readonly prefetchMax?: number | undefined;
  /** Bytes of one answer; a message that is larger comes all the same. Default 4 MiB. */
  readonly fetchBytesMax?: number | undefined;
  /** How long a broker may hold back an answer when there is nothing new; default 500. */
  readonly maxWaitMs?: number | undefined;
  /** How long what is said of a message is tried before its promise rejects; default 30,000. */
  readonly acknowledgeTimeoutMs?: number | undefined;
  /** How long handlers may take to finish when the worker is closed; then their messages are released. Default 30,000. */
  readonly closeTimeoutMs?: number | undefined;
  /** Messages that wait here for the end of a `delayMs`; beyond it one is released at once. Default 1,000. */
  readonly delayedMax?: number | undefined;
  /** Told of each acknowledgement that did not count, or may not have, whose promise nobody waits for. */
  readonly onAcknowledgeFailed?: ((failure: AcknowledgeError) => void) | undefined;
  /** Told once when something has failed for `retryNoticeMs`, and every `retryNoticeMs` from then on. */
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
  /** Default 5,000. */
  readonly retryNoticeMs?: number | undefined;
}

export interface ShareSettings {
  readonly group: string;
  readonly topics: readonly string[];
  readonly rack: string | null;
  readonly prefetchMax: number;
  readonly fetchBytesMax: number;
  readonly maxWaitMs: number;
  readonly acknowledgeTimeoutMs: number;
  readonly closeTimeoutMs: number;
  readonly delayedMax: number;
  readonly onAcknowledgeFailed: ((failure: AcknowledgeError) => void) | undefined;
  readonly onRetry: (notice: RetryNotice) => void;
  readonly retryNoticeMs: number;
}

/** The longest `delayMs` of a release. The message stays locked by this worker meanwhile, which is no place for hours. */
export const delayMsMax = 900_000;

/** Throws `OptionError`. */
export function shareSettingsOf(options: ShareConsumerOptions): ShareSettings {
  const { group, topic } = options;
  if (typeof group !== "string" || group === "") throw new OptionError("group is the name of a share group.");
  const topics = [...new Set(typeof topic === "string" ? [topic] : topic)];
  if (topics.length === 0 || topics.some((name) => typeof name !== "string" || name === "")) {
    throw new OptionError(
      "A worker needs the name of a topic, or of several; share groups know no regular expressions.",
    );
  }
  return {
    group,
    topics,
    rack: options.rack ?? null,
    prefetchMax: whole("prefetchMax", options.prefetchMax ?? 500, 0),
    fetchBytesMax: whole("fetchBytesMax", options.fetchBytesMax ?? 4 << 20, 1024),
    maxWaitMs: whole("maxWaitMs", options.maxWaitMs ?? 500, 0),
    acknowledgeTimeoutMs: whole("acknowledgeTimeoutMs", options.acknowledgeTimeoutMs ?? 30_000, 1),
    closeTimeoutMs: whole("closeTimeoutMs", options.closeTimeoutMs ?? 30_000, 0),
    delayedMax: whole("delayedMax", options.delayedMax ?? 1_000, 0),
    onAcknowledgeFailed: options.onAcknowledgeFailed,
    onRetry: options.onRetry ?? (() => undefined),
    retryNoticeMs: whole("retryNoticeMs", options.retryNoticeMs ?? 5_000, 0),
  };
}

/** A function of the user's that throws must not keep a message from being released, nor end the process. */
export function orLogged<T>(log: Logger, name: string, call: () => T): T | undefined {
  try {
    return call();
  } catch (cause) {
    log.warn("client.share.callback.failed", { name, cause: String(cause) });
    return undefined;
  }
}

function whole(name: string, value: number, min: number): number {
  if (!Number.isInteger(value) || value > 0x7fff_ffff) {
    throw new OptionError(`${name} is a whole number of at least ${min}, not ${String(value)}.`);
  }
  return atLeast(name, value, min);
}
