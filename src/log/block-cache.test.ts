import assert from "node:assert/strict";
import { test } from "node:test";
import { BlockCache, ByteLru } from "./block-cache.ts";

const block = (start: number, length = 10) => ({ start, bytes: new Uint8Array(length) });

test("the least recently used goes first, and the bound is never passed", () => {
  const evicted: string[] = [];
  const lru = new ByteLru<string>(30, (value) => evicted.push(value));
  lru.put("a", "a", 10);
  lru.put("b", "b", 10);
  lru.put("c", "c", 10);
  assert.equal(lru.get("a"), "a");
  lru.put("d", "d", 15);
  assert.deepEqual(evicted, ["b", "c"]);
  assert.equal(lru.bytes, 25);
  lru.put("e", "e", 31);
  assert.equal(lru.get("e"), undefined, "what is larger than the bound is not kept");
  assert.ok(lru.bytes <= 30);
});

test("blocks of one read are counted by their buffer and leave together", () => {
  const cache = new BlockCache(100);
  cache.put("x", 60, [block(0), block(10)]);
  cache.put("y", 40, [block(0)]);
  assert.equal(cache.bytes, 100);
  assert.ok(cache.get("x", 10) !== undefined);
  cache.put("z", 50, [block(0)]);
  assert.equal(cache.get("y", 0), undefined, "the other one was used later");
  assert.equal(cache.get("x", 0), undefined);
  assert.equal(cache.get("x", 10), undefined);
  assert.ok(cache.get("z", 0) !== undefined);
  assert.equal(cache.bytes, 50);
  assert.deepEqual([cache.hits, cache.misses], [2, 3]);
});

test("a block that was read a second time outlives its first buffer", () => {
  const cache = new BlockCache(100);
  cache.put("x", 50, [block(0), block(10)]);
  cache.put("x", 50, [block(10)]);
  cache.put("y", 50, [block(0)]);
  assert.equal(cache.get("x", 0), undefined);
  assert.ok(cache.get("x", 10) !== undefined);
});
