import assert from "node:assert/strict";
import { test } from "node:test";
import { SimClock } from "../../sim/clock.ts";
import { SimRandom } from "../../sim/random.ts";
import { Scheduler } from "../../sim/scheduler.ts";
import { silentLogger } from "../../sim/silence.ts";
import { create } from "../../store/create.ts";
import { OutcomeUnknownError } from "../../store/errors.ts";
import { BucketError } from "./bucket-error.ts";
import { HedgedPut, type PutOutcome } from "./hedged-put.ts";
import { HedgeClock } from "./hedge.ts";
import { Lanes } from "./lanes.ts";
import { RequestCosts } from "./prices.ts";
import { Reachability } from "./reachability.ts";
import { UndecidedPuts } from "./undecided-puts.ts";

function time() {
  const random = new SimRandom(1);
  const scheduler = new Scheduler(random);
  const clock = new SimClock(scheduler);
  return {
    clock,
    random,
    log: silentLogger,
    advance: (ms: number) => scheduler.run({ untilMs: scheduler.nowMs + ms }),
  };
}

test("lanes let so many requests and bytes leave, in order, and turn away who would wait behind too many", async () => {
  const lanes = new Lanes({ requests: 3, bytes: 100, waiting: 3 });
  const entered: string[] = [];
  const leaves = new Map<string, () => void>();
  const enter = (name: string, bytes: number): Promise<void> =>
    lanes.enter(bytes).then((leave) => {
      entered.push(name);
      leaves.set(name, leave);
    });
  const all = [enter("large", 500), enter("a", 60), enter("b", 60), enter("c", 10)];
  await assert.rejects(lanes.enter(1), OutcomeUnknownError);
  await all[0];
  assert.deepEqual(entered, ["large"]);
  leaves.get("large")?.();
  leaves.get("large")?.();
  await all[1];
  assert.deepEqual(entered, ["large", "a"], "b does not fit, and c does not pass it");
  leaves.get("a")?.();
  await Promise.all(all);
  assert.deepEqual(entered, ["large", "a", "b", "c"]);
  assert.equal(lanes.inFlight, 2);
  assert.equal(lanes.hasRoom(30), true);
  assert.equal(lanes.hasRoom(40), false);
});

test("a run of failures that lasts is an outage: one asks, the others wait, and all go on with the first answer", async () => {
  const { advance, ...ports } = time();
  const reachability = new Reachability("it", ports);
  for (let failure = 0; failure < 4; failure++) {
    reachability.failed("503");
    await advance(500);
  }
  assert.equal(reachability.unreachableMs, 0);
  reachability.failed("503");
  assert.equal(reachability.unreachableMs, 2_000);
  let through = 0;
  let failed = 0;
  const ask = () =>
    reachability.enter().then(
      () => through++,
      (error: Error) => {
        assert.ok(error instanceof OutcomeUnknownError);
        assert.match(error.message, /it has been unreachable for \d+ s \(503\)/);
        failed++;
      },
    );
  for (let at = 0; at < 20; at++) void ask();
  await advance(4_900);
  assert.ok(through >= 2 && through <= 9, `${through} asked`);
  assert.equal(failed, 0);
  const before = through;
  reachability.succeeded();
  await advance(1);
  assert.ok(before < 20);
  assert.equal(through, 20);
  assert.equal(reachability.unreachableMs, 0);
});

test("who waits for the bucket is told after a while that nothing is known", async () => {
  const { advance, ...ports } = time();
  const reachability = new Reachability("it", ports);
  for (let failure = 0; failure < 6; failure++) {
    reachability.failed("reset");
    await advance(300);
  }
  const outcomes = Array.from({ length: 30 }, () =>
    reachability.enter().then(
      () => "asks",
      () => "told",
    ),
  );
  await advance(6_000);
  assert.ok((await Promise.all(outcomes)).filter((outcome) => outcome === "told").length >= 15);
  assert.equal(reachability.waiting, 0);
});

test("a bucket that was away for long has everything that waited for it within two seconds", async () => {
  const { advance, ...ports } = time();
  const reachability = new Reachability("it", ports);
  let isAway = true;
  let puts = 0;
  const store = {
    putIfAbsent: async () => {
      await reachability.enter();
      puts++;
      if (!isAway) {
        reachability.succeeded();
        return "created" as const;
      }
      reachability.failed("reset");
      throw new OutcomeUnknownError("reset");
    },
    get: () => Promise.resolve(null),
    list: () => Promise.resolve([]),
    delete: () => Promise.resolve(),
  };
  let created = 0;
  for (let slot = 0; slot < 8; slot++) {
    void create(store, `slot-${slot}`, new Uint8Array(1), ports).then(() => created++);
  }
  for (let second = 0; second < 60; second++) await advance(1_000);
  assert.ok(puts > 30 && puts < 250, `${puts} puts in a minute`);
  assert.equal(created, 0);
  isAway = false;
  await advance(2_000);
  assert.equal(created, 8);
});

test("a bucket that answers in between is not called unreachable", async () => {
  const { advance, ...ports } = time();
  const reachability = new Reachability("it", ports);
  for (let at = 0; at < 100; at++) {
    if (at % 4 === 0) reachability.succeeded();
    else reachability.failed("503");
    await advance(1_000);
    assert.equal(reachability.unreachableMs, 0);
  }
});

test("hedges begin after what 95 of 100 puts of the size took, within a budget", () => {
  const hedges = new HedgeClock(20);
  for (let ms = 1; ms <= 19; ms++) hedges.observe(100, ms * 10);
  assert.equal(hedges.delayMs(100), null);
  hedges.observe(100, 200);
  assert.equal(hedges.delayMs(100), 200);
  assert.equal(hedges.delayMs(500_000), null, "another size has another pace");
  assert.equal(hedges.delayMs(100_000_000), null);
  for (let put = 0; put < 128; put++) hedges.observe(100, 1);
  assert.equal(hedges.delayMs(100), 20);
  let taken = 0;
  while (hedges.take()) taken++;
  assert.equal(taken, 10);
  for (let put = 0; put < 11; put++) hedges.observe(100, 1);
  assert.equal(hedges.take(), true);
  assert.equal(hedges.take(), false);
});

const unknown: PutOutcome = { kind: "failed", error: new OutcomeUnknownError("?") };
const refused: PutOutcome = { kind: "failed", error: new BucketError("denied", "no") };

test("hedges that never come first are nearly given up, and are back when they do", () => {
  const hedges = new HedgeClock(20);
  const hedgesIn = (puts: number, isFirst: boolean): number => {
    let taken = 0;
    for (let put = 0; put < puts; put++) {
      hedges.observe(100, 1);
      if (!hedges.take()) continue;
      taken++;
      if (isFirst) hedges.won();
    }
    return taken;
  };
  hedgesIn(500, false);
  assert.ok(hedgesIn(1_000, false) <= 11);
  // The few that are left find out.
  hedgesIn(500, true);
  assert.ok(hedgesIn(1_000, true) >= 99);
});

/** Two puts that end after so many ms; the hedge begins at 100. */
async function hedged(first: [number, PutOutcome], second: [number, PutOutcome], mayHedge = () => true) {
  const { clock, advance } = time();
  const ends = [first, second];
  const signals: AbortSignal[] = [];
  const put = new HedgedPut({
    clock,
    hedgeMs: 100,
    put: (signal) => {
      const [ms, outcome] = ends[signals.length] as [number, PutOutcome];
      signals.push(signal);
      return new Promise((resolve) => clock.schedule(ms, () => resolve(outcome)));
    },
    mayHedge,
    onHedgeWon: () => undefined,
  });
  let at = -1;
  const outcome = put.outcome().then((found) => {
    at = clock.monotonicMs();
    return found.kind === "failed" ? found.error.code : found.kind;
  });
  await advance(10_000);
  assert.ok(
    signals.every(({ aborted }) => aborted),
    "nothing is sent afterwards",
  );
  return { outcome: await outcome, at: Math.round(at), sent: signals.length };
}

test("of two identical puts the certain answer counts", async () => {
  const created: PutOutcome = { kind: "created" };
  const exists: PutOutcome = { kind: "exists" };
  assert.deepEqual(await hedged([50, created], [0, created]), { outcome: "created", at: 50, sent: 1 });
  assert.deepEqual(await hedged([900, created], [50, created]), { outcome: "created", at: 150, sent: 2 });
  assert.deepEqual(await hedged([400, created], [50, exists]), { outcome: "created", at: 400, sent: 2 });
  assert.deepEqual(await hedged([5_000, created], [50, exists]), { outcome: "exists", at: 1_150, sent: 2 });
  assert.deepEqual(await hedged([200, exists], [50, exists]), { outcome: "exists", at: 200, sent: 2 });
  assert.deepEqual(await hedged([200, unknown], [500, created]), { outcome: "created", at: 600, sent: 2 });
  assert.deepEqual(await hedged([200, refused], [500, unknown]), {
    outcome: "OUTCOME_UNKNOWN",
    at: 600,
    sent: 2,
  });
  assert.deepEqual(await hedged([200, refused], [50, refused]), { outcome: "BUCKET", at: 200, sent: 2 });
});

test("a put that hangs since the bucket went is sent again soon after its return", async () => {
  let isAway = true;
  let asked = 0;
  const mayHedge = (): boolean => {
    // Away at 100, 1,100 and 2,100 ms.
    if (++asked > 3) isAway = false;
    return !isAway;
  };
  const put = await hedged([9_000, unknown], [50, { kind: "created" }], mayHedge);
  assert.deepEqual(put, { outcome: "created", at: 3_150, sent: 2 });
});

test("bytes that wait are those on their way and those of which nothing is known", () => {
  const puts = new UndecidedPuts();
  assert.equal(puts.begin("a", 10), false);
  assert.equal(puts.begin("b", 5), false);
  puts.end("a", false);
  assert.equal(puts.bytes, 15);
  assert.equal(puts.begin("a", 10), true);
  assert.equal(puts.bytes, 15);
  puts.end("a", true);
  puts.end("b", true);
  assert.equal(puts.bytes, 0);
  for (let at = 0; at < 5_000; at++) {
    puts.begin(`k${at}`, 1);
    puts.end(`k${at}`, false);
  }
  assert.equal(puts.bytes, 4_096);
});

test("what an hour costs follows the last hour", async () => {
  const { clock, advance } = time();
  const costs = new RequestCosts(clock);
  for (let minute = 0; minute < 120; minute++) {
    for (let put = 0; put < 100; put++) costs.count("put");
    assert.ok(Math.abs(costs.dollarsPerHour() - 100 * 60 * 0.000005) < 1e-9, `minute ${minute}`);
    await advance(60_000);
  }
  await advance(59 * 60_000);
  assert.ok(costs.dollarsPerHour() < 1e-12);
});
