import assert from "node:assert/strict";
import { test } from "node:test";
import { ShareJudge } from "./share-judge.ts";

const rules = { partitionCount: 1, deliveriesMax: 3, slackMs: 100 };

function judged(lines: readonly (readonly [member: number, line: string])[], end: number): readonly string[] {
  const judge = new ShareJudge(rules);
  for (const [member, line] of lines) judge.line(member, line);
  judge.finish([end]);
  return judge.violations;
}

const took = (member: number, ms: number, offset: number, deliveries = 1): [number, string][] => [
  [member, `got ${ms} 0 ${offset} ${deliveries} 0-${offset}`],
  [member, `accepts 0 ${offset}`],
];

test("a group that accepts every record once has done nothing wrong, in whatever order its lines arrive", () => {
  const lines: [number, string][] = [...took(0, 1, 0), [0, "accepted 5 0 0"], ...took(1, 2, 1), [1, "left"]];
  assert.deepEqual(judged([...lines, [1, "accepted 9 0 1"]], 2), []);
  assert.deepEqual(judged([[1, "accepted 9 0 1"], ...lines], 2), []);
});

test("a record that nobody asked to accept is missed; one whose acceptance nobody answered is not", () => {
  assert.deepEqual(judged([[0, "got 1 0 0 1 0-0"]], 1), ["1 records were never accepted"]);
  assert.deepEqual(judged(took(0, 1, 0), 2), ["1 records were never accepted"]);
  assert.deepEqual(judged(took(0, 1, 0), 1), []);
});

test("a record that is given out after its acceptance was answered is found, also if that is told first", () => {
  const late: [number, string] = [1, "got 200 0 0 2 0-0"];
  const lines: [number, string][] = [...took(0, 1, 0), [0, "accepted 50 0 0"]];
  for (const told of [
    [...lines, late],
    [late, ...lines],
  ]) {
    assert.deepEqual(judged(told, 1), [
      "record 0 of partition 0 was given to member 1 150 ms after its acceptance was answered",
    ]);
  }
  assert.deepEqual(judged([...lines, [1, "got 140 0 0 2 0-0"]], 1), [], "it was on its way");
});

test("what a member prints that was stopped was given to it before", () => {
  const judge = new ShareJudge(rules);
  judge.paused(1, 10);
  judge.resumed(1, 1_000);
  for (const [member, line] of took(0, 1, 0)) judge.line(member, line);
  judge.line(0, "accepted 50 0 0");
  judge.line(1, "got 1050 0 0 1 0-0");
  judge.finish([1]);
  assert.deepEqual(judge.violations, []);
  const again = new ShareJudge(rules);
  again.paused(1, 10);
  again.resumed(1, 1_000);
  for (const [member, line] of took(0, 1, 0)) again.line(member, line);
  again.line(0, "accepted 50 0 0");
  again.line(1, "got 1150 0 0 1 0-0");
  again.finish([1]);
  assert.equal(again.violations.length, 1, "that is long enough to have read it anew");
});

test("too many deliveries, other values and records that nobody wrote are found", () => {
  assert.equal(judged(took(0, 1, 0, 4), 1).length, 1);
  assert.equal(judged([...took(0, 1, 0), [0, "got 2 0 0 1 0-7"]], 1).length, 1);
  assert.equal(judged(took(0, 1, 0), 0).length, 1);
});

test("of each poison record there is one dead letter, of no other, and nobody accepts it", () => {
  const poison = { rejectedEvery: 8, deadlyEvery: 0 };
  const play = (letters: readonly number[], accepts: readonly number[]): readonly string[] => {
    const judge = new ShareJudge({ ...rules, poison });
    for (const offset of accepts) judge.line(0, `accepts 0 ${offset}`);
    for (const offset of letters) judge.letter(0, offset, offset === 7 ? "0-7!rejected" : `0-${offset}`);
    judge.finish([9]);
    return judge.violations;
  };
  const sound = [0, 1, 2, 3, 4, 5, 6, 8];
  assert.deepEqual(play([7], sound), []);
  assert.deepEqual(play([], sound), ["record 7 of partition 0 has 0 dead letters"]);
  assert.deepEqual(play([7, 7], sound), ["record 7 of partition 0 has 2 dead letters"]);
  assert.deepEqual(play([7, 8], sound), ["record 8 of partition 0 has 1 dead letters"]);
  assert.deepEqual(play([7], [...sound, 7]), ["record 7 of partition 0 is poison, and was accepted"]);
});

test("what is missing shrinks to 0 when every sound record was asked for", () => {
  const judge = new ShareJudge({ ...rules, poison: { rejectedEvery: 8, deadlyEvery: 0 } });
  for (let offset = 0; offset < 10_000; offset++) {
    if (offset % 8 !== 7 && offset !== 9_000) judge.line(0, `accepts 0 ${offset}`);
  }
  assert.equal(judge.missing([10_000]), 1);
  judge.line(0, "accepts 0 9000");
  assert.equal(judge.missing([10_000]), 0);
});
