/** A bound on how long something is waited for. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SimClock } from "../sim/clock.ts";
import { SimRandom } from "../sim/random.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { sleep, within } from "./ports.ts";

describe("a bounded wait", () => {
  function world() {
    const scheduler = new Scheduler(new SimRandom(1));
    return { scheduler, clock: new SimClock(scheduler) };
  }

  test("tells what became of the work, and leaves no timer behind", async () => {
    const { scheduler, clock } = world();
    const work = sleep(clock, 10).then(() => "done");
    assert.equal(await scheduler.runUntil(within(clock, 1_000, work, () => "late")), "done");
    await scheduler.run({ untilMs: 5_000 });
    assert.equal(scheduler.events, 1);
  });

  test("tells of the failure of the work", async () => {
    const { scheduler, clock } = world();
    const work = sleep(clock, 10).then(() => Promise.reject(new Error("no")));
    await assert.rejects(scheduler.runUntil(within(clock, 1_000, work, () => undefined)), /no/);
  });

  test("ends when the time is over, with another answer or an error, whatever becomes of the work", async () => {
    const { scheduler, clock } = world();
    const fail = () => sleep(clock, 2_000).then(() => Promise.reject<string>(new Error("nobody hears this")));
    assert.equal(await scheduler.runUntil(within(clock, 1_000, fail(), () => "late")), "late");
    const refuse = (): never => {
      throw new Error("too late");
    };
    await assert.rejects(scheduler.runUntil(within(clock, 1_000, fail(), refuse)), /too late/);
    await scheduler.run({ untilMs: 10_000 });
  });
});
