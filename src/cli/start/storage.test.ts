import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { RefusedError } from "../../base/errors.ts";
import type { Env, Facts } from "../../base/ports.ts";
import { health } from "../../http/health.ts";
import { systemClock } from "../../io/clock.ts";
import { systemRandom } from "../../io/random.ts";
import { BucketError } from "../../io/s3/bucket-error.ts";
import { FakeBucket, type FakeBucketOptions } from "../../io/s3/fake-bucket.ts";
import { hastyClock, keys, SummingMeter } from "../../io/s3/store-fixture.ts";
import { slotKey } from "../../metadata/slot.ts";
import { openStorage, type OpenedStorage } from "./storage.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-storage-"));
const ends: (() => unknown)[] = [];
after(async () => {
  for (const end of ends.toReversed()) await end();
  rmSync(scratch, { recursive: true, force: true });
});

async function aBucket(options: FakeBucketOptions = {}): Promise<FakeBucket> {
  const fake = await FakeBucket.start(options);
  ends.push(() => fake.close());
  return fake;
}

async function open(
  fake: { readonly endpoint: string },
  more: { readonly factor?: number; readonly lines?: string[]; readonly region?: string } = {},
  environment: { readonly [name: string]: string } = keys,
): Promise<OpenedStorage> {
  const note = (event: string, facts?: Facts): void =>
    void more.lines?.push(`${event} ${JSON.stringify(facts ?? {})}`);
  const env: Env = {
    clock: more.factor === undefined ? systemClock : hastyClock(more.factor),
    random: systemRandom(),
    log: { debug: note, info: note, warn: note, error: note },
    meter: new SummingMeter(),
  };
  const { endpoint } = fake;
  const choice = { kind: "store", name: "s3://bucket/orders", endpoint, region: more.region } as const;
  const settings = { direct: true, environment: { HOME: scratch, ...environment } };
  const opened = await openStorage(choice, env, settings);
  ends.push(() => opened.close());
  return opened;
}

const refuses = (opening: Promise<unknown>, kind: Function, sentence: RegExp): Promise<void> =>
  assert.rejects(opening, (error: Error) => {
    assert.ok(error instanceof kind, String(error.stack));
    assert.match(error.message, sentence);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  });

const inUse = (fake: FakeBucket): void => void fake.objects.set(`orders/${slotKey(0)}`, new Uint8Array([1]));
const wholeRule = `<LifecycleConfiguration><Rule><ID>tidy</ID><Status>Enabled</Status><Filter><Prefix>orders/</Prefix></Filter><Expiration><Days>30</Days></Expiration></Rule></LifecycleConfiguration>`;

test("an empty bucket is tried before anything is written, and says what an acknowledgement means", async () => {
  const fake = await aBucket();
  const opened = await open(fake);
  assert.equal(opened.isNew, true);
  assert.equal(fake.objects.size, 0, "nothing of the probe stays");
  assert.ok(fake.requests.length > 100);
  assert.equal(opened.place, `s3://bucket/orders/ at ${fake.endpoint}`);
  assert.equal(opened.ack, `in the bucket, s3://bucket/orders/ at ${fake.endpoint}`);
  assert.equal(opened.doesNotSurvive, "loss of the bucket");
});

test("a bucket in use is not tried again at each start, but looked at for rules that would delete", async () => {
  const fake = await aBucket();
  inUse(fake);
  assert.equal((await open(fake)).isNew, false);
  assert.deepEqual(
    fake.requests.map(({ method, key, query }) => `${method} ${key ?? [...query.keys()].join()}`),
    [`GET orders/${slotKey(0)}`, "GET lifecycle"],
  );
});

test("a bucket that ignores conditions begins no cluster", async () => {
  const fake = await aBucket({ weakness: "ignores-conditions" });
  await refuses(
    open(fake),
    RefusedError,
    /cannot keep records safely; taken names: .*If-None-Match.*Do not use it/,
  );
  assert.equal(fake.objects.size, 0);
});

test("a rule that would delete from under the brokers refuses a first start and each later one", async () => {
  const fake = await aBucket({ lifecycleXml: wholeRule });
  const sentence =
    /cannot keep records safely; lifecycle: the rule tidy deletes objects whose keys begin with orders\/ after 30 days: acknowledged records would be lost.*Remove the rule, or take this prefix out/;
  await refuses(open(fake), RefusedError, sentence);
  inUse(fake);
  await refuses(open(fake), RefusedError, sentence);
});

test("what only a person can change is one sentence with what to do", async () => {
  const fake = await aBucket();
  const other = { ...keys, AWS_ACCESS_KEY_ID: "NOBODY" };
  await refuses(open(fake, {}, other), BucketError, /^The credentials are not accepted for s3:.*give others/);
  await refuses(
    open(fake, {}, { AWS_EC2_METADATA_DISABLED: "true" }),
    BucketError,
    /^No credentials .*Set the two variables/,
  );
  const missing = await aBucket({ bucket: "another" });
  await refuses(open(missing), BucketError, /^There is no bucket bucket .*create it\. If it held data/);
  const elsewhere = await aBucket({ region: "eu-north-1" });
  await refuses(
    open(elsewhere),
    BucketError,
    /is in eu-north-1, and was asked for in us-east-1.*--region eu-north-1/,
  );
  assert.equal((await open(elsewhere, { region: "eu-north-1" })).isNew, true);
});

test("a clock that is too far off is corrected by the store's, and said", async () => {
  const lines: string[] = [];
  await open(await aBucket({ skewMs: 20 * 60_000 }), { lines });
  assert.ok(
    lines.some((line) => /^store\.risk .*clock is 1200 s behind the store's.*Set the clock/.test(line)),
    lines.join("\n"),
  );
});

test("a bucket that does not answer refuses the start after a while, and says what is in the way", async () => {
  await refuses(
    open({ endpoint: "http://127.0.0.1:9" }, { factor: 20 }),
    RefusedError,
    /did not answer within 30 s \(.*nothing listens there.*\): check the network and the endpoint .*Nothing was changed/,
  );
});

test("while the bucket is away health says for how long and what waits, and again that all is well", async () => {
  const away: FakeBucketOptions = {};
  const fake = await aBucket(away);
  const opened = await open(fake);
  assert.equal(opened.storage.kind, "objects");
  const { store } = opened.storage as Extract<typeof opened.storage, { kind: "objects" }>;
  const broker = { health: () => ({ canAcknowledge: true, reason: null }) };
  assert.equal(health(broker, opened.trouble(0)).status, 200);
  away.fault = () => ({ kind: "error", status: 503, code: "ServiceUnavailable" });
  const put = () => store.putIfAbsent("wal/1", [new Uint8Array(1_000_000)], 1_000_000).catch(() => null);
  const untilMs = performance.now() + 20_000;
  while (opened.trouble(0) === null && performance.now() < untilMs) await put();
  const { status, text } = health(broker, opened.trouble(0));
  assert.equal(status, 503);
  assert.match(
    text,
    /^\{"canAcknowledge":false,"reason":"bucket unreachable for \d+ s \(HTTP 503 ServiceUnavailable\), 1\.0 MB waiting"\}\n$/,
  );
  assert.match(opened.trouble(12_000_000) ?? "", /, 12\.0 MB waiting$/, "with what the log has not sent yet");
  away.fault = () => null;
  while (opened.trouble(0) !== null && performance.now() < untilMs) await put();
  assert.equal(health(broker, opened.trouble(0)).status, 200);
});
