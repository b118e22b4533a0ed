import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { FakeBucket } from "../../io/s3/fake-bucket.ts";
import { keys } from "../../io/s3/store-fixture.ts";
import { startBroker } from "../../testing/test-broker.ts";
import { connect, produce } from "../../testing/raw-client-fixture.ts";
import { openNamedStore } from "../named-store.ts";
import { runProgram } from "../program.ts";
import { TestTerminal } from "../terminal-fixture.ts";

const data = mkdtempSync(join(tmpdir(), "holdfast-fsck-"));
after(() => rmSync(data, { recursive: true, force: true }));

async function fsck(store: string, ...more: string[]): Promise<{ code: number; out: string; err: string }> {
  const terminal = new TestTerminal();
  Object.assign(terminal.env, { HOME: data, ...keys });
  const code = await runProgram(["bucket", "fsck", store, ...more], terminal);
  return { code, out: terminal.stdout.text, err: terminal.stderr.text };
}

const segments = (): string[] =>
  readdirSync(join(data, "store/seg"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

describe("bucket fsck", () => {
  /** A segment of a broker that is gone, which nothing names. */
  const orphan = join(data, "store/seg/000000000001/000000000099.object");
  let whileOpen = { code: -1, out: "", err: "" };

  before(async () => {
    const broker = await startBroker({ data, topics: ["orders"] });
    await produce(await connect(broker), "orders", { key: null, value: Buffer.from("one") });
    await broker.restart();
    whileOpen = await fsck(`file:${data}`);
    await broker.close();
    mkdirSync(dirname(orphan), { recursive: true });
    writeFileSync(orphan, "nothing");
  });

  it("reads every byte while a broker runs, and says what it read", () => {
    const { code, out } = whileOpen;
    assert.equal(code, 0, out);
    assert.match(out, /^cluster \S+: 1 topic, 1 partition, \d+ slots of the journal$/m);
    assert.match(out, /^read: 1 segment, \d+ B, and 0 needed slots of logs; the store holds \d+ objects, /m);
    assert.match(out, /has everything that the cluster needs, and every byte of it is as it was written\.$/m);
  });

  it("names orphans and leaves them, unless it is told to delete them", async () => {
    const { code, out } = await fsck(`file:${data}`);
    assert.equal(code, 0);
    assert.match(out, /^orphan {2}seg\/000000000001\/000000000099, 7 B$/m);
    assert.match(out, /^1 orphan, 7 B: nothing needs them, .*--delete-orphans does it now$/m);
    assert.ok(segments().includes(orphan));
    const { out: after } = await fsck(`file:${data}`, "--delete-orphans");
    assert.match(after, /^deleted: 1 orphan, 7 B$/m);
    assert.ok(!segments().includes(orphan));
    assert.doesNotMatch((await fsck(`file:${data}`)).out, /orphan/);
  });

  it("ends with 1 and names object, topic and offsets where bytes were altered", async () => {
    const [segment = ""] = segments();
    const whole = readFileSync(segment);
    const altered = Buffer.from(whole);
    const at = altered.indexOf("one");
    altered[at] = 0;
    writeFileSync(segment, altered);
    const { code, out } = await fsck(`file:${data}`);
    assert.equal(code, 1);
    assert.match(out, /^DAMAGE {2}seg\/\d+\/\d+: .*offsets 0 .*topic orders/im);
    assert.match(out, /^1 thing is missing or damaged\. Put the named objects back/m);
    assert.equal((await fsck(`file:${data}`, "--quick")).code, 0, "which quick does not read");
    writeFileSync(segment, whole);
  });

  it("tells programs one JSON object for each finding, the summary last", async () => {
    const { out } = await fsck(`file:${data}`, "--json");
    const last = JSON.parse(out.trimEnd().split("\n").at(-1) as string) as { [name: string]: unknown };
    assert.equal(last["kind"], "summary");
    assert.equal(last["damages"], 0);
    assert.equal(last["segments"], 1);
  });

  it("gives up on a bucket that does not answer, and says which", async () => {
    const options = { endpoint: "http://127.0.0.1:1" };
    const opened = await openNamedStore("s3://bucket/log", options, { HOME: data, ...keys }, 200);
    await assert.rejects(
      opened.ports.store.get("meta/1"),
      /s3:\/\/bucket\/log\/ at .* did not answer for 0\.2 s \(.*\): check/,
    );
    opened.close();
  });

  it("refuses what is no store, and what nobody began, with a sentence", async () => {
    const nowhere = await fsck("http://x");
    assert.equal(nowhere.code, 2);
    assert.match(nowhere.err, /names no store: write s3:\/\/BUCKET\/PREFIX or file:DIR/);
    assert.match((await fsck(`file:${join(data, "none")}`)).err, /does not exist/);
    const fake = await FakeBucket.start({});
    const empty = await fsck("s3://bucket/log", "--endpoint", fake.endpoint);
    await fake.close();
    assert.equal(empty.code, 1);
    assert.match(empty.err, /No cluster is here/);
  });
});
