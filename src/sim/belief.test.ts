import assert from "node:assert/strict";
import { test } from "node:test";
import { ErrorCode } from "../protocol/errors.ts";
import { Belief, type Change } from "./belief.ts";

/** Counts up to 2, and is refused beyond. */
const raise: Change<number> = (count) =>
  count < 2
    ? { codes: [ErrorCode.NONE], next: count + 1 }
    : { codes: [ErrorCode.INVALID_REQUEST], next: count };

test("an answer that no state allows is noticed", () => {
  const belief = new Belief(2);
  assert.equal(belief.answered(raise, ErrorCode.NONE), false);
  assert.equal(belief.answered(raise, ErrorCode.INVALID_REQUEST), true);
  assert.equal(belief.only, 2);
});

test("after a doubt both may be, until an answer or a look tells", () => {
  const belief = new Belief(1);
  belief.doubt(raise);
  assert.deepEqual(belief.states, [1, 2]);
  assert.equal(
    belief.seen((count) => count === 3),
    false,
  );
  assert.equal(belief.answered(raise, ErrorCode.INVALID_REQUEST), true);
  assert.equal(belief.only, 2);
});

test("a change that would have been refused leaves no doubt", () => {
  const belief = new Belief(2);
  belief.doubt(raise);
  assert.equal(belief.only, 2);
});
