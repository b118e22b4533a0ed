import assert from "node:assert/strict";
import { after, test } from "node:test";
import { describeObjectStore } from "../../store/object-store.contract.ts";
import { create } from "../../store/create.ts";
import { OutcomeUnknownError } from "../../store/errors.ts";
import { systemClock } from "../clock.ts";
import { systemRandom } from "../random.ts";
import { BucketError, type BucketTrouble } from "./bucket-error.ts";
import { FakeBucket, type FakeBucketOptions, type FakeFault } from "./fake-bucket.ts";
import { hastyClock, keys, storeBefore } from "./store-fixture.ts";
import type { S3Store } from "./store.ts";

const started: { close(): unknown }[] = [];
after(async () => {
  for (const each of started) await each.close();
});

async function bucket(options: FakeBucketOptions = {}): Promise<FakeBucket> {
  const fake = await FakeBucket.start(options);
  started.push(fake);
  return fake;
}

function open(
  fake: FakeBucket,
  options: Parameters<typeof storeBefore>[1] = {},
): ReturnType<typeof storeBefore> {
  const store = storeBefore(fake, options);
  started.push(store);
  return store;
}

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const textOf = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString();
const put = (store: S3Store, key: string, text: string): Promise<"created" | "exists"> =>
  store.putIfAbsent(key, [bytesOf(text)], text.length);
const ports = { clock: hastyClock(20), random: systemRandom() };

describeObjectStore("a bucket", async () => ({ store: open(await bucket()) }));
describeObjectStore("a bucket whose listings have pages of two, without a prefix", async () => ({
  store: open(await bucket(), { pageObjects: 2, url: "s3://bucket" }),
}));

test("every object is made by one conditional put that is signed", async () => {
  const fake = await bucket();
  const store = open(fake);
  await put(store, "meta/1", "one");
  await store.putIfAbsent("seg/1", [new Uint8Array(300_000), new Uint8Array(400_000)], 700_000);
  assert.deepEqual([...fake.objects.keys()], ["holdfast/meta/1", "holdfast/seg/1"]);
  for (const { method, headers, query } of fake.requests) {
    assert.equal(method, "PUT");
    assert.equal(headers["if-none-match"], "*");
    assert.equal([...query].length, 0);
  }
});

/** What comes of a put that meets this, and what is in the bucket then. */
async function putMeeting(
  fault: FakeFault,
): Promise<{ outcome: string; stored: string | null; sent: number }> {
  const fake = await bucket({ fault: ({ method }) => (method === "PUT" ? fault : null) });
  const store = open(fake, { limits: { stallMs: 200 } });
  const outcome = await put(store, "meta/1", "one").catch((error: Error) => error.name);
  const stored = textOf(fake.objects.get("holdfast/meta/1") ?? null);
  return { outcome, stored, sent: fake.requests.length };
}

test("a put whose answer does not tell is unknown, whether it was done or not, and is not sent again", async () => {
  const unknown = [
    [409, "ConditionalRequestConflict"],
    [500, "InternalError"],
    [503, "SlowDown"],
    [504, "GatewayTimeout"],
    [429, "TooManyRequests"],
    [400, "RequestTimeout"],
    [400, "BadDigest"],
  ] as const;
  for (const [status, code] of unknown) {
    for (const applies of [true, false]) {
      const stored = applies ? "one" : null;
      const met = await putMeeting({ kind: "error", status, code, applies });
      assert.deepEqual(met, { outcome: "OutcomeUnknownError", stored, sent: 1 }, `${status} ${code}`);
    }
  }
  for (const applies of [true, false]) {
    const stored = applies ? "one" : null;
    const met = await putMeeting({ kind: "reset", applies });
    assert.deepEqual(met, { outcome: "OutcomeUnknownError", stored, sent: 1 });
  }
  const stalled = await putMeeting({ kind: "stall" });
  assert.deepEqual(stalled, { outcome: "OutcomeUnknownError", stored: null, sent: 1 });
});

test("what is not an error of an S3 store says nothing about an object", async () => {
  const fake = await bucket({ fault: () => ({ kind: "error", status: 404, code: "NotOurs" }) });
  const store = open(fake, {
    clock: hastyClock(20),
    limits: { stallMs: 60_000, connectMs: 60_000, totalMs: 200_000 },
  });
  await assert.rejects(store.get("meta/1"), OutcomeUnknownError);
  await assert.rejects(store.list(""), OutcomeUnknownError);
});

test("an answer that was lost is found out by reading: the object is ours", async () => {
  const fake = await bucket({
    fault: ({ method, number }) =>
      method === "PUT" && number === 0 ? { kind: "reset", applies: true } : null,
  });
  const store = open(fake);
  assert.deepEqual(await create(store, "meta/1", bytesOf("one"), ports), { kind: "mine" });
  assert.equal(store.meter.sum("holdfast_s3_retries_total put"), 1);
  assert.equal(fake.creations.get("holdfast/meta/1"), 1);
});

async function refusal(
  options: FakeBucketOptions,
  how: Parameters<typeof storeBefore>[1] = {},
): Promise<{ trouble: BucketTrouble; message: string }> {
  const store = open(await bucket(options), how);
  const error = await put(store, "meta/1", "one").then(
    () => null,
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof BucketError, String(error));
  assert.equal(error.retriable, false);
  return error;
}

test("what nobody but a person can mend is one clear sentence", async () => {
  const wrongKey = await refusal({}, { env: { ...keys, AWS_ACCESS_KEY_ID: "AKIDOTHER" } });
  assert.equal(wrongKey.trouble, "credentials");
  assert.match(wrongKey.message, /credentials are not accepted.*AWS_ACCESS_KEY_ID.*stays as it is/);
  const missing = await refusal({ bucket: "another" });
  assert.equal(missing.trouble, "missing");
  assert.match(missing.message, /There is no bucket bucket .*create it/);
  const elsewhere = await refusal({ region: "eu-central-1" });
  assert.equal(elsewhere.trouble, "region");
  assert.match(
    elsewhere.message,
    /is in eu-central-1, and was asked for in us-east-1.*AWS_REGION=eu-central-1/,
  );
  const denied = await refusal({ fault: () => ({ kind: "error", status: 403, code: "AccessDenied" }) });
  assert.equal(denied.trouble, "denied");
  assert.match(denied.message, /s3:PutObject/);
  const unable = await refusal({ fault: () => ({ kind: "error", status: 501, code: "NotImplemented" }) });
  assert.equal(unable.trouble, "unsupported");
  const redirected = await refusal({
    fault: () => ({ kind: "error", status: 301, code: "PermanentRedirect" }),
  });
  assert.equal(redirected.trouble, "region");
});

test("a clock that is wrong by an hour is corrected by the store's, once, and can be seen", async () => {
  const fake = await bucket({ skewMs: 3_600_000 });
  const store = open(fake);
  assert.equal(await put(store, "meta/1", "one"), "created");
  assert.equal(await put(store, "meta/2", "two"), "created");
  assert.equal(fake.requests.length, 3);
  assert.ok(Math.abs(store.clockSkewMs - 3_600_000) <= 2_000);
  const stubborn = await refusal({
    fault: () => ({ kind: "error", status: 403, code: "RequestTimeTooSkewed" }),
  });
  assert.equal(stubborn.trouble, "clock");
});

test("a read that is cut, or of another place, is asked again", async () => {
  for (const kind of ["cut", "shifted"] as const) {
    let struck = 0;
    const fake = await bucket({
      fault: ({ method }) => (method === "GET" && struck++ < 2 ? { kind } : null),
    });
    const store = open(fake, {
      clock: hastyClock(20),
      limits: { stallMs: 60_000, connectMs: 60_000, totalMs: 200_000 },
    });
    await put(store, "seg/1", "0123456789");
    assert.equal(textOf(await store.get("seg/1", { start: 2, length: 3 }, new Uint8Array(8))), "234", kind);
    assert.equal(struck, 3);
  }
});

test("a store that ignores ranges does not fill the memory", async () => {
  const fake = await bucket({ weakness: "ignores-ranges" });
  const store = open(fake, {
    clock: hastyClock(20),
    limits: { stallMs: 60_000, connectMs: 60_000, totalMs: 200_000 },
  });
  await put(store, "seg/1", "0123456789");
  await assert.rejects(store.get("seg/1", { start: 2, length: 3 }), OutcomeUnknownError);
});

test("a put in the slow tail is sent once more, and the first answer decides", async () => {
  let stalls = false;
  const fake = await bucket({
    fault: ({ method }) => {
      if (!stalls || method !== "PUT") return null;
      stalls = false;
      return { kind: "stall", appliesAfterMs: 60_000 };
    },
  });
  const store = open(fake);
  for (let slot = 0; slot < 30; slot++) await put(store, `wal/${slot}`, "x");
  const before = fake.requests.length;
  stalls = true;
  const begun = systemClock.monotonicMs();
  assert.equal(await put(store, "wal/slow", "same bytes"), "created");
  assert.ok(systemClock.monotonicMs() - begun < 5_000);
  assert.equal(fake.requests.length - before, 2);
  assert.equal(store.meter.sum("holdfast_s3_hedges_won_total"), 1);
  assert.equal(textOf(fake.objects.get("holdfast/wal/slow") ?? null), "same bytes");
});

test("of a put that was sent twice, 'taken' waits for the one that took it", async () => {
  let slow = false;
  const fake = await bucket({
    fault: ({ method }) => {
      if (!slow || method !== "PUT") return null;
      slow = false;
      return { kind: "late-answer", ms: 300 };
    },
  });
  const store = open(fake);
  for (let slot = 0; slot < 30; slot++) await put(store, `wal/${slot}`, "x");
  const before = fake.requests.length;
  slow = true;
  assert.equal(await put(store, "wal/slow", "same"), "created");
  assert.equal(fake.requests.length - before, 2);
  assert.equal(fake.creations.get("holdfast/wal/slow"), 1);
});

test("an outage holds requests back, shows itself, and ends by itself", async () => {
  let down = false;
  const fake = await bucket({
    fault: () => (down ? { kind: "error", status: 503, code: "ServiceUnavailable" } : null),
  });
  const store = open(fake);
  await put(store, "meta/0", "x");
  assert.equal(store.trouble, null);
  down = true;
  const text = "y".repeat(500_000);
  const puts = Array.from({ length: 10 }, (_, at) =>
    create(store, `wal/${at}`, bytesOf(text), { clock: hastyClock(2), random: systemRandom() }),
  );
  while (store.trouble === null) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.match(
    store.trouble,
    /^bucket unreachable for \d+ s \(HTTP 503 ServiceUnavailable\), 5\.0 MB waiting$/,
  );
  assert.ok(store.meter.read("holdfast_s3_unreachable_ms") >= 1_000);
  assert.equal(store.meter.read("holdfast_s3_waiting_bytes"), 5_000_000);
  const before = fake.requests.length;
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  assert.ok(fake.requests.length - before < 10, "only probes are sent");
  down = false;
  assert.ok((await Promise.all(puts)).every(({ kind }) => kind === "mine"));
  assert.equal(store.trouble, null);
  assert.equal(store.meter.read("holdfast_s3_waiting_bytes"), 0);
  assert.deepEqual(
    store.lines.map((line) => line.split(" ")[0]),
    ["s3.unreachable", "s3.reachable-again"],
  );
});

test("who waits in line when the bucket goes is not sent there", async () => {
  const fake = await bucket({ fault: () => ({ kind: "stall" }) });
  const store = open(fake, { clock: hastyClock(20), limits: { stallMs: 8_000, totalMs: 600_000 } });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 400 }, (_, at) => put(store, `wal/${at}`, "x")),
  );
  assert.ok(outcomes.every(({ status }) => status === "rejected"));
  assert.ok(fake.requests.length < 250, `${fake.requests.length} were sent`);
});

test("a refusal that comes before the body has left ends the request, and the next one goes on", async () => {
  const { createServer } = await import("node:http");
  const server = createServer((request, response) => {
    if (request.headers["content-length"] === "3") {
      request.resume().on("end", () => response.writeHead(200, { "content-length": 0 }).end());
      return;
    }
    const text = "<Error><Code>SlowDown</Code></Error>";
    // The body is never read.
    response.writeHead(503, { "content-length": text.length }).end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const store = open({ endpoint: `http://127.0.0.1:${port}` } as FakeBucket, { limits: { stallMs: 3_000 } });
  const large = new Uint8Array(40_000_000);
  await assert.rejects(store.putIfAbsent("seg/1", [large], large.byteLength), /503 SlowDown/);
  assert.equal(await put(store, "meta/1", "abc"), "created");
  server.closeAllConnections();
  server.close();
});

test("connections are kept and bounded", async () => {
  const fake = await bucket({ fault: () => ({ kind: "slow", ms: 5 }) });
  const store = open(fake);
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 100 }, (_, at) => put(store, `wal/${round}-${at}`, "x")));
  }
  assert.ok(fake.connections <= 32, `${fake.connections} connections`);
});

test("what others have put under the prefix is left out of a listing", async () => {
  const fake = await bucket();
  const store = open(fake, { pageObjects: 2 });
  for (const key of ["holdfast/a b", "holdfast/ä&<", "holdfast/.hidden", "holdfastly/x"]) {
    fake.objects.set(key, bytesOf("x"));
  }
  await put(store, "meta/1", "x");
  assert.deepEqual(await store.list(""), [{ key: "meta/1", bytes: 1 }]);
});

test("requests are counted by kind, with an estimate of what they cost", async () => {
  const store = open(await bucket());
  await put(store, "meta/1", "x");
  await put(store, "meta/1", "y");
  await store.get("meta/1");
  await store.get("meta/2");
  await store.list("meta/");
  const { meter } = store;
  assert.equal(meter.sum("holdfast_s3_requests_total put good"), 1);
  assert.equal(meter.sum("holdfast_s3_requests_total put exists"), 1);
  assert.equal(meter.sum("holdfast_s3_requests_total get absent"), 1);
  const perMinute = (3 * 0.005 + 2 * 0.0004) / 1000;
  const dollars = meter.read("holdfast_s3_dollars_per_hour");
  assert.ok(Math.abs(dollars - perMinute * 60) < 1e-9 || Math.abs(dollars - perMinute * 30) < 1e-9);
});
