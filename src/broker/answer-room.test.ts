import assert from "node:assert/strict";
import { test } from "node:test";
import { Budget } from "../base/budget.ts";
import { AnswerRoom } from "./answer-room.ts";

test("what fetches gather and are about to read counts at once, for all of them together", () => {
  const answers = new Budget(100);
  const one = new AnswerRoom(answers, 80);
  const other = new AnswerRoom(answers, 80);
  one.take(30);
  one.reserve(40);
  assert.deepEqual([one.left, other.left], [10, 30]);
  one.cancel(40);
  one.take(15);
  assert.deepEqual([one.left, other.left], [35, 55]);
  one.giveBack();
  assert.equal(other.left, 80);
  assert.equal(answers.used, 0);
});

test("a first batch may be larger than everything; there is no room behind it, and all of it is given back", () => {
  const answers = new Budget(100);
  const room = new AnswerRoom(answers, 50);
  room.take(300);
  assert.deepEqual([room.bytes, room.left, answers.used], [300, 0, 300]);
  room.giveBack();
  assert.equal(answers.used, 0);
});
