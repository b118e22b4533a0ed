import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { startBroker, startCluster, type TestBroker } from "../../entry/testing.ts";
import { connect, produce } from "../../testing/raw-client-fixture.ts";
import { runProgram } from "../program.ts";
import { TestTerminal } from "../terminal-fixture.ts";

const data = mkdtempSync(join(tmpdir(), "holdfast-broker-"));
let broker: TestBroker;
before(async () => {
  broker = await startBroker({ data, topics: [{ name: "orders", partitions: 3 }, "audit"] });
  await broker.restart();
});
after(async () => {
  await broker.close();
  rmSync(data, { recursive: true, force: true });
});

async function run(...line: string[]): Promise<{ code: number; out: string; err: string }> {
  const on = new TestTerminal();
  on.env["HOLDFAST_BOOTSTRAP"] = broker.address;
  const code = await runProgram(["broker", ...line], on);
  return { code, out: on.stdout.text, err: on.stderr.text };
}

const json = (out: string): readonly { readonly [name: string]: unknown }[] =>
  out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { [name: string]: unknown });

describe("holdfast broker", () => {
  it("lists the brokers that the cluster tells of, with what each owns", async () => {
    const { out, code } = await run("list");
    assert.equal(code, 0);
    assert.match(
      out,
      /^NODE +ADDRESS +RACK +STATE +PARTITIONS +SIZE\n1 +127\.0\.0\.1:\d+ +– +active +4 +\d+ B\n$/,
    );
    const [only] = json((await run("list", "--json")).out);
    assert.deepEqual(only?.["topics"], { audit: 1, orders: 3 });
    assert.equal(only?.["epoch"], null, "which only the store tells");
  });

  it("reads the journal of the store, and asks no broker", async () => {
    const { out } = await run("list", "--store", `file:${data}`, "-b", "127.0.0.1:1");
    assert.match(out, /STATE +PARTITIONS +SIZE +EPOCH +SOFTWARE\n1 +\S+ +– +active +4 +\d+ B +\d+ +holdfast/);
    const all = json((await run("list", "--store", `file:${data}`, "--all", "--json")).out);
    assert.deepEqual(
      all.map(({ state }) => state),
      ["ended", "active"],
    );
  });

  it("describes one or all, and names the node ids there are when another one is asked for", async () => {
    const { out } = await run("describe");
    assert.match(out, /^broker 1 +127\.0\.0\.1:\d+ +active\n {2}partitions +4: audit 1, orders 3\n/);
    assert.match(out, /With --store the journal tells/);
    const stored = (await run("describe", "1", "--store", `file:${data}`)).out;
    assert.match(stored, /^ {2}epoch +\d+, holdfast\S*, format level up to \d+$/m);
    assert.match(stored, /^ {2}log +in files of its data directory; released below position \d+/m);
    assert.match((await run("describe", "7")).err, /No broker has the node id 7; the cluster has 1\./);
    assert.equal((await run("describe", "seven")).code, 2);
  });
});

describe("holdfast broker and bucket fsck, over a cluster", () => {
  it("tell who is gone, who took over, where logs stand, and that nothing is missing", async () => {
    const directory = join(data, "shared");
    await using cluster = await startCluster({
      store: directory,
      topics: [{ name: "orders", partitions: 6 }],
    });
    const asCluster = async (...line: string[]): Promise<string> => {
      const on = new TestTerminal();
      on.env["HOLDFAST_BOOTSTRAP"] = cluster.bootstrap;
      const code = await runProgram(line, on);
      assert.equal(code, 0, on.stderr.text + on.stdout.text);
      return on.stdout.text;
    };
    const owner = cluster.ownerOf("orders") as number;
    await produce(await connect(cluster.broker(owner)), "orders", { key: null, value: Buffer.from("one") });
    assert.equal((await asCluster("broker", "list")).match(/ active +2 /g)?.length, 3);
    await cluster.kill(owner);
    await cluster.whenServing();
    const others = [1, 2, 3].filter((number) => number !== owner);
    const listed = json(await asCluster("broker", "list", "--json"));
    assert.deepEqual(
      listed.map(({ node, state, partitions }) => [node, state, partitions]),
      others.map((number) => [number, "active", 3]),
    );
    const store = `file:${directory}`;
    const described = await asCluster("broker", "describe", String(owner), "--store", store);
    assert.match(described, /^broker \d +127\.0\.0\.1:\d+ +ended$/m);
    assert.match(
      described,
      /log +\d+ slots in the store, 0 to \d+; released below slot 0; ended at slot 1; needed from slot 0/,
    );
    const checked = await asCluster("bucket", "fsck", store);
    assert.match(checked, /and 2 needed slots of logs/);
    assert.match(checked, /every byte of it is as it was written/);
  });
});
