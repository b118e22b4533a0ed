import assert from "node:assert/strict";
import { test } from "node:test";
import { OutcomeUnknownError } from "../store/errors.ts";
import { type BucketFaults, drawWeather, fairWeather, noBucketFaults, SimBucket } from "./bucket.ts";
import { SimProcess } from "./process.ts";
import { SimRandom } from "./random.ts";
import { Scheduler } from "./scheduler.ts";

function aBucket(faults: Partial<BucketFaults> = {}, seed = 1) {
  const random = new SimRandom(seed);
  const scheduler = new Scheduler(random);
  const weather = { ...fairWeather, faults: { ...noBucketFaults, ...faults }, lateMs: 10_000, slowMs: 5_000 };
  const bucket = new SimBucket(scheduler, random, weather);
  const process = new SimProcess("one", scheduler);
  return { scheduler, bucket, process, store: bucket.connect(process) };
}
const body = (value: number): readonly Uint8Array[] => [Uint8Array.of(value)];

test("of many processes that create a name at once in any weather one wins, and everybody reads its bytes", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const { scheduler, bucket } = aBucket({}, seed);
    const random = new SimRandom(seed);
    bucket.weather = drawWeather(random, 0.8);
    const rivals = Array.from({ length: 4 }, (_, at) => new SimProcess(`rival ${at}`, scheduler));
    const puts = rivals.map((rival, at) => bucket.connect(rival).putIfAbsent("meta/1", body(at), 1));
    const outcomes = await scheduler.runUntil(Promise.allSettled(puts));
    await scheduler.run();
    const told = outcomes.flatMap((each, at) =>
      each.status === "fulfilled" && each.value === "created" ? [at] : [],
    );
    assert.ok(told.length <= 1, `seed ${seed}: ${told.length} were told that they had won`);
    const there = bucket.objects.get("meta/1")?.[0];
    if (told.length === 1) assert.equal(there, told[0]);
  }
});

test("a put without an answer may land long after its sender died", async () => {
  const { scheduler, bucket, process, store } = aBucket({ late: 1 });
  const put = store.putIfAbsent("wal/1/1", body(1), 1);
  await assert.rejects(scheduler.runUntil(put), OutcomeUnknownError);
  process.kill();
  assert.equal(bucket.objects.size, 0);
  await scheduler.run();
  assert.equal(bucket.objects.size, 1);
});

test("a doubled put lands again after a deletion", async () => {
  const { scheduler, bucket, store } = aBucket({ doubled: 0 });
  bucket.weather = { ...bucket.weather, faults: { ...noBucketFaults, doubled: 1 } };
  const put = store.putIfAbsent("wal/1/1", body(1), 1);
  bucket.weather = { ...bucket.weather, faults: noBucketFaults };
  assert.equal(await scheduler.runUntil(put), "created");
  await scheduler.runUntil(store.delete("wal/1/1"));
  assert.equal(bucket.objects.size, 0);
  await scheduler.run();
  assert.equal(bucket.objects.size, 1);
});

test("a listing may be old, and then shows what was deleted and not what is new", async () => {
  const { scheduler, bucket, store } = aBucket();
  await scheduler.runUntil(store.putIfAbsent("wal/1/1", body(1), 1));
  await scheduler.run({ untilMs: 20_000 });
  await scheduler.runUntil(store.putIfAbsent("wal/1/2", body(1), 1));
  await scheduler.runUntil(store.delete("wal/1/1"));
  bucket.weather = { ...bucket.weather, faults: { ...noBucketFaults, oldList: 1 } };
  const listings = new Set<string>();
  for (let at = 0; at < 30; at++) {
    listings.add((await scheduler.runUntil(store.list("wal/"))).map(({ key }) => key).join());
  }
  assert.ok(listings.has("wal/1/1"), [...listings].join(" | "));
  bucket.weather = fairWeather;
  assert.deepEqual(
    (await scheduler.runUntil(store.list("wal/"))).map(({ key }) => key),
    ["wal/1/2"],
  );
});

test("the sender of a request that created its name may be told that it exists", async () => {
  const { scheduler, store } = aBucket({ ownSuccess: 1 });
  assert.equal(await scheduler.runUntil(store.putIfAbsent("meta/1", body(1), 1)), "exists");
});

test("a paused process hears nothing, its requests are served, and it goes on where it was", async () => {
  const { scheduler, bucket, process, store } = aBucket();
  const heard: string[] = [];
  void store.putIfAbsent("meta/1", body(1), 1).then(() => heard.push("put"));
  process.clock.schedule(5, () => heard.push("timer"));
  const cancelled = process.clock.schedule(6, () => heard.push("cancelled"));
  process.pause();
  await scheduler.run({ untilMs: 60_000 });
  assert.deepEqual(heard, []);
  assert.equal(bucket.objects.size, 1);
  cancelled.cancel();
  process.resume();
  await scheduler.run();
  assert.deepEqual(new Set(heard), new Set(["put", "timer"]));
  assert.ok(process.clock.monotonicMs() >= 60_000);
});

test("a process can be stopped again between any two things that reach it", async () => {
  const { scheduler, process } = aBucket();
  const heard: number[] = [];
  for (let at = 0; at < 3; at++) {
    process.clock.schedule(at, () => {
      heard.push(at);
      process.pause();
    });
  }
  process.pause();
  await scheduler.run({ untilMs: 10 });
  for (let at = 1; at <= 3; at++) {
    process.resume();
    await scheduler.run();
    assert.equal(heard.length, at);
  }
  assert.deepEqual(heard, [0, 1, 2]);
});

test("who is cut off gets no answer while others do, and an outage answers nobody", async () => {
  const { scheduler, bucket, process, store } = aBucket();
  const other = bucket.connect(new SimProcess("other", scheduler));
  bucket.cutOff(process);
  await assert.rejects(scheduler.runUntil(store.get("meta/1")), OutcomeUnknownError);
  assert.equal(await scheduler.runUntil(other.get("meta/1")), null);
  bucket.reconnect(process);
  bucket.storm(1_000, 1);
  await assert.rejects(scheduler.runUntil(store.get("meta/1")), OutcomeUnknownError);
  await scheduler.run({ untilMs: scheduler.nowMs + 1_000 });
  assert.equal(await scheduler.runUntil(store.get("meta/1")), null);
  assert.equal(bucket.counts.faulted, 2);
  assert.equal(bucket.counts.requests, 4);
});
