import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { startBroker, type TestBroker } from "../../entry/testing.ts";
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
