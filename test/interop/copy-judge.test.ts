/** The judge of copies must see what it is there for: each fault is planted here, and nothing else found. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CopyJudge, CopyRead } from "./copy-judge.ts";

function read(lines: readonly string[], ends: readonly number[]): readonly string[] {
  const judge = new CopyJudge(ends.length);
  const reader = new CopyRead(judge, "somebody", ends.length);
  for (const line of lines) reader.line(line);
  reader.finish(ends);
  return judge.violations;
}

describe("the judge of a copy", () => {
  test("finds nothing in a copy that holds everything once, with gaps between offsets", () => {
    const lines = ["record 0 0 0-0", "record 1 4 1-0", "record 0 3 0-1", "% a remark"];
    assert.deepEqual(read(lines, [2, 1]), []);
  });

  test("finds a record that was copied twice", () => {
    assert.deepEqual(read(["record 0 0 0-0", "record 0 2 0-0"], [1]), [
      'somebody read "0-0" at 2 of partition 0, where 1 was due',
    ]);
  });

  test("finds a record that was passed over, and tells of it once", () => {
    assert.deepEqual(read(["record 0 0 0-0", "record 0 1 0-2", "record 0 2 0-3"], [4]), [
      'somebody read "0-2" at 1 of partition 0, where 1 was due',
    ]);
  });

  test("finds records that are missing at the end", () => {
    assert.deepEqual(read(["record 0 0 0-0"], [2]), ["somebody read partition 0 up to 1 of 2"]);
  });

  test("finds offsets that go back, and a record of another partition", () => {
    assert.deepEqual(read(["record 0 5 0-0", "record 0 4 0-1"], [2]), [
      'somebody read "0-1" at 4 of partition 0, behind 5',
    ]);
    assert.match(
      read(["record 1 0 0-0"], [0, 0])[0] ?? "",
      /read "0-0" at 0 of partition 1, where 0 was due/,
    );
  });

  test("finds a commit that a copier was told of and that is gone, and offsets that go back", () => {
    const judge = new CopyJudge(2);
    judge.line(3, "committed 7 0 5 1 2");
    judge.asked([]);
    judge.settle();
    judge.asked([{ partition: 0, offset: 5 }]);
    judge.asked([
      { partition: 0, offset: 4 },
      { partition: 1, offset: 2 },
    ]);
    assert.deepEqual(judge.violations, [
      "the group has committed 0 of partition 1, but a copier was told of 2 before",
      "the group has committed 4 of partition 0, but the broker said 5 before",
    ]);
  });

  test("does not want what copiers were told of after the mark", () => {
    const judge = new CopyJudge(1);
    judge.line(0, "committed 5 0 5");
    const mark = judge.mark();
    judge.line(0, "committed 3 0 8");
    judge.settle(mark);
    judge.asked([{ partition: 0, offset: 5 }]);
    assert.deepEqual(judge.violations, []);
    judge.settle();
    judge.asked([{ partition: 0, offset: 5 }]);
    assert.deepEqual(judge.violations, [
      "the group has committed 5 of partition 0, but a copier was told of 8 before",
    ]);
  });

  test("counts what copiers tell", () => {
    const judge = new CopyJudge(1);
    for (const line of ["committed 5 0 5", "aborted 3", "refused because 4", "committed 3 0 8", "left"])
      judge.line(0, line);
    const counts = { commits: 2, copied: 8, aborts: 1, aborted: 3, refused: 1, asked: 0 };
    assert.deepEqual(judge.counts, counts);
  });
});
