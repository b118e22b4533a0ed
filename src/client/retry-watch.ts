/**
 * Counts what fails and is tried again, so that trying for ever is never silent: the pause before the
 * next attempt, and a notice when something has not succeeded for long.
 */
import type { RetryNotice } from "./consumer-options.ts";
import { backoffAfter, type ClientSettings } from "./settings.ts";

interface Trouble {
  readonly sinceMs: number;
  attempts: number;
  noticedMs: number;
}

export class RetryWatch {
  readonly #settings: ClientSettings;
  readonly #noticeMs: number;
  readonly #onRetry: (notice: RetryNotice) => void;
  /** By operation and partition; what succeeds is forgotten. */
  readonly #troubles = new Map<string, Trouble>();

  constructor(settings: ClientSettings, noticeMs: number, onRetry: (notice: RetryNotice) => void) {
    this.#settings = settings;
    this.#noticeMs = noticeMs;
    this.#onRetry = onRetry;
  }

  /** Returns how long to wait before the next attempt, in ms. */
  failed(
    operation: string,
    cause: Error,
    place: { readonly topic?: string; readonly partition?: number } = {},
  ): number {
    const { clock, log } = this.#settings;
    const nowMs = clock.monotonicMs();
    const key = keyOf(operation, place);
    let trouble = this.#troubles.get(key);
    if (trouble === undefined) {
      trouble = { sinceMs: nowMs, attempts: 0, noticedMs: nowMs };
      this.#troubles.set(key, trouble);
    }
    trouble.attempts++;
    if (nowMs - trouble.noticedMs >= this.#noticeMs) {
      trouble.noticedMs = nowMs;
      const failingMs = nowMs - trouble.sinceMs;
      const { attempts } = trouble;
      log.warn("client.consumer.retry", { operation, ...place, failingMs, attempts, cause: cause.message });
      this.#onRetry({ operation, ...place, failingMs, attempts, cause });
    }
    return backoffAfter(trouble.attempts, this.#settings);
  }

  succeeded(operation: string, place: { readonly topic?: string; readonly partition?: number } = {}): void {
    if (this.#troubles.size > 0) this.#troubles.delete(keyOf(operation, place));
  }
}

function keyOf(operation: string, place: { readonly topic?: string; readonly partition?: number }): string {
  return `${operation} ${place.topic ?? ""}/${place.partition ?? ""}`;
}
