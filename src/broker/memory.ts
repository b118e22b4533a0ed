/**
 * How the memory that the process may take (`holdfast.memory.bytes`) is shared out. Each part can be set
 * by itself; what is not set is a fixed share. The shares add up to less than the whole, since the
 * runtime, its garbage and the kernel's socket buffers need the rest.
 *
 *   unflushed records 1/4 · newest records for readers 1/8 · blocks of segments 1/16 · requests 1/8 · answers 1/8
 */
import type { BrokerConfig } from "./config.ts";

export interface MemoryShares {
  /** What is not in segments yet; producing waits there. */
  readonly unflushedBytesMax: number;
  /** Newest records kept for readers, unflushed ones included. */
  readonly tailBytes: number;
  readonly cacheBytes: number;
  /** Requests that arrived and are not answered, over all connections. */
  readonly requestBytesMax: number;
  /** Answers that clients have not taken, over all connections; beyond it fetches give one batch at a time. */
  readonly answerBytesMax: number;
}

export function memoryShares(config: BrokerConfig): MemoryShares {
  const whole = config.get("holdfast.memory.bytes");
  const part = (set: number, share: number): number => (set < 0 ? Math.floor(whole / share) : set);
  return {
    unflushedBytesMax: part(config.get("holdfast.unflushed.bytes.max"), 4),
    tailBytes: part(config.get("holdfast.tail.bytes"), 8),
    cacheBytes: part(config.get("holdfast.cache.bytes"), 16),
    requestBytesMax: part(config.get("queued.max.request.bytes"), 8),
    answerBytesMax: Math.floor(whole / 8),
  };
}
