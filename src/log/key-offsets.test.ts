import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { offset } from "../base/ids.ts";
import { halfSipHash, KeyOffsets } from "./key-offsets.ts";

const seed = [0x1234_5678, 0x9abc_def0] as const;

test("says what a map says, over any keys, as long as there is room", () => {
  const key = fc.oneof(fc.uint8Array({ maxLength: 3, max: 2 }), fc.uint8Array({ maxLength: 40 }));
  fc.assert(
    fc.property(fc.array(key, { maxLength: 3_000 }), fc.array(key, { maxLength: 20 }), (keys, others) => {
      const offsets = new KeyOffsets(1 << 24, seed);
      const truth = new Map<string, number>();
      for (const [at, each] of keys.entries()) {
        assert.ok(offsets.put(each, offset(at)));
        truth.set(Buffer.from(each).toString("hex"), at);
      }
      assert.equal(offsets.size, truth.size);
      for (const each of [...keys, ...others]) {
        assert.equal(offsets.get(each), truth.get(Buffer.from(each).toString("hex")) ?? -1);
      }
    }),
    { numRuns: 60 },
  );
});

test("takes no key beyond its bytes, but any offset of a key that it has, and always one key", () => {
  const bytesMax = 3 * 1024 * 1024;
  const offsets = new KeyOffsets(bytesMax, seed);
  const keyOf = (i: number): Uint8Array => Buffer.from(`key number ${i}`.padEnd(100));
  let count = 0;
  while (offsets.put(keyOf(count), offset(count))) count++;
  assert.ok(offsets.bytes <= bytesMax && offsets.bytes > bytesMax / 2, `${offsets.bytes}`);
  assert.equal(offsets.get(keyOf(count)), -1);
  assert.ok(offsets.put(keyOf(0), offset(count)));
  assert.equal(offsets.get(keyOf(0)), count);
  for (let i = 1; i < count; i += 97) assert.equal(offsets.get(keyOf(i)), i);
  const large = new Uint8Array(5 * 1024 * 1024).fill(7);
  const alone = new KeyOffsets(1000, seed);
  assert.ok(alone.put(large, offset(1)));
  assert.equal(alone.put(Buffer.from("k"), offset(2)), false);
  assert.equal(alone.get(large), 1);
});

test("keys longer than a chunk lie beside short ones", () => {
  const offsets = new KeyOffsets(1 << 26, seed);
  const keys = Array.from({ length: 6 }, (_, i) => new Uint8Array(i % 2 === 0 ? 10 : 3_000_000).fill(i));
  for (const [i, key] of keys.entries()) assert.ok(offsets.put(key, offset(i)));
  for (const [i, key] of keys.entries()) assert.equal(offsets.get(key), i);
});

test("the hash is HalfSipHash-1-3 of the bytes in their order and of the seed", () => {
  const seen = new Set<number>();
  for (let length = 0; length < 200; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => i);
    seen
      .add(halfSipHash(bytes, 1, 2))
      .add(halfSipHash(bytes, 1, 3))
      .add(halfSipHash(bytes, 2, 2));
  }
  assert.equal(seen.size, 600);
});
