/**
 * Every bit of a pack flipped, one after the other, and every truncation: whatever is hit is named, by
 * topic, partition, offsets and object where records are concerned; nothing wrong is ever handed out;
 * and every block that was not hit is read byte for byte, in the same section and in its neighbours.
 */
import { equalBytes, concatBytes } from "../../src/base/bytes.ts";
import { offset, type Offset, partitionIndex, type PartitionIndex } from "../../src/base/ids.ts";
import type { SegmentBatch } from "../../src/log/flush-source.ts";
import { blockPosition, type SegmentFooter, trailerBytes } from "../../src/log/segment-format.ts";
import { inspectObject } from "../../src/log/segment-inspect.ts";
import { SegmentReader } from "../../src/log/segment-reader.ts";
import type { SegmentRef } from "../../src/log/segment-ref.ts";
import { buildObject } from "../../src/log/segment-writer.ts";
import { BatchView } from "../../src/record/batch.ts";
import { SimRandom } from "../../src/sim/random.ts";
import {
  aDraft,
  aSource,
  atOnce,
  drawBatches,
  drawState,
  MemoryStore,
  orders,
  origin,
} from "./segment-world.ts";

export interface FlipCounts {
  readonly objectBytes: number;
  readonly flips: number;
  readonly truncations: number;
  /** Blocks that were named as damaged, and reads that came back byte for byte. */
  readonly blocksNamed: number;
  readonly footersNamed: number;
  readonly blocksRead: number;
}

interface Section {
  readonly partition: PartitionIndex;
  readonly batches: readonly SegmentBatch[];
  readonly truth: ReadonlyMap<Offset, Uint8Array>;
  readonly ref: SegmentRef;
  readonly footer: SegmentFooter;
}

/** `sample`: every so many-th bit and length; 1: all of them. Throws at the first thing that is wrong. */
export async function run(options: { readonly sample: number; readonly seed?: number }): Promise<FlipCounts> {
  const pack = await aPack(new SimRandom(options.seed ?? 1));
  const counts = {
    objectBytes: pack.bytes.byteLength,
    flips: 0,
    truncations: 0,
    blocksNamed: 0,
    footersNamed: 0,
    blocksRead: 0,
  };
  const { bytes, sections, key } = pack;
  if (inspectObject(key, bytes).damage.length > 0) throw new Error("the object was whole");
  // A step that is prime to 8 reaches every bit of a byte.
  for (let bit = 0; bit < bytes.byteLength * 8; bit += options.sample) {
    const at = bit >> 3;
    bytes[at] = (bytes[at] as number) ^ (1 << (bit & 7));
    await check(key, bytes, sections, (start, length) => at >= start && at < start + length, counts);
    bytes[at] = (bytes[at] as number) ^ (1 << (bit & 7));
    counts.flips++;
  }
  for (let length = 0; length < bytes.byteLength; length += options.sample) {
    const cut = bytes.subarray(0, length);
    await check(key, cut, sections, (start, bytesThere) => start + bytesThere > length, counts);
    counts.truncations++;
  }
  return counts;
}

async function aPack(random: SimRandom) {
  const partitions = [0, 1, 2].map((index) => {
    const batches = drawBatches(random, random.below(1000), 40, 900);
    const partition = partitionIndex(index);
    return { partition, batches, draft: aDraft(batches, { partition, state: drawState(random, 50) }) };
  });
  const drafts = partitions.map(({ draft }) => draft);
  const built = await buildObject(origin(9), drafts, atOnce, 3000);
  const bytes = concatBytes(built.chunks);
  const { sections: inspected } = inspectObject(built.key, bytes);
  const sections = partitions.map(({ partition, batches }, i): Section => {
    const ref = built.refs[i] as SegmentRef;
    const truth = new Map(batches.map(({ baseOffset, payload }) => [baseOffset, payload]));
    return { partition, batches, truth, ref, footer: inspected[i]?.footer as SegmentFooter };
  });
  return { key: built.key, bytes, sections };
}

type Counts = { -readonly [K in keyof FlipCounts]: FlipCounts[K] };
type IsHit = (start: number, length: number) => boolean;

async function check(
  key: string,
  bytes: Uint8Array,
  sections: readonly Section[],
  isHit: IsHit,
  counts: Counts,
) {
  const store = new MemoryStore();
  store.objects.set(key, bytes);
  const reader = new SegmentReader({ store, blockBytesMax: 1 << 20, indexBytesMax: 1 << 20 });
  for (const section of sections) await checkSection(reader, section, isHit, counts);
  if (inspectObject(key, bytes).damage.length === 0) throw new Error("damage that inspection does not name");
}

async function checkSection(reader: SegmentReader, section: Section, isHit: IsHit, counts: Counts) {
  const { ref, footer, batches, partition } = section;
  const source = aSource([ref], { ...orders, partition });
  const footerAtEnd = ref.sectionStart + ref.sectionBytes - trailerBytes - ref.footerBytes;
  // Its copy stands at the section's beginning; only both together hide the records.
  const isFooterHit = isHit(footerAtEnd, ref.footerBytes) && isHit(ref.sectionStart, ref.footerBytes);
  /** What must be told of each block: its batches, or that it is damaged. */
  const expected: { readonly from: Offset; readonly to: Offset; readonly bytes: Uint8Array | null }[] = [];
  if (isFooterHit) expected.push({ from: ref.base, to: ref.end, bytes: null });
  else {
    for (const [i, block] of footer.blocks.entries()) {
      const to = footer.blocks[i + 1]?.base ?? footer.end;
      const inside = batches.filter(({ baseOffset }) => baseOffset >= block.base && baseOffset < to);
      const hit = isHit(blockPosition(ref, block), block.bytes);
      expected.push({
        from: block.base,
        to,
        bytes: hit ? null : concatBytes(inside.map(({ payload }) => payload)),
      });
    }
  }
  for (const { from, to, bytes } of expected) {
    const answer = await reader.read(source, from, { bytesMax: 1 << 30, limit: to });
    if (bytes === null) {
      if (answer.kind !== "damaged" || answer.from !== from || answer.to !== to) {
        throw new Error(`offsets ${from} to ${to} of partition ${partition} are damaged and not named`);
      }
      const { message } = answer.error;
      for (const fact of [ref.object, orders.topicId, `partition ${partition}`, String(from), String(to)]) {
        if (!message.includes(fact)) throw new Error(`"${message}" does not name ${fact}`);
      }
      if (isFooterHit) counts.footersNamed++;
      else counts.blocksNamed++;
      continue;
    }
    if (answer.kind !== "batches" || !equalBytes(concatBytes(answer.chunks), bytes)) {
      throw new Error(`offsets ${from} to ${to} of partition ${partition} were not hit and are not read`);
    }
    counts.blocksRead++;
  }
  if (counts.flips % 16 !== 0) return;
  // Whatever a reader is given over the whole section, it is the truth.
  for (let next = ref.base; next < ref.end; ) {
    const answer = await reader.read(source, next, { bytesMax: 1 << 30, limit: offset(ref.end) });
    if (answer.kind === "absent") throw new Error("the section has records and says that it has none");
    if (answer.kind === "damaged") {
      next = answer.to;
      continue;
    }
    for (const chunk of answer.chunks) mustBeTrue(chunk, section.truth);
    next = answer.next;
  }
}

function mustBeTrue(chunk: Uint8Array, truth: ReadonlyMap<Offset, Uint8Array>): void {
  for (let at = 0; at < chunk.byteLength; ) {
    const batch = BatchView.at(chunk, at);
    const bytes = truth.get(batch.baseOffset);
    if (bytes === undefined || !equalBytes(bytes, batch.bytes))
      throw new Error("a wrong byte was handed out");
    at += batch.sizeInBytes;
  }
}
