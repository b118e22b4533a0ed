/** Walks over all batches of one segment, for background work: a few blocks at a time, nothing of it kept in a cache. */
import { batchesIn, type BatchView } from "../record/batch.ts";
import type { BlockLoader } from "./block-loader.ts";
import type { SectionIdentity, SegmentFooter } from "./segment-format.ts";
import type { SegmentRef } from "./segment-ref.ts";

/** So many blocks are read together: about 1 MiB. */
const blocksAtOnce = 16;

/**
 * The batches in order. Each is to be used before the next is asked for: its memory is used again. `onBlock`
 * is awaited before each block with its bytes. Throws `DamageError` at the first block that is damaged.
 */
export async function* scanSegment(
  identity: SectionIdentity,
  ref: SegmentRef,
  footer: SegmentFooter,
  loader: BlockLoader,
  onBlock: (bytes: number) => Promise<void>,
): AsyncGenerator<BatchView, void, void> {
  for (let first = 0; first < footer.blocks.length; first += blocksAtOnce) {
    const end = Math.min(footer.blocks.length, first + blocksAtOnce);
    const blocks = await loader.load(identity, ref, footer, first, end);
    try {
      for (const block of blocks) {
        if (block.kind === "damaged") throw block.error;
        await onBlock(block.bytes.byteLength);
        yield* batchesIn(block.bytes);
      }
    } finally {
      for (const block of blocks) if (block.kind === "good") block.loan?.release();
    }
  }
}
