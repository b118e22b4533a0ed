/**
 * When V8 looks for what nobody uses any more. Buffers lie outside its heap, and by default it answers
 * each ten megabytes of them with a collection of the whole heap: a quarter of the processor's time while
 * batches stream through. So it is told to count them as heap, and after each collection by how much both
 * together may grow until the next. And its nursery, where young objects hold such buffers, stays small:
 * what a broker makes for a request is dead a moment later.
 */
import { constants, type NodeGCPerformanceDetail, PerformanceObserver } from "node:perf_hooks";
import v8 from "node:v8";

/** What may gather until V8 collects. */
const garbageBytesMax = 48 * 1024 * 1024;
/** Buffers are given back for so long after a collection. */
const sweepMs = 50;
/** Both halves of the nursery; V8 would let it grow to 64 MiB. */
const nurseryBytesMax = 8 * 1024 * 1024;

/** Begins to watch, for the life of the process. */
export function watchGarbage(): void {
  let nurseryGrows = true;
  new PerformanceObserver((list) => {
    if (nurseryGrows && nurseryBytes() >= nurseryBytesMax) {
      nurseryGrows = false;
      v8.setFlagsFromString("--semi-space-growth-factor=1");
    }
    if (list.getEntries().some(isWholeHeap)) setTimeout(allowGrowth, sweepMs).unref();
  }).observe({ entryTypes: ["gc"] });
}

/** V8 sets its bound at the end of the next collection; what is in use changes little between two. */
function allowGrowth(): void {
  const { external_memory: external, used_heap_size: heap } = v8.getHeapStatistics();
  const percent = Math.min(400, Math.max(10, Math.round((100 * garbageBytesMax) / (external + heap))));
  v8.setFlagsFromString("--external-memory-accounted-in-global-limit");
  v8.setFlagsFromString(`--heap-growing-percent=${percent}`);
}

const isWholeHeap = (entry: object): boolean =>
  "detail" in entry && (entry.detail as NodeGCPerformanceDetail).kind === constants.NODE_PERFORMANCE_GC_MAJOR;

function nurseryBytes(): number {
  return v8.getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space")?.space_size ?? 0;
}
