import assert from "node:assert/strict";
import { test } from "node:test";
import { AssertionFailure } from "./assert.ts";
import { giveBack, isLent, lend, type Loan, ReusedMemory } from "./reused-memory.ts";

const kib = 1024;

function taken(memory: ReusedMemory, length: number): Loan {
  const loan = memory.take(length);
  assert.ok(loan !== null);
  return loan;
}

test("memory is used again when its last holder has given it back, and not before", () => {
  const memory = new ReusedMemory(64 * kib);
  const loan = taken(memory, 3000);
  assert.equal(loan.bytes.byteLength, 4096);
  loan.hold(2);
  loan.release();
  assert.equal(memory.freeBytes, 0);
  assert.notEqual(taken(memory, 3000).bytes.buffer, loan.bytes.buffer);
  loan.release();
  assert.equal(memory.freeBytes, 4096);
  assert.equal(taken(memory, 4096).bytes.buffer, loan.bytes.buffer);
  assert.equal(memory.freeBytes, 0);
});

test("a part is given back once, however often it is said; what was not lent is no concern", () => {
  const memory = new ReusedMemory(64 * kib);
  const loan = taken(memory, 2048);
  loan.hold(2);
  const [one, two] = [loan.bytes.subarray(0, 10), loan.bytes.subarray(0, 10)];
  lend(one, loan);
  lend(two, loan);
  for (let i = 0; i < 3; i++) giveBack(one);
  giveBack(loan.bytes.subarray(0, 10));
  giveBack(new Uint8Array(10));
  assert.equal(memory.freeBytes, 0);
  assert.deepEqual([isLent(one), isLent(two)], [false, true]);
  giveBack(two);
  assert.equal(memory.freeBytes, 2048);
});

test("who holds memory that was given back, or gives back more than was held, has a bug that is told", () => {
  const loan = taken(new ReusedMemory(64 * kib), 2048);
  loan.hold();
  loan.release();
  assert.throws(() => loan.hold(), AssertionFailure);
  assert.throws(() => loan.release(), AssertionFailure);
  assert.throws(() => lend(new Uint8Array(1), loan), AssertionFailure);
});

test("free memory is bounded, and very short or long memory is not kept at all", () => {
  const memory = new ReusedMemory(8 * kib);
  const loans = Array.from({ length: 5 }, () => taken(memory, 2048));
  for (const loan of loans) loan.hold();
  for (const loan of loans) loan.release();
  assert.equal(memory.freeBytes, 8 * kib);
  assert.equal(memory.take(100), null);
  assert.equal(memory.take(3 * kib * kib), null);
});
