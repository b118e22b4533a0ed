/** The judge of consumer groups must see what it is there for: each fault is planted here, and nothing else found. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { GroupJudge } from "./group-judge.ts";
import { groupStory } from "./group-story.ts";

function judged(lines: readonly (readonly [member: number, line: string])[], ends: readonly number[]) {
  const judge = new GroupJudge(ends.length);
  for (const [member, line] of lines) judge.line(member, line);
  judge.finish(ends);
  return { violations: judge.violations, counts: judge.counts };
}

const good = [
  [0, "owns 1 0 1"],
  [0, "did 0 0 0-0"],
  [0, "did 1 0 1-0"],
  [0, "committed 0 1"],
  [1, "owns 2 0"],
  [0, "owns 2 1"],
  [1, "did 0 0 0-0"],
  [1, "did 0 1 0-1"],
  [1, "committed 0 2"],
  [0, "refused because"],
  [0, "left"],
] as const;

describe("the judge of a group", () => {
  test("finds nothing in a group that processed everything, some of it twice", () => {
    const { violations, counts } = judged(good, [2, 1]);
    assert.deepEqual(violations, []);
    assert.deepEqual(counts, { processed: 3, repeated: 1, commits: 2, refused: 1, asked: 0, owned: 4 });
  });

  test("finds a record that nobody processed", () => {
    const { violations } = judged(good, [2, 2]);
    assert.deepEqual(violations, ["partition 1 ends at 2, but 1 was never processed"]);
  });

  test("finds a record that was passed over, although later ones were processed", () => {
    const { violations } = judged(
      [
        [0, "did 0 0 0-0"],
        [0, "did 0 2 0-2"],
        [0, "committed 0 3"],
      ],
      [3],
    );
    assert.deepEqual(violations, [
      "member 0 tells partition 0 committed at 3, but 1 is not processed",
      "partition 0 ends at 3, but 1 was never processed",
    ]);
  });

  test("finds a commit ahead of what was processed by then, although it is processed later", () => {
    const judge = new GroupJudge(1);
    judge.line(0, "did 0 0 0-0");
    judge.asked([{ partition: 0, offset: 2 }]);
    judge.settle(judge.mark());
    judge.line(0, "did 0 1 0-1");
    judge.finish([2]);
    assert.deepEqual(judge.violations, [
      "the broker tells partition 0 committed at 2, but 1 is not processed",
    ]);
  });

  test("waits with a commit until the lines from before it have arrived", () => {
    const judge = new GroupJudge(1);
    judge.asked([{ partition: 0, offset: 1 }]);
    const mark = judge.mark();
    judge.line(0, "did 0 0 0-0");
    judge.settle(mark);
    judge.finish([1]);
    assert.deepEqual(judge.violations, []);
  });

  test("finds two owners of a partition in one generation, and none in two generations", () => {
    assert.deepEqual(judged([...good, [1, "owns 2 1"]], [2, 1]).violations, [
      "members 0 and 1 both own partition 1 in generation 2",
    ]);
    assert.deepEqual(
      judged([...good, [1, "owns 3 1"], [1, "owns - 0"], [0, "owns - 0"]], [2, 1]).violations,
      [],
    );
  });

  test("finds a record with another record's value", () => {
    assert.deepEqual(judged([...good, [1, "did 0 1 1-1"]], [2, 1]).violations, [
      'member 1 read "1-1" at 1 of partition 0',
    ]);
  });
});

test("a story of a group has everything in it, the same for the same seed, and never stops the last member", () => {
  const times = { join: 5, leave: 2, kill: 3, pause: 2, broker: 2 };
  const options = { times, membersMax: 8, pauseMs: 5_000, restMs: 1_000 };
  for (let seed = 0; seed < 300; seed += 1) {
    const story = groupStory({ ...options, seed });
    assert.deepEqual(story, groupStory({ ...options, seed }));
    const running = new Set<number>();
    let nowMs = 0;
    const stopped = new Map<number, number>();
    for (const { afterMs, event } of story) {
      nowMs += afterMs;
      if (event.kind === "broker") continue;
      const { kind, member } = event;
      if (kind === "join") running.add(member);
      else {
        assert.ok(running.has(member) && (stopped.get(member) ?? 0) <= nowMs);
        if (kind === "pause") stopped.set(member, nowMs + options.pauseMs);
        else running.delete(member);
      }
      const awake = [...running].filter((each) => (stopped.get(each) ?? 0) <= nowMs);
      assert.ok(awake.length >= 1 && running.size <= 8);
    }
    for (const kind of ["leave", "kill", "pause", "broker"] as const) {
      assert.equal(story.filter(({ event }) => event.kind === kind).length, times[kind]);
    }
  }
});
