/**
 * How the memory that the process may take (`holdfast.memory.bytes`) is shared out. A fixed part is left
 * to the runtime, its garbage, and the holes that a busy allocator leaves; of the rest each part can be
 * set by itself, and what is not set is a fixed share. Measured under six kinds of load, the process
 * stayed below the whole with a sixth to spare.
 *
 *   unflushed records 1/4 · newest records for readers 1/8 · blocks of segments 1/16 · requests 1/8 · answers 1/8
 *   keys of a pass of compaction, while it runs, 1/8 · groups 1/4, which takes a hundred thousand of them ·
 *   transactions 1/16 · share states 1/16: then the parts together are three sixteenths more than the whole
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
  /** Keys of one pass of compaction. */
  readonly compactionKeyBytesMax: number;
  /** Groups, their members and committed offsets; what is new is refused there. */
  readonly groupBytesMax: number;
  /** Transactional ids and their transactions; what is new is refused there. */
  readonly transactionBytesMax: number;
  /** States of share-partitions; new ones are refused there. */
  readonly shareStateBytesMax: number;
}

const runtimeBytes = 256 * 1024 * 1024;

export function memoryShares(config: BrokerConfig): MemoryShares {
  const whole = config.get("holdfast.memory.bytes") - runtimeBytes;
  const part = (set: number, share: number): number => (set < 0 ? Math.floor(whole / share) : set);
  return {
    unflushedBytesMax: part(config.get("holdfast.unflushed.bytes.max"), 4),
    tailBytes: part(config.get("holdfast.tail.bytes"), 8),
    cacheBytes: part(config.get("holdfast.cache.bytes"), 16),
    requestBytesMax: part(config.get("queued.max.request.bytes"), 8),
    answerBytesMax: Math.floor(whole / 8),
    compactionKeyBytesMax: Math.floor(whole / 8),
    groupBytesMax: part(config.get("holdfast.groups.bytes.max"), 4),
    transactionBytesMax: part(config.get("holdfast.transactions.bytes.max"), 16),
    shareStateBytesMax: Math.floor(whole / 16),
  };
}
