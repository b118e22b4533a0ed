import assert from "node:assert/strict";
import { test } from "node:test";
import { Scheduler } from "../sim/scheduler.ts";
import { SimClock } from "../sim/clock.ts";
import { SimRandom } from "../sim/random.ts";
import { Pace, PaceClosedError } from "./pace.ts";

function aWorld(bytesPerSecond: number) {
  const scheduler = new Scheduler(new SimRandom(1));
  const pace = new Pace(new SimClock(scheduler), () => bytesPerSecond);
  return { scheduler, pace };
}

test("lets so many bytes through in a second, in large and in small pieces", async () => {
  for (const piece of [1_000, 100_000, 5_000_000]) {
    const { scheduler, pace } = aWorld(1_000_000);
    const spend = async (): Promise<void> => {
      for (let spent = 0; spent < 20_000_000; spent += piece) await pace.spend(piece);
    };
    await scheduler.runUntil(spend());
    assert.ok(scheduler.nowMs > 19_000 && scheduler.nowMs < 21_000, `${piece}: ${scheduler.nowMs} ms`);
  }
});

test("without a bound it still gives the event loop its turn", async () => {
  const { scheduler, pace } = aWorld(Infinity);
  const before = scheduler.events;
  await scheduler.runUntil(pace.spend(300_000));
  await scheduler.runUntil(pace.spend(0));
  assert.ok(scheduler.events >= before + 2);
  assert.ok(scheduler.nowMs < 5);
});

test("closing ends a wait at once, and everything after it", async () => {
  const { scheduler, pace } = aWorld(1);
  const waiting = pace.spend(1_000_000);
  await scheduler.run({ untilMs: 10 });
  pace.close();
  await assert.rejects(waiting, PaceClosedError);
  await assert.rejects(pace.spend(1), PaceClosedError);
  assert.ok(scheduler.nowMs <= 10);
});
