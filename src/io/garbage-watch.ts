/**
 * When V8 looks for what nobody uses any more. Buffers lie outside its heap, and by default it answers
 * each few megabytes of them with a collection of the whole heap: a third of the processor's time while
 * batches stream through. Told to count them as heap it waits until there are hundreds of megabytes. So it
 * is told the one or the other, by how much has gathered since the last collection. And its nursery, where
 * young objects hold such buffers, stays small: what a broker makes for a request is dead a moment later.
 */
import v8 from "node:v8";

/** What may gather. */
const garbageBytesMax = 64 * 1024 * 1024;
/** A fall by so much between two looks was a collection. */
const collectedBytesMin = 8 * 1024 * 1024;
const lookEveryMs = 40;
/** Both halves of the nursery; V8 would let it grow to 64 MiB. */
const nurseryBytesMax = 8 * 1024 * 1024;

/** Begins to watch, for the life of the process. */
export function watchGarbage(): void {
  let before = 0;
  /** In use after the last collection, or at a time with less. */
  let low = Number.POSITIVE_INFINITY;
  let patient = false;
  let nurseryGrows = true;
  const look = (): void => {
    if (nurseryGrows && nurseryBytes() >= nurseryBytesMax) {
      nurseryGrows = false;
      v8.setFlagsFromString("--semi-space-growth-factor=1");
    }
    const now = v8.getHeapStatistics().external_memory;
    if (now < low || now < before - collectedBytesMin) low = now;
    before = now;
    const bePatient = now - low < garbageBytesMax;
    if (bePatient === patient) return;
    patient = bePatient;
    v8.setFlagsFromString(`--${patient ? "" : "no-"}external-memory-accounted-in-global-limit`);
  };
  look();
  setInterval(look, lookEveryMs).unref();
}

function nurseryBytes(): number {
  return v8.getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space")?.space_size ?? 0;
}
