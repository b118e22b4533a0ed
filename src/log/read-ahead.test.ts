import assert from "node:assert/strict";
import { test } from "node:test";
import { offset, partitionIndex } from "../base/ids.ts";
import { orders } from "../../test/proof/segment-world.ts";
import { ReadAhead } from "./read-ahead.ts";

const kib = 1024;
const advance = (ahead: ReadAhead, from: number, next: number, bytes = 1, partition = 0) =>
  ahead.advance({ ...orders, partition: partitionIndex(partition) }, offset(from), offset(next), bytes);

test("the window opens with the second read in a row and doubles up to its bound", () => {
  const ahead = new ReadAhead(1024 * kib, 4096 * kib);
  const windows = [0, 10, 20, 30, 40].map((at) => advance(ahead, at, at + 10) / kib);
  assert.deepEqual(windows, [0, 256, 512, 1024, 1024]);
});

test("reads at random places open no window, and a read that got nothing changes none", () => {
  const ahead = new ReadAhead(1024 * kib, 4096 * kib);
  assert.deepEqual([advance(ahead, 0, 10), advance(ahead, 50, 60), advance(ahead, 5, 9)], [0, 0, 0]);
  advance(ahead, 10, 20);
  assert.equal(advance(ahead, 20, 20), 256 * kib);
  assert.equal(advance(ahead, 20, 30), 512 * kib);
});

test("two readers at one place do not take each other's window", () => {
  const ahead = new ReadAhead(1024 * kib, 4096 * kib);
  advance(ahead, 0, 10);
  advance(ahead, 10, 20);
  advance(ahead, 10, 20);
  assert.equal(advance(ahead, 20, 30), 512 * kib);
});

test("nothing is read ahead when it would be gone before its reader comes back", () => {
  const ahead = new ReadAhead(1024 * kib, 4096 * kib);
  const round = (partitions: number, from: number): number[] =>
    Array.from({ length: partitions }, (_, partition) =>
      advance(ahead, from, from + 10, 1024 * kib, partition),
    );
  for (const from of [0, 10, 20]) assert.deepEqual(round(5, from), [0, 0, 0, 0, 0], "five readers in turns");
  for (const from of [30, 40]) round(2, from);
  assert.deepEqual(round(2, 50), [512 * kib, 512 * kib], "two are left");
});

test("the number of readers that are remembered is bounded", () => {
  const ahead = new ReadAhead(1024 * kib, 4096 * kib);
  for (let at = 0; at < 20_000; at += 2) advance(ahead, at, at + 1);
  assert.ok(ahead.streams <= 4096);
});
