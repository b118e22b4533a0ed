import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, equalBytes } from "../base/bytes.ts";
import { DamageError } from "../base/errors.ts";
import { offset, type Offset, partitionIndex, topicId } from "../base/ids.ts";
import { giveBack } from "../base/reused-memory.ts";
import { SimRandom } from "../sim/random.ts";
import {
  aBatch,
  aDraft,
  aSource,
  atOnce,
  drawBatches,
  drawState,
  MemoryStore,
  orders,
  origin,
} from "../../test/proof/segment-world.ts";
import { OutcomeUnknownError } from "../store/errors.ts";
import type { SegmentBatch } from "./flush-source.ts";
import { SegmentReader } from "./segment-reader.ts";
import { buildObject, planObjects, type SectionDraft } from "./segment-writer.ts";

const everything = { bytesMax: 1 << 30, limit: offset(Number.MAX_SAFE_INTEGER) };

function aReader(store: MemoryStore, blockBytesMax = 1 << 20): SegmentReader {
  return new SegmentReader({ store, blockBytesMax, indexBytesMax: 1 << 20 });
}

async function stored(store: MemoryStore, drafts: readonly SectionDraft[], counter = 0) {
  const built = await buildObject(origin(counter), drafts, atOnce);
  assert.equal(await store.putIfAbsent(built.key, built.chunks, built.length), "created");
  return built.refs;
}

/** What a reader of all batches from `from` on must see. */
const bytesFrom = (batches: readonly SegmentBatch[], from: number, limit = Infinity): Uint8Array =>
  concatBytes(
    batches
      .filter(({ baseOffset, count }) => baseOffset + count > from && baseOffset < limit)
      .map(({ payload }) => payload),
  );

test("what is written as segments and packs is read back from every offset, in any step size", async () => {
  for (let seed = 0; seed < 25; seed++) {
    const random = new SimRandom(seed);
    const store = new MemoryStore();
    const partitions = Array.from({ length: random.between(1, 4) }, (_, index) => {
      const batches = drawBatches(random, random.below(100), random.between(1, 60), 12_000);
      const identity = { ...orders, partition: partitionIndex(index) };
      const end = batches.at(-1) as SegmentBatch;
      const state = drawState(random, end.baseOffset);
      return { batches, identity, draft: aDraft(batches, { ...identity, state }) };
    });
    const refs = await stored(
      store,
      partitions.map(({ draft }) => draft),
    );
    const reader = aReader(store, random.pick([10_000, 300_000, 4_000_000]));
    for (const [i, { batches, identity, draft }] of partitions.entries()) {
      const ref = refs[i];
      assert.ok(ref !== undefined);
      const source = aSource([ref], identity);
      assert.deepEqual((await reader.index.footer(identity, ref)).state, draft.state);
      assert.equal(
        ref.recordCount,
        batches.reduce((sum, batch) => sum + batch.count, 0),
      );
      for (let round = 0; round < 6; round++) {
        const from = offset(random.between(draft.base, draft.end - 1));
        const limit = offset(random.chance(0.3) ? random.between(draft.base, draft.end) : draft.end);
        const bytesMax = random.pick([1, 5_000, 200_000, 1 << 30]);
        const seen: Uint8Array[] = [];
        for (let next: Offset = from; ; ) {
          const answer = await reader.read(source, next, { bytesMax, limit });
          if (answer.kind === "absent" || (answer.kind === "batches" && answer.bytes === 0)) break;
          assert.equal(answer.kind, "batches");
          assert.ok(
            answer.chunks.length === 1 || answer.bytes <= bytesMax,
            "the bound is kept beyond the first batch",
          );
          seen.push(...answer.chunks);
          next = answer.next;
        }
        assert.ok(
          equalBytes(concatBytes(seen), bytesFrom(batches, from, limit)),
          `seed ${seed}, from ${from}`,
        );
      }
    }
  }
});

test("a lookup by time gives the first batch whose maximum timestamp reaches it", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const random = new SimRandom(seed);
    const store = new MemoryStore();
    const batches = drawBatches(random, 0, 80, 9000);
    const half = random.between(1, 79);
    const refs = [
      ...(await stored(store, [aDraft(batches.slice(0, half))], 0)),
      ...(await stored(store, [aDraft(batches.slice(half))], 1)),
    ];
    const source = aSource(refs);
    const reader = aReader(store);
    for (let time = 0; time <= 101; time += 3) {
      const from = offset(random.below(100));
      const limit = offset(random.between(from, 300));
      const expected = batches.find(
        ({ payload, baseOffset, count }) =>
          baseOffset + count > from &&
          Number(new DataView(payload.buffer).getBigInt64(35)) >= time &&
          baseOffset < limit,
      );
      const answer = await reader.findTimestamp(source, time, { from, limit });
      if (expected === undefined) assert.equal(answer.kind, "absent");
      else assert.ok(answer.kind === "batch" && equalBytes(answer.batch, expected.payload));
    }
  }
});

test("one read goes through many small segments", async () => {
  const store = new MemoryStore();
  const batches = Array.from({ length: 40 }, (_, i) => aBatch({ base: i }));
  const refs = [];
  for (const [i, batch] of batches.entries()) refs.push(...(await stored(store, [aDraft([batch])], i)));
  const answer = await aReader(store).read(aSource(refs), offset(4), {
    bytesMax: 20 * 81,
    limit: offset(40),
  });
  assert.ok(answer.kind === "batches");
  assert.ok(equalBytes(concatBytes(answer.chunks), bytesFrom(batches, 4, 24)));
  assert.equal(answer.next, 24);
});

test("where compaction left nothing below the limit, the next read begins at the limit", async () => {
  // In one block, in two, and in two segments: what memory still has begins at 42.
  for (const { size, apart } of [
    { size: 20, apart: false },
    { size: 140_000, apart: false },
    { size: 20, apart: true },
  ]) {
    const store = new MemoryStore();
    const [low, high] = [aBatch({ base: 7, size }), aBatch({ base: 45, size })];
    const drafts = apart
      ? [aDraft([low], { end: offset(44) }), aDraft([high], { base: offset(44) })]
      : [aDraft([low, high])];
    const refs = [];
    for (const [i, draft] of drafts.entries()) refs.push(...(await stored(store, [draft], i)));
    const reader = aReader(store);
    for (const from of [8, 22, 41]) {
      const answer = await reader.read(aSource(refs), offset(from), { bytesMax: 1000, limit: offset(42) });
      assert.deepEqual(answer, { kind: "batches", chunks: [], bytes: 0, next: 42, aborted: [] });
    }
    const both = await reader.read(aSource(refs), offset(22), everything);
    assert.ok(both.kind === "batches" && both.next === 46);
  }
});

test("a damaged block is named, and what lies before and behind it is read", async () => {
  const store = new MemoryStore();
  const batches = Array.from({ length: 6 }, (_, i) => aBatch({ base: i * 2, count: 2, size: 140_000 }));
  const [ref] = await stored(store, [aDraft(batches)]);
  assert.ok(ref !== undefined);
  const bytes = store.objects.get(ref.object) as Uint8Array;
  const hit = 128 + ref.footerBytes + 3 * 140_061 + 500;
  bytes[hit] = (bytes[hit] as number) ^ 1;
  const lines: string[] = [];
  const log = { error: (event: string) => void lines.push(event) };
  const reader = new SegmentReader({ store, log, blockBytesMax: 1 << 20, indexBytesMax: 1 << 20 });
  const source = aSource([ref]);
  const before = await reader.read(source, offset(0), everything);
  assert.ok(before.kind === "batches" && before.next === 6);
  assert.ok(equalBytes(concatBytes(before.chunks), bytesFrom(batches, 0, 6)));
  const at = await reader.read(source, offset(7), everything);
  assert.ok(at.kind === "damaged");
  assert.deepEqual([at.from, at.to], [7, 8]);
  assert.match(
    at.error.message,
    /Offsets 6 to 8 of partition 3 of topic AAAAAAAAAAAAAAAAAAAAAQ in seg\/000000000007\/000000000000 /,
  );
  await reader.read(source, offset(6), everything);
  assert.deepEqual(lines, ["segment.damaged"], "it is reported once");
  const behind = await reader.read(source, at.to, everything);
  assert.ok(behind.kind === "batches");
  assert.ok(equalBytes(concatBytes(behind.chunks), bytesFrom(batches, 8)));
});

test("a damaged footer is made good by its copy and named; with both gone the section's offsets are named", async () => {
  const store = new MemoryStore();
  const batches = [aBatch({ base: 4 }), aBatch({ base: 5 })];
  const [ref] = await stored(store, [aDraft(batches)]);
  assert.ok(ref !== undefined);
  const bytes = store.objects.get(ref.object) as Uint8Array;
  const lines: string[] = [];
  const log = { error: (event: string) => void lines.push(event) };
  const flip = (at: number) => {
    bytes[at] = (bytes[at] as number) ^ 4;
  };
  flip(bytes.byteLength - 30);
  const options = { store, log, blockBytesMax: 1 << 20, indexBytesMax: 1 << 20 };
  const answer = await new SegmentReader(options).read(aSource([ref]), offset(4), everything);
  assert.ok(answer.kind === "batches" && equalBytes(concatBytes(answer.chunks), bytesFrom(batches, 4)));
  assert.deepEqual(lines, ["segment.footer.damaged"]);
  flip(ref.sectionStart + 30);
  const both = await new SegmentReader(options).read(aSource([ref]), offset(4), everything);
  assert.ok(both.kind === "damaged" && both.from === 4 && both.to === 6);
  assert.match(
    both.error.message,
    /Offsets 4 to 6 of partition 3 of topic \S+ in seg\S+ cannot be found there/,
  );
});

test("a section that lies at another one's place never passes", async () => {
  const store = new MemoryStore();
  const other = { topicId: topicId("AAAAAAAAAAAAAAAAAAAAAg"), partition: orders.partition };
  const [, ref] = await stored(store, [aDraft([aBatch({ base: 5 })], other), aDraft([aBatch({ base: 5 })])]);
  assert.ok(ref !== undefined);
  const answer = await aReader(store).read(aSource([ref], other), offset(5), everything);
  assert.equal(answer.kind, "damaged");
});

test("an object that is gone is looked for again under fresh references, and is damage when they still name it", async () => {
  const store = new MemoryStore();
  const batches = [aBatch({ base: 0 }), aBatch({ base: 1 })];
  const [early] = await stored(store, [aDraft(batches)], 0);
  const [late] = await stored(store, [aDraft(batches)], 1);
  assert.ok(early !== undefined && late !== undefined);
  const source = aSource([early]);
  await store.delete(early.object);
  const still = await aReader(store).read(source, offset(0), everything);
  assert.ok(still.kind === "damaged" && still.error instanceof DamageError);
  assert.match(still.error.message, /is gone; it held offsets 0 to 2/);
  const reader = aReader(store);
  const reading = reader.read(source, offset(0), everything);
  source.recent = [late];
  const answer = await reading;
  assert.ok(answer.kind === "batches" && answer.next === 2);
});

test("who reads by an old view asks the journal before an object that is gone is called damage, and tells nothing when the journal does not answer", async () => {
  const store = new MemoryStore();
  const batches = [aBatch({ base: 0 }), aBatch({ base: 1 })];
  const [early] = await stored(store, [aDraft(batches)], 0);
  const [late] = await stored(store, [aDraft(batches)], 1);
  assert.ok(early !== undefined && late !== undefined);
  await store.delete(early.object);
  const source = aSource([early]);
  let refreshes = 0;
  let refresh = () => Promise.reject<void>(new OutcomeUnknownError("no answer"));
  const reader = new SegmentReader({
    store,
    blockBytesMax: 1 << 20,
    indexBytesMax: 1 << 20,
    refresh: () => {
      refreshes++;
      return refresh();
    },
  });
  await assert.rejects(reader.read(source, offset(0), everything), OutcomeUnknownError);
  refresh = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    source.recent = [late];
  };
  const answer = await reader.read(source, offset(0), everything);
  assert.ok(answer.kind === "batches" && answer.next === 2);
  const before = refreshes;
  await reader.read(source, offset(1), everything);
  assert.equal(refreshes, before, "nobody asks the journal while objects are where they belong");
});

test("a failing store is an error of the moment, not damage, and is asked again", async () => {
  const store = new MemoryStore();
  const [ref] = await stored(store, [aDraft([aBatch({ base: 0 })])]);
  assert.ok(ref !== undefined);
  const reader = aReader(store);
  const get = store.get.bind(store);
  store.get = () => Promise.reject(new Error("EIO"));
  await assert.rejects(reader.read(aSource([ref]), offset(0), everything), /EIO/);
  store.get = get;
  assert.equal((await reader.read(aSource([ref]), offset(0), everything)).kind, "batches");
});

test("readers of the same blocks share one read, and who catches up finds them already there", async () => {
  const store = new MemoryStore();
  const batches = Array.from({ length: 64 }, (_, i) => aBatch({ base: i, size: 65_000 }));
  const [ref] = await stored(store, [aDraft(batches)]);
  assert.ok(ref !== undefined);
  const reader = aReader(store, 16 << 20);
  const source = aSource([ref]);
  const bounds = { bytesMax: 300_000, limit: offset(64) };
  const [one, two] = await Promise.all([
    reader.read(source, offset(0), bounds),
    reader.read(source, offset(0), bounds),
  ]);
  assert.deepEqual(one, two);
  assert.equal(store.gets.length, 2, "the footer and one range");
  let next = offset(0);
  while (next < 64) {
    const answer = await reader.read(source, next, bounds);
    assert.ok(answer.kind === "batches" && answer.next > next);
    next = answer.next;
    await new Promise((resolve) => setImmediate(resolve));
  }
  const blockReads = store.gets.slice(1);
  assert.equal(
    blockReads.reduce((sum, { length }) => sum + length, 0),
    64 * 65_061,
    "every block is read once",
  );
  assert.ok(reader.blocks.cache.bytes <= 16 << 20);
  assert.equal(reader.blocks.loadingBytes, 0);
});

test("only what fits into the answer is read, and the first block in any case", async () => {
  const store = new MemoryStore();
  const batches = Array.from({ length: 8 }, (_, i) => aBatch({ base: i, size: 200_000 }));
  const [ref] = await stored(store, [aDraft(batches)]);
  assert.ok(ref !== undefined);
  const reader = aReader(store);
  const source = aSource([ref]);
  const blockBytes = (batches[0] as SegmentBatch).payload.byteLength;
  const readBytes = async (from: number, bytesMax: number, limit = 8): Promise<number> => {
    const before = store.gets.length;
    const answer = await reader.read(source, offset(from), { bytesMax, limit: offset(limit) });
    assert.ok(answer.kind === "batches");
    const blocks = store.gets.slice(before).filter(({ length }) => length >= blockBytes);
    const bytes = blocks.reduce((sum, { length }) => sum + length, 0);
    assert.equal(bytes, answer.bytes);
    return bytes;
  };
  assert.equal(await readBytes(0, 10), blockBytes);
  assert.equal(await readBytes(2, 3 * blockBytes - 1), 2 * blockBytes);
  assert.equal(await readBytes(5, 1 << 20, 7), 2 * blockBytes, "what is in memory is not read");
});

test("nothing is read ahead of what is in memory", async () => {
  const store = new MemoryStore();
  const batches = Array.from({ length: 12 }, (_, i) => aBatch({ base: i, size: 70_000 }));
  const [ref] = await stored(store, [aDraft(batches)]);
  assert.ok(ref !== undefined);
  const reader = aReader(store, 16 << 20);
  for (let next = offset(0); next < 6; ) {
    const answer = await reader.read(aSource([ref]), next, { bytesMax: 1, limit: offset(7) });
    assert.ok(answer.kind === "batches" && answer.next > next);
    next = answer.next;
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  }
  const blockBytes = (batches[0] as SegmentBatch).payload.byteLength;
  const bytes = store.gets.slice(1).reduce((sum, { length }) => sum + length, 0);
  assert.equal(bytes, 7 * blockBytes);
});

test("memory is used again, and never while somebody still reads it", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const random = new SimRandom(seed);
    const store = new MemoryStore();
    const batches = drawBatches(random, 0, 60, 12_000);
    const [ref] = await stored(store, [aDraft(batches)]);
    assert.ok(ref !== undefined);
    const reader = aReader(store, random.pick([10_000, 100_000, 400_000]));
    const source = aSource([ref]);
    const aWhile = async (): Promise<void> => {
      for (let i = random.below(8); i > 0; i--) await new Promise((resolve) => setImmediate(resolve));
    };
    const readAll = async (): Promise<void> => {
      for (let next = ref.base; next < ref.end; ) {
        const bytesMax = random.pick([1, 5_000, 150_000]);
        const answer = await reader.read(source, next, { bytesMax, limit: ref.end });
        assert.ok(answer.kind === "batches" && answer.next > next);
        await aWhile();
        const expected = bytesFrom(batches, next, answer.next);
        assert.ok(equalBytes(concatBytes(answer.chunks), expected), `seed , from `);
        // Some forget to, or their connection was cut.
        if (random.chance(0.8)) for (const chunk of answer.chunks) giveBack(chunk);
        next = answer.next;
      }
    };
    await Promise.all(Array.from({ length: 4 }, readAll));
    assert.ok(store.givenBytes > 0);
  }
});

test("who catches up through small segments finds the next ones already there", async () => {
  const store = new MemoryStore();
  const refs = [];
  for (let i = 0; i < 30; i++) {
    refs.push(...(await stored(store, [aDraft([aBatch({ base: i, size: 10_000 })])], i)));
  }
  const source = aSource(refs);
  const reader = aReader(store, 8 << 20);
  for (let next = offset(0); next < 4; ) {
    const answer = await reader.read(source, next, { bytesMax: 1, limit: offset(30) });
    assert.ok(answer.kind === "batches" && answer.bytes > 0);
    next = answer.next;
  }
  for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
  const before = store.gets.length;
  await reader.read(source, offset(4), { bytesMax: 200_000, limit: offset(30) });
  assert.equal(store.gets.length, before, "twenty segments were read ahead");
});

test("small shares go into packs, large ones into segments of their own", () => {
  const small = aDraft([aBatch({ base: 0, size: 400_000 })]);
  const large = aDraft([aBatch({ base: 0, size: 1_100_000 })]);
  const objects = planObjects([small, large, ...Array.from({ length: 50 }, () => small)]);
  assert.deepEqual(
    objects.map((drafts) => drafts.length),
    [1, 42, 9],
  );
  assert.equal(objects[0]?.[0], large);
});

test("segments that are exchanged in the middle of a read give no batch twice", async () => {
  const store = new MemoryStore();
  const batches = [0, 2, 4, 6].map((base) => aBatch({ base, count: 2 }));
  const [first, rest] = await stored(store, [aDraft(batches.slice(0, 2)), aDraft(batches.slice(2))]);
  const [whole] = await stored(store, [aDraft(batches)], 1);
  const source = aSource([first as never, rest as never]);
  const segments = source.segments.bind(source);
  let lookups = 0;
  source.segments = () => {
    if (++lookups === 2) source.recent = [whole as never];
    return segments();
  };
  const read = await aReader(store).read(source, offset(0), everything);
  assert.equal(read.kind, "batches");
  assert.ok(read.kind === "batches" && equalBytes(concatBytes(read.chunks), bytesFrom(batches, 0)));
});

test("an object is in use from the look-up to the end of the read", async () => {
  const store = new MemoryStore();
  const refs = await stored(store, [aDraft([aBatch({ base: 0 })])]);
  const reader = aReader(store);
  const get = store.get.bind(store);
  const object = refs[0]?.object ?? "";
  const seen: boolean[] = [];
  store.get = async (...args) => {
    seen.push(reader.index.inUse.has(object));
    const bytes = await get(...args);
    seen.push(reader.index.inUse.has(object));
    return bytes;
  };
  await reader.read(aSource(refs), offset(0), everything);
  await reader.findTimestamp(aSource(refs), 0, { from: offset(0), limit: offset(1) });
  assert.ok(seen.length >= 4 && seen.every((each) => each));
  assert.equal(reader.index.inUse.size, 0);
});
