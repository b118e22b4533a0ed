import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SimRandom } from "../sim/random.ts";
import { murmur2, partitionOfKey, StickyChoice } from "./partitioner.ts";

describe("the partitioner", () => {
  it("hashes keys as Kafka's Java client does", () => {
    // What org.apache.kafka.common.utils.Utils.murmur2 gives (kafka-clients 4.x).
    const known: readonly [string, number][] = [
      ["21", -973932308],
      ["foobar", -790332482],
      ["a-little-bit-long-string", -985981536],
      ["a-little-bit-longer-string", -1486304829],
      ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
      ["abc", 479470107],
    ];
    for (const [key, hash] of known) assert.equal(murmur2(Buffer.from(key)), hash, key);
  });

  it("takes the hash without its sign, modulo the number of partitions", () => {
    assert.equal(partitionOfKey(Buffer.from("21"), 100), (-973932308 & 0x7fffffff) % 100);
    assert.equal(partitionOfKey(Buffer.from("abc"), 7), 479470107 % 7);
    assert.equal(partitionOfKey(Buffer.from("abcxxx"), 7, 3), 479470107 % 7);
  });

  it("stays with a partition for so many bytes, then takes another that has a leader", () => {
    const sticky = new StickyChoice(new SimRandom(1), 100);
    const chosen = Array.from({ length: 50 }, () => sticky.next(50, 5, (partition) => partition !== 3));
    for (let at = 0; at < 50; at += 2) assert.equal(chosen[at], chosen[at + 1]);
    for (let at = 2; at < 50; at += 2) assert.notEqual(chosen[at], chosen[at - 1]);
    assert.deepEqual(
      [...new Set(chosen)].toSorted((a, b) => a - b),
      [0, 1, 2, 4],
    );
  });

  it("goes on when no partition has a leader", () => {
    const sticky = new StickyChoice(new SimRandom(1), 100);
    const chosen = sticky.next(10, 3, () => false);
    assert(chosen >= 0 && chosen < 3);
  });
});
