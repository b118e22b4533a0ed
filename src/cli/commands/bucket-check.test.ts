import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FakeBucket, type FakeBucketOptions } from "../../io/s3/fake-bucket.ts";
import { keys } from "../../io/s3/store-fixture.ts";
import type { ProbeVerdict } from "../../store/probe.ts";
import { runProgram } from "../program.ts";
import { TestTerminal } from "../terminal-fixture.ts";
import { bucketCheck, type BucketCheckOptions } from "./bucket-check.ts";

const fakes: FakeBucket[] = [];
const scratch = mkdtempSync(join(tmpdir(), "holdfast-bucket-"));
after(async () => {
  for (const fake of fakes) await fake.close();
  rmSync(scratch, { recursive: true, force: true });
});

const small = { rounds: 2, largeBytes: 300_000, trialMs: 20_000 };

async function check(
  store: string,
  fake: FakeBucket | null,
  more: BucketCheckOptions = {},
  env: { readonly [name: string]: string } = keys,
): Promise<{ code: number; out: string; about: { readonly [about: string]: ProbeVerdict } }> {
  const terminal = new TestTerminal();
  Object.assign(terminal.env, { HOME: scratch, ...env });
  if (fake !== null) terminal.env["AWS_ENDPOINT_URL_S3"] = fake.endpoint;
  const options = { json: true, probe: small, ...more };
  const code = await bucketCheck({ terminal, args: [store], options });
  const out = terminal.stdout.text;
  const lines = options.json ? out.trimEnd().split("\n") : [];
  const verdicts = lines.map((line) => JSON.parse(line) as ProbeVerdict);
  return { code, out, about: Object.fromEntries(verdicts.map((verdict) => [verdict.about, verdict])) };
}

async function bucket(options: FakeBucketOptions = {}): Promise<FakeBucket> {
  const fake = await FakeBucket.start(options);
  fakes.push(fake);
  return fake;
}

test("a sound bucket passes, with a sentence for each thing that was tried, and nothing is left in it", async () => {
  const fake = await bucket();
  const { code, out } = await check("s3://bucket/a/b", fake, { json: false });
  assert.equal(code, 0, out);
  assert.match(out, /^ok +races: of 16 who created one name at once exactly one won, 2 times\.$/m);
  assert.match(out, /^ok +lifecycle: no rule of the bucket deletes objects under this prefix\.$/m);
  assert.match(out, /\n\ns3:\/\/bucket\/a\/b does what records need\.\n$/);
  assert.equal(fake.objects.size, 0);
  assert.ok(fake.requests.every(({ key }) => key === null || key.startsWith("a/b/probe/")));
});

test("a bucket that ignores conditions, or heeds them only when nobody is beside, is refused", async () => {
  const ignoring = await check("s3://bucket", await bucket({ weakness: "ignores-conditions" }));
  assert.equal(ignoring.code, 1);
  assert.equal(ignoring.about["taken names"]?.status, "wrong");
  assert.match(ignoring.about["taken names"]?.text ?? "", /does not heed If-None-Match/);
  const racy = await check("s3://bucket", await bucket({ weakness: "checks-then-writes" }));
  assert.equal(racy.code, 1);
  assert.equal(racy.about["taken names"]?.status, "ok");
  assert.equal(racy.about["races"]?.status, "wrong");
});

test("a bucket in which what was created is not found is refused", async () => {
  const { code, about } = await check("s3://bucket", await bucket({ weakness: "hides-new-names" }));
  assert.equal(code, 1);
  assert.equal(about["create and read"]?.status, "wrong");
});

test("rules that delete what brokers write are found", async () => {
  const rule = (id: string, filter: string, what: string, status = "Enabled"): string =>
    `<Rule><ID>${id}</ID><Filter>${filter}</Filter><Status>${status}</Status>${what}</Rule>`;
  const days = "<Expiration><Days>30</Days></Expiration>";
  const lifecycleXml = `<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${[
    rule("all", "<Prefix/>", days),
    rule("ours", "<Prefix>log/wal</Prefix>", days),
    rule("tagged", "<And><Prefix>log/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And>", days),
    rule("off", "<Prefix/>", days, "Disabled"),
    rule("others", "<Prefix>backup/</Prefix>", days),
    rule(
      "uploads",
      "<Prefix/>",
      "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>",
    ),
  ].join("")}</LifecycleConfiguration>`;
  const { code, out } = await check("s3://bucket/log", await bucket({ lifecycleXml }));
  assert.equal(code, 1);
  const found = out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as ProbeVerdict)
    .filter(({ about }) => about === "lifecycle");
  assert.deepEqual(
    found.map(({ status, facts }) => [facts?.["id"], status]),
    [
      ["all", "wrong"],
      ["ours", "wrong"],
      ["tagged", "risk"],
    ],
  );
  assert.match(
    found[0]?.text ?? "",
    /deletes every object of the bucket after 30 days: acknowledged records would be lost/,
  );
});

test("rules that may not be read are said to be unknown, and are no reason to refuse", async () => {
  const fake = await bucket({
    fault: ({ query }) =>
      query.has("lifecycle") ? { kind: "error", status: 403, code: "AccessDenied" } : null,
  });
  const { code, about } = await check("s3://bucket/log", fake);
  assert.equal(code, 0);
  assert.equal(about["lifecycle"]?.status, "unknown");
});

test("a clock that is off is told", async () => {
  const minutes = await check("s3://bucket", await bucket({ skewMs: 60_000 }));
  assert.equal(minutes.code, 0);
  assert.match(
    minutes.about["clock"]?.text ?? "",
    /^this machine's clock is (59|60|61) s behind the store's/,
  );
  const far = await check("s3://bucket", await bucket({ skewMs: -1_800_000 }));
  assert.equal(far.code, 1);
  assert.match(far.about["clock"]?.text ?? "", /ahead of the store's, so that it refuses signatures/);
});

test("no access is one sentence, and nothing else is tried", async () => {
  const wrong = await check("s3://bucket", await bucket({ accessKeyId: "OTHER" }));
  assert.equal(wrong.code, 1);
  assert.deepEqual(Object.keys(wrong.about), ["access"]);
  assert.equal(wrong.about["access"]?.facts?.["trouble"], "credentials");
  const told = await check("s3://nowhere", await bucket(), { json: false });
  assert.match(told.out, /^WRONG +access: .*\n\ns3:\/\/nowhere could not be tried\.\n$/);
  const missing = await check("s3://nowhere", await bucket());
  assert.match(missing.about["access"]?.text ?? "", /^There is no bucket nowhere/);
  const none = await check("s3://bucket", await bucket(), {}, { AWS_EC2_METADATA_DISABLED: "true" });
  assert.match(none.about["access"]?.text ?? "", /^No credentials for the bucket were found/);
});

test("where nobody answers, it says so and ends", async () => {
  const fake = await bucket();
  const { endpoint } = fake;
  await fake.close();
  const { code, about } = await check("s3://bucket", null, { endpoint, probe: { ...small, trialMs: 300 } });
  assert.equal(code, 1);
  assert.deepEqual(Object.keys(about), ["create and read"]);
  assert.match(about["create and read"]?.text ?? "", /nothing listens there/);
});

test("a directory is tried in a directory of its own, of which nothing stays", async () => {
  writeFileSync(join(scratch, "theirs"), "x");
  const { code, about } = await check(`file:${scratch}`, null);
  assert.equal(code, 0);
  assert.equal(about["races"]?.status, "ok");
  assert.deepEqual(readdirSync(scratch), ["theirs"]);
});

test("what names no store, or no directory, is a sentence", async () => {
  const cases = [
    [["bucket", "check", "gs://x"], 2, /^"gs:\/\/x" names no store: write s3:\/\/BUCKET/],
    [["bucket", "check", `file:${scratch}/absent`], 1, /absent does not exist: make it/],
    [["bucket", "check", "s3://UP"], 1, /does not name a bucket/],
    [["bucket", "chek", "s3://x"], 2, /There is no command bucket chek, but there is bucket check/],
  ] as const;
  for (const [args, code, sentence] of cases) {
    const terminal = new TestTerminal();
    Object.assign(terminal.env, { HOME: scratch });
    assert.equal(await runProgram(args, terminal), code, args.join(" "));
    assert.match(terminal.stderr.text, sentence);
  }
});
