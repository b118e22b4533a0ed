import assert from "node:assert/strict";
import { test } from "node:test";
import { TableHistory, TableView, type TableWrite } from "./table-history.ts";

function aTable(writes: readonly (readonly [key: string, isTombstone: boolean])[]) {
  const violations: string[] = [];
  const history = new TableHistory((sentence) => violations.push(sentence));
  const made = writes.map(([key, isTombstone]) => {
    const write = history.attempt(key, isTombstone);
    history.acknowledged(write);
    return write;
  });
  /** A reader who is shown these and is then at the end. */
  const read = (...shown: readonly number[]): readonly string[] => {
    const view = new TableView();
    for (const order of shown) {
      const { isTombstone } = made[order] as TableWrite;
      history.shown(view, `table-${order}`, isTombstone ? "" : `table-${order}-x`);
    }
    history.judge(view, history.floor());
    return violations.splice(0);
  };
  return { history, read, violations };
}

test("a reader needs the newest record of each key, and no other", () => {
  const { read } = aTable([
    ["a", false],
    ["b", false],
    ["a", false],
  ]);
  assert.deepEqual(read(0, 1, 2), []);
  assert.deepEqual(read(1, 2), []);
  assert.deepEqual(read(0, 1), ["key a was written in 2, and a reader at the end has 0"]);
  assert.deepEqual(read(2), ["key b was written in 1, and a reader at the end has nothing"]);
});

test("a deleted key may be gone; its value without its tombstone may not be there", () => {
  const { read } = aTable([
    ["a", false],
    ["a", true],
  ]);
  assert.deepEqual(read(0, 1), []);
  assert.deepEqual(read(1), []);
  assert.deepEqual(read(), []);
  assert.deepEqual(read(0), ["key a was written in 1, and a reader at the end has 0"]);
});

test("records that were never written, changed, or out of order are noticed", () => {
  const { history, read, violations } = aTable([
    ["a", false],
    ["b", true],
  ]);
  assert.deepEqual(read(1, 0), ["the table holds table-0 behind 1"]);
  history.shown(new TableView(), "table-7", "x");
  history.shown(new TableView(), "table-1", "a value");
  assert.equal(violations.length, 2);
});
