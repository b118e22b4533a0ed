import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aBatch, aDraft, aSource, atOnce, MemoryStore, origin } from "../../test/proof/segment-world.ts";
import { leaderEpoch, offset, producerEpoch, producerId } from "../base/ids.ts";
import type { AbortedTransaction, FooterState, ProducerSnapshot } from "./segment-format.ts";
import { SegmentReader } from "./segment-reader.ts";
import type { SegmentRef } from "./segment-ref.ts";
import { buildObject } from "./segment-writer.ts";

/** Two offsets each. Open at its end, by producer and first offset; aborted in it, with its marker. */
interface Segment {
  readonly open?: readonly (readonly [producer: number, from: number])[];
  readonly aborted?: readonly (readonly [producer: number, first: number, marker: number])[];
  /** It ends in the middle of what was a segment. */
  readonly isCut?: boolean;
}

function stateOf({ open = [], aborted = [], isCut = false }: Segment): FooterState {
  return {
    recordedMs: 1,
    producers: open.map(
      ([id, from]): ProducerSnapshot => ({
        producerId: producerId(id),
        producerEpoch: producerEpoch(0),
        coordinatorEpoch: -1,
        lastTimestampMs: 1,
        sequenceCount: 1,
        openFrom: offset(from),
        batches: [],
      }),
    ),
    aborted: aborted.map(
      ([id, first, marker]): AbortedTransaction => ({
        producerId: producerId(id),
        firstOffset: offset(first),
        lastOffset: offset(marker),
        lastStableOffset: offset(marker + 1),
      }),
    ),
    leaderEpochs: isCut ? [] : [{ leaderEpoch: leaderEpoch(0), start: offset(0) }],
  };
}

async function aLog(segments: readonly Segment[]) {
  const store = new MemoryStore();
  const refs: SegmentRef[] = [];
  for (const [i, segment] of segments.entries()) {
    const draft = aDraft([aBatch({ base: 2 * i, count: 2 })], { state: stateOf(segment) });
    const built = await buildObject(origin(i), [draft], atOnce);
    await store.putIfAbsent(built.key, built.chunks, built.length);
    refs.push(built.refs[0] as SegmentRef);
  }
  // No footer is kept, so that each one that is read is seen.
  const reader = new SegmentReader({ store, blockBytesMax: 1 << 20, indexBytesMax: 0 });
  const source = aSource(refs);
  const read = (from: number, limit: number) => {
    const bounds = { bytesMax: 1 << 20, limit: offset(limit), isCommitted: true };
    return reader.read(source, offset(from), bounds);
  };
  return {
    store,
    refs,
    source,
    read,
    /** Producer and first offset of what a committed reader of [from, limit) is told. */
    async told(from: number, limit: number) {
      const answer = await read(from, limit);
      assert.ok(answer.kind === "batches");
      return answer.aborted.map(({ producerId: id, firstOffset }) => [id, firstOffset]);
    },
    /** Objects of which a footer was read since the last call. */
    footersRead(): number {
      const gets = store.gets.splice(0);
      const places = refs.map((ref) => [
        ref.object,
        ref.sectionStart + ref.sectionBytes - 16 - ref.footerBytes,
      ]);
      const isFooter = ({ key, start }: { key: string; start: number }) =>
        places.some(([object, at]) => object === key && at === start);
      return new Set(gets.filter(isFooter).map(({ key }) => key)).size;
    },
  };
}

describe("aborted transactions of a range in segments", () => {
  it("are those with a first offset below its end and a marker at or above its begin", async () => {
    const log = await aLog([{ aborted: [[7, 0, 1]] }, { aborted: [[8, 2, 3]] }, { aborted: [[7, 4, 5]] }]);
    assert.deepEqual(await log.told(0, 6), [
      [7, 0],
      [8, 2],
      [7, 4],
    ]);
    assert.deepEqual(await log.told(0, 2), [[7, 0]]);
    assert.deepEqual(await log.told(2, 4), [[8, 2]]);
    assert.deepEqual(await log.told(1, 2), [[7, 0]]);
  });

  it("include those whose marker lies in a later segment", async () => {
    const open = [
      [7, 0],
      [8, 1],
    ] as const;
    const log = await aLog([{ open }, { open }, { aborted: [[7, 0, 4]], open: [[8, 1]] }, {}, {}]);
    assert.deepEqual(await log.told(0, 2), [[7, 0]]);
    assert.deepEqual(await log.told(2, 4), [[7, 0]], "also where it has no record, which does no harm");
    assert.deepEqual(await log.told(6, 8), []);
  });

  it("are looked for no further than they were open, and a long transaction only once", async () => {
    const open = [[7, 0]] as const;
    const log = await aLog([{ open }, ...Array.from({ length: 20 }, () => ({ open })), {}, {}, {}]);
    log.footersRead();
    assert.deepEqual(await log.told(0, 2), []);
    assert.equal(log.footersRead(), 22);
    assert.deepEqual(await log.told(2, 4), []);
    assert.equal(log.footersRead(), 1);
    // Other segments, as after a compaction: what was known of the old ones is forgotten.
    log.source.recent = [...log.source.recent];
    await log.told(2, 4);
    assert.equal(log.footersRead(), 21);
  });

  it("are looked for behind a segment that compaction has cut", async () => {
    const log = await aLog([{ isCut: true }, { isCut: true }, { aborted: [[7, 0, 5]] }]);
    assert.deepEqual(await log.told(0, 2), [[7, 0]]);
  });

  it("are those of the segments that were read, when others have taken their place meanwhile", async () => {
    const log = await aLog([{ open: [[7, 0]] }, { aborted: [[7, 0, 3]] }, {}, {}]);
    const [before, marker, emptied, unmarked] = log.refs as [SegmentRef, SegmentRef, SegmentRef, SegmentRef];
    log.source.recent = [before, marker];
    const get = log.store.get.bind(log.store);
    log.store.get = (...wanted) => {
      // Compaction took the aborted records, and later the marker.
      log.source.recent = [
        { ...emptied, base: before.base, end: before.end },
        { ...unmarked, base: marker.base, end: marker.end },
      ];
      return get(...wanted);
    };
    assert.deepEqual(await log.told(0, 2), [[7, 0]]);
  });

  it("that nobody can tell make the range unreadable for committed readers alone", async () => {
    const log = await aLog([{ open: [[7, 0]] }, {}]);
    const { object, sectionStart, footerBytes, sectionBytes } = log.refs[1] as SegmentRef;
    const bytes = log.store.objects.get(object) as Uint8Array;
    for (const at of [sectionStart, sectionStart + sectionBytes - 16 - footerBytes]) {
      bytes[at] = (bytes[at] as number) ^ 1;
    }
    const answer = await log.read(0, 2);
    assert.ok(answer.kind === "damaged");
    assert.deepEqual([answer.from, answer.to], [0, 2]);
  });
});
