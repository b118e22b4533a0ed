import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes } from "../base/bytes.ts";
import { DamageError } from "../base/errors.ts";
import { offset, partitionIndex } from "../base/ids.ts";
import { SimRandom } from "../sim/random.ts";
import { aRef, aSource, MemoryStore, orders, origin } from "../../test/proof/segment-world.ts";
import { planFold } from "./fold.ts";
import { SegmentIndex } from "./segment-index.ts";
import {
  appendSegment,
  decodeList,
  encodeList,
  findSegment,
  type PartitionSegments,
  partitionBytes,
  trimSegments,
} from "./segment-list.ts";
import type { SegmentRef } from "./segment-ref.ts";

const refs = (...bounds: readonly (readonly [number, number])[]) =>
  bounds.map(([base, end]) => aRef(base, end));

test("an offset is found in the segment that holds it, or else in the next higher one with records", () => {
  const some = refs([0, 5], [5, 5], [5, 9], [12, 20], [20, 20]);
  const found = (at: number) => findSegment(some, offset(at));
  assert.deepEqual([0, 4, 5, 8, 9, 11, 12, 19, 20, 99].map(found), [0, 0, 2, 2, 3, 3, 3, 3, -1, -1]);
  assert.equal(findSegment([], offset(0)), -1);
});

test("segments that overlap are never put behind each other", () => {
  assert.throws(() => appendSegment(refs([0, 5]), aRef(4, 6)), /do not overlap/);
  assert.equal(appendSegment(refs([0, 5]), aRef(5, 6)).length, 2);
});

test("trimming drops what lies wholly below the start, and never the newest", () => {
  const some = refs([0, 5], [5, 9], [9, 12]);
  assert.equal(trimSegments(some, offset(4)).dropped.length, 0);
  assert.equal(trimSegments(some, offset(9)).dropped.length, 2);
  assert.deepEqual(trimSegments(some, offset(99)).kept, [some[2]]);
});

test("a list comes back as it was written, and its pointer sums up the lists before it", () => {
  const first = encodeList(origin(1), orders, { previous: null, segments: refs([3, 5], [5, 9]) });
  const list = { previous: first.pointer, segments: refs([9, 10]) };
  const second = encodeList(origin(2), orders, list);
  assert.deepEqual(decodeList(concatBytes(second.chunks), orders, second.pointer), list);
  const { first: begin, end, segmentBytes, segmentCount } = second.pointer;
  assert.deepEqual([begin, end, segmentBytes, segmentCount], [3, 10, 300, 3]);
  assert.equal(partitionBytes({ folded: second.pointer, recent: refs([10, 11]) }), 400);
});

test("a list of another partition, or under another name, is damage", () => {
  const { chunks, pointer } = encodeList(origin(1), orders, { previous: null, segments: refs([0, 5]) });
  const bytes = concatBytes(chunks);
  const other = { ...orders, partition: partitionIndex(9) };
  assert.throws(() => decodeList(bytes, other, pointer), DamageError);
  assert.throws(
    () => decodeList(bytes, orders, { ...pointer, object: "seg/000000000007/000000000002" }),
    DamageError,
  );
});

test("every bit of a list that is flipped and every truncation is named", () => {
  const { chunks, pointer } = encodeList(origin(1), orders, {
    previous: null,
    segments: refs([0, 5], [5, 9]),
  });
  const bytes = concatBytes(chunks);
  for (let bit = 0; bit < bytes.byteLength * 8; bit++) {
    const hit = bytes.slice();
    hit[bit >> 3] = (hit[bit >> 3] as number) ^ (1 << (bit & 7));
    assert.throws(
      () => decodeList(hit, orders, pointer),
      /segment list seg\/\S+ of partition 3 of topic \S+, offsets 0 to 9,/,
    );
  }
  for (let length = 0; length < bytes.byteLength; length++) {
    assert.throws(() => decodeList(bytes.subarray(0, length), orders, pointer), DamageError);
  }
});

test("folding loses no reference at or above the log start, over chains of lists and lists that are damaged", async () => {
  for (let seed = 0; seed < 30; seed++) {
    const random = new SimRandom(seed);
    const store = new MemoryStore();
    const source = aSource([]);
    let state: PartitionSegments & { start: number } = { folded: null, recent: [], start: 0 };
    const all: SegmentRef[] = [];
    let end = 0;
    let unreadableBelow = 0;
    for (let counter = 0; counter < 40; counter++) {
      const index = new SegmentIndex(store, 1 << 20);
      for (let i = random.between(9, 60); i > 0; i--) {
        const ref = aRef(end, end + random.below(4));
        end = ref.end;
        all.push(ref);
        state = { ...state, recent: [...state.recent, ref] };
      }
      if (random.chance(0.2)) state = { ...state, start: random.between(state.start, end) };
      let old = null;
      if (state.folded !== null) {
        if (random.chance(0.05)) {
          await store.delete(state.folded.object);
          unreadableBelow = state.folded.end;
        } else {
          old = await index.list(orders, state.folded).catch(() => null);
        }
      }
      const next = planFold(state, old, offset(state.start));
      assert.ok(next !== null);
      const { chunks, length, pointer } = encodeList(origin(counter), orders, next);
      await store.putIfAbsent(pointer.object, chunks, length);
      assert.ok(
        pointer.first <= Math.max(state.start, all[0]?.base ?? 0),
        "the list reaches down to the log start",
      );
      state = { ...state, folded: pointer, recent: state.recent.slice(-8) };
      source.folded = state.folded;
      source.recent = state.recent;
      const from = offset(Math.max(state.start, unreadableBelow));
      assert.deepEqual(
        await index.from(source, from),
        all.filter((ref) => ref.end > from),
        `seed ${seed}, fold ${counter}`,
      );
      for (let i = 0; i < 10; i++) {
        const at = offset(random.between(from, end));
        assert.deepEqual(await index.locate(source, at), all[findSegment(all, at)] ?? null);
      }
      if (unreadableBelow > state.start) {
        await assert.rejects(index.locate(source, offset(unreadableBelow - 1)), DamageError);
      }
    }
  }
});
