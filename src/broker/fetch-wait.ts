/**
 * A fetch that found less than its `min.bytes` waits here: for enough newly durable bytes in any of its
 * partitions, or for its time to be up. Nothing polls. Woken at most once.
 */
import type { Clock } from "../base/ports.ts";

/** Something that tells when its durable end moves. */
export interface Watchable {
  /** `onAdvance` is told how many bytes became readable, or 0 when something else changed. Returns the end of watching. */
  watch(onAdvance: (bytes: number) => void): () => void;
}

/** Resolves once `bytesWanted` more bytes are readable in `watched` together, or after `waitMs`. */
export function waitForBytes(options: {
  readonly clock: Clock;
  readonly watched: readonly Watchable[];
  readonly bytesWanted: number;
  readonly waitMs: number;
  /** The connection is gone, or the broker stops: nobody wants the answer any more. */
  readonly onCancel?: (cancel: () => void) => void;
}): Promise<void> {
  const { clock, watched, bytesWanted, waitMs } = options;
  return new Promise((resolve) => {
    let missing = bytesWanted;
    const unwatch: (() => void)[] = [];
    const finish = (): void => {
      timer.cancel();
      for (const end of unwatch.splice(0)) end();
      resolve();
    };
    const timer = clock.schedule(waitMs, finish);
    for (const each of watched) {
      unwatch.push(
        each.watch((bytes) => {
          missing -= bytes;
          if (missing <= 0 || bytes === 0) finish();
        }),
      );
    }
    options.onCancel?.(finish);
  });
}
