import assert from "node:assert/strict";
import { test } from "node:test";
import { DamageError } from "../../base/errors.ts";
import { drawWeather, fairWeather, SimBucket } from "../../sim/bucket.ts";
import { simSha256 } from "../../sim/env.ts";
import { SimProcess } from "../../sim/process.ts";
import { SimRandom } from "../../sim/random.ts";
import { Scheduler } from "../../sim/scheduler.ts";
import { silentLogger, silentMeter } from "../../sim/silence.ts";
import { peerKey, peerKeyName } from "./peer-key.ts";

function aBucket(seed = 1) {
  const random = new SimRandom(seed);
  const scheduler = new Scheduler(random);
  const bucket = new SimBucket(scheduler, random);
  /** As the next broker of the cluster gets it. */
  const key = (name = "one", clusterId = "cluster") => {
    const process = new SimProcess(name, scheduler);
    const env = { clock: process.clock, random: random.fork(name), log: silentLogger, meter: silentMeter };
    return peerKey({ env, store: bucket.connect(process), sha256: simSha256, clusterId });
  };
  return { scheduler, bucket, random, key };
}

test("brokers that start at once in any weather have one key, and who starts later has it too", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const { scheduler, bucket, random, key } = aBucket(seed);
    bucket.weather = drawWeather(random, 0.7);
    const keys = await scheduler.runUntil(Promise.all(["one", "two", "three"].map((name) => key(name))));
    bucket.weather = fairWeather;
    keys.push(await scheduler.runUntil(key("four")));
    assert.equal(keys[0]?.byteLength, 32);
    for (const each of keys) assert.deepEqual(each, keys[0], `seed ${seed}`);
  }
});

test("two clusters have two keys", async () => {
  const [one, other] = [aBucket(1), aBucket(2)];
  assert.notDeepEqual(await one.scheduler.runUntil(one.key()), await other.scheduler.runUntil(other.key()));
});

test("a key that is damaged, or of another cluster, is refused with a sentence that says what to do", async () => {
  const { scheduler, bucket, key } = aBucket();
  await scheduler.runUntil(key());
  await assert.rejects(scheduler.runUntil(key("one", "another")), (error) => {
    return (
      error instanceof DamageError && /peer\/key.*belongs to cluster cluster.*delete it/.test(error.message)
    );
  });
  const bytes = bucket.objects.get(peerKeyName) as Uint8Array;
  for (let at = 0; at < bytes.byteLength; at++) {
    bytes[at] = (bytes[at] as number) ^ 1;
    await assert.rejects(scheduler.runUntil(key()), DamageError);
    bytes[at] = (bytes[at] as number) ^ 1;
  }
  await scheduler.runUntil(key());
});
