import assert from "node:assert/strict";
import { test } from "node:test";
import { spreadOf, verdictAtLeast, verdictAtMost } from "./stats.ts";

test("median and quartiles are drawn between neighbours", () => {
  assert.deepEqual(spreadOf([4, 1, 3, 2]), { median: 2.5, lower: 1.75, upper: 3.25, count: 4 });
  assert.deepEqual(spreadOf([5]), { median: 5, lower: 5, upper: 5, count: 1 });
});

test("a goal between the quartiles is open, above them missed, below them reached", () => {
  const spread = spreadOf([1, 2, 3, 4, 5]);
  assert.deepEqual(
    [1.9, 3, 4.1].map((goal) => verdictAtLeast(spread, goal)),
    ["reached", "open", "missed"],
  );
  assert.deepEqual(
    [1.9, 3, 4.1].map((goal) => verdictAtMost(spread, goal)),
    ["missed", "open", "reached"],
  );
});
