import assert from "node:assert/strict";
import { test } from "node:test";
import { offset } from "../base/ids.ts";
import { orders } from "../../test/proof/segment-world.ts";
import { ReadAhead } from "./read-ahead.ts";

const kib = 1024;
const advance = (ahead: ReadAhead, from: number, next: number) =>
  ahead.advance(orders, offset(from), offset(next));

test("the window opens with the second read in a row and doubles up to its bound", () => {
  const ahead = new ReadAhead(1024 * kib);
  const windows = [0, 10, 20, 30, 40].map((at) => advance(ahead, at, at + 10) / kib);
  assert.deepEqual(windows, [0, 256, 512, 1024, 1024]);
});

test("reads at random places open no window, and a read that got nothing changes none", () => {
  const ahead = new ReadAhead(1024 * kib);
  assert.deepEqual([advance(ahead, 0, 10), advance(ahead, 50, 60), advance(ahead, 5, 9)], [0, 0, 0]);
  advance(ahead, 10, 20);
  assert.equal(advance(ahead, 20, 20), 256 * kib);
  assert.equal(advance(ahead, 20, 30), 512 * kib);
});

test("two readers at one place do not take each other's window", () => {
  const ahead = new ReadAhead(1024 * kib);
  advance(ahead, 0, 10);
  advance(ahead, 10, 20);
  advance(ahead, 10, 20);
  assert.equal(advance(ahead, 20, 30), 512 * kib);
});

test("the number of readers that are remembered is bounded", () => {
  const ahead = new ReadAhead(1024 * kib);
  for (let at = 0; at < 20_000; at += 2) advance(ahead, at, at + 1);
  assert.ok(ahead.streams <= 4096);
});
