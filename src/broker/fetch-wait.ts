/**
 * A fetch that found less than its `min.bytes` waits here: for enough durable bytes in its partitions
 * together, or for its time to be up. Nothing polls; each wake-up looks at one partition.
 */
import type { Clock } from "../base/ports.ts";

/** One partition as a waiting fetch sees it. */
export interface Awaited {
  /** Bytes that a read could give now. */
  availableBytes(): number;
  /** It was closed: its fetch has an error to hear. */
  isOver(): boolean;
  /** Calls back after each change of what is readable, and when the partition closes. Returns the end of watching. */
  watch(onChange: () => void): () => void;
}

/**
 * Resolves once `bytesMin` bytes are readable in `awaited` together, after `waitMs`, or when `onCancel`
 * calls back. What is readable already counts.
 */
export function waitForBytes(options: {
  readonly clock: Clock;
  readonly awaited: readonly Awaited[];
  readonly bytesMin: number;
  readonly waitMs: number;
  /** Registers the end of interest (the connection is gone, the broker stops); returns how to take it back. */
  readonly onCancel: (cancel: () => void) => () => void;
}): Promise<void> {
  const { clock, awaited, bytesMin, waitMs } = options;
  return new Promise((resolve) => {
    const endings: (() => void)[] = [];
    let finished = false;
    const finish = (): void => {
      if (finished) return;
      finished = true;
      for (const end of endings) end();
      resolve();
    };
    const timer = clock.schedule(waitMs, finish);
    endings.push(() => timer.cancel(), options.onCancel(finish));
    let total = 0;
    for (const each of awaited) {
      let available = each.availableBytes();
      total += available;
      endings.push(
        each.watch(() => {
          const before = available;
          available = each.availableBytes();
          total += available - before;
          if (total >= bytesMin || available < before || each.isOver()) finish();
        }),
      );
    }
    if (total >= bytesMin || awaited.some((each) => each.isOver())) finish();
  });
}
