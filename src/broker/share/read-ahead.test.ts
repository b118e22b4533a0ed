import assert from "node:assert/strict";
import { test } from "node:test";
import { SimClock } from "../../sim/clock.ts";
import { SimRandom } from "../../sim/random.ts";
import { Scheduler } from "../../sim/scheduler.ts";
import { ReadAhead } from "./read-ahead.ts";

function room(bytesMax: number) {
  const scheduler = new Scheduler(new SimRandom(1));
  const ahead = new ReadAhead(new SimClock(scheduler), bytesMax);
  const forgotten: string[] = [];
  const keep = (name: string, entered: number, bytes = entered) =>
    ahead.keep(entered, bytes, () => forgotten.push(name));
  return { scheduler, ahead, forgotten, keep };
}

test("what is kept never exceeds the bound: what was kept longest goes for what is to be read", async () => {
  const { ahead, forgotten, keep } = room(100);
  for (const name of ["a", "b", "c", "d", "e"]) {
    await ahead.enter(40);
    assert.ok(ahead.bytes <= 100);
    keep(name, 40, 30);
  }
  assert.deepEqual(forgotten, ["a", "b"]);
  assert.equal(ahead.bytes, 90);
});

test("reads under way count, and who waits for them enters when one of them is kept, or was for nothing", async () => {
  const { ahead, forgotten, keep } = room(100);
  await Promise.all([ahead.enter(50), ahead.enter(50)]);
  const entered: number[] = [];
  for (const each of [1, 2, 3]) void ahead.enter(50).then(() => entered.push(each));
  await Promise.resolve();
  assert.deepEqual(entered, []);
  keep("a", 50, 40);
  keep("b", 50, 40);
  await new Promise(setImmediate);
  assert.deepEqual([entered, forgotten, ahead.bytes], [[1], ["a"], 90]);
  ahead.giveBack(50);
  await new Promise(setImmediate);
  assert.deepEqual(entered, [1, 2]);
});

test("what was let go frees its room once, and what nobody takes goes by itself", async () => {
  const { scheduler, ahead, forgotten, keep } = room(100);
  await ahead.enter(50);
  const letGo = keep("a", 50);
  letGo();
  letGo();
  assert.equal(ahead.bytes, 0);
  await ahead.enter(50);
  keep("b", 50);
  await scheduler.run({ untilMs: 6_000 });
  await ahead.enter(50);
  keep("c", 50);
  await scheduler.run({ untilMs: 11_000 });
  assert.deepEqual([forgotten, ahead.bytes], [["b"], 50]);
  await scheduler.run({ untilMs: 17_000 });
  assert.deepEqual([forgotten, ahead.bytes], [["b", "c"], 0]);
});
