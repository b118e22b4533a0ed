import assert from "node:assert/strict";
import { test } from "node:test";
import { SimProcess } from "../sim/process.ts";
import { SimRandom } from "../sim/random.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { AwakeClock } from "./awake-clock.ts";

function aProcess() {
  const scheduler = new Scheduler(new SimRandom(1));
  const process = new SimProcess("coordinator", scheduler);
  const awake = new AwakeClock(process.clock);
  const pass = (ms: number) => scheduler.run({ untilMs: scheduler.nowMs + ms });
  /** As whoever judges does it: always with a timer ahead. */
  const keepArmed = (): void => void awake.schedule(60_000, keepArmed);
  return { process, awake, pass, keepArmed };
}

test("time in which the process stood still does not count, nor the time in which members are heard again", async () => {
  const { process, awake, pass, keepArmed } = aProcess();
  keepArmed();
  await pass(20_500);
  assert.equal(awake.monotonicMs(), 20_500);
  process.pause();
  await pass(3_600_000);
  process.resume();
  await pass(1);
  const woken = awake.monotonicMs();
  assert.ok(woken >= 20_500 && woken <= 21_500, `${woken}`);
  await pass(9_000);
  assert.equal(awake.monotonicMs(), woken);
  await pass(11_000);
  const later = awake.monotonicMs();
  assert.ok(Math.abs(later - woken - 10_000) <= 10, `${later - woken} ms later`);
});

test("a request that is read before the timers, when the process wakes, is judged by the same clock", async () => {
  const { process, awake, pass, keepArmed } = aProcess();
  keepArmed();
  await pass(20_500);
  process.pause();
  await pass(3_600_000);
  // Nothing that was due has run yet.
  assert.ok(awake.monotonicMs() <= 21_500);
  process.resume();
  await pass(1);
  assert.ok(awake.monotonicMs() <= 21_500);
});

test("a loop that is only slow hides nobody's silence", async () => {
  const { process, awake, pass, keepArmed } = aProcess();
  keepArmed();
  for (let second = 0; second < 60; second++) {
    process.pause();
    await pass(1_900);
    process.resume();
    await pass(100);
  }
  assert.equal(awake.monotonicMs(), 120_000);
});
