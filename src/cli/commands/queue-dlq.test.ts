import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { createClient } from "../../entry/client.ts";
import { startBroker, type TestBroker } from "../../entry/testing.ts";
import { runProgram } from "../program.ts";
import { TestTerminal } from "../terminal-fixture.ts";

let broker: TestBroker;
before(async () => {
  broker = await startBroker({ topics: ["orders", "elsewhere", "short", "dead"] });
  await using client = createClient({ bootstrap: broker.address });
  const producer = client.producer();
  for (const [index, value] of ["1", "x", "3", "4"].entries()) {
    await producer.send({
      topic: "dead",
      key: `o-${index}`,
      value,
      headers: {
        trace: `t${index}`,
        "__dlq.errors.topic": "orders",
        "__dlq.errors.partition": "0",
        "__dlq.errors.offset": String(40 + index),
        "__dlq.errors.group": "billing",
        "__dlq.errors.delivery.count": "5",
        "__dlq.errors.message": value === "x" ? "not a number" : "the bank did not answer",
      },
    });
  }
});
after(() => broker.close());

const directory = mkdtempSync(join(tmpdir(), "holdfast-dlq-"));
after(() => rmSync(directory, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(line: string): Promise<Ran> {
  const on = new TestTerminal();
  on.env["HOLDFAST_BOOTSTRAP"] = broker.address;
  const code = await runProgram(line.split(" "), on);
  return { code, stdout: on.stdout.text, stderr: on.stderr.text };
}

type Json = { readonly [name: string]: unknown };
const json = ({ stdout }: Ran): readonly Json[] =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Json);

describe("holdfast queue dlq", () => {
  it("shows what each letter says, where it came from and why", async () => {
    const { stdout, code } = await run("queue dlq show dead");
    assert.equal(code, 0);
    assert.match(
      stdout,
      /dead\/0 @ 1 .*o-1 → x {2}\{trace=t1\}\n {4}from orders\/0 @ 41 · group billing · delivered 5 times\n {4}not a number\n/,
    );
    const [letter, ...more] = json(await run("queue dlq show dead --reason /^not/ --json"));
    assert.equal(more.length, 0);
    assert.deepEqual(letter?.["origin"], { topic: "orders", partition: 0, offset: 41 });
    assert.deepEqual(letter["headers"], [{ name: "trace", value: "t1" }]);
  });

  it("does nothing before it is told which letters are meant", async () => {
    for (const line of ["redrive dead", "drop dead", "redrive dead --all --key o-1"]) {
      assert.match((await run(`queue dlq ${line}`)).stderr, /needs to know which: --all, or /);
    }
    assert.match((await run("queue dlq redrive dead --at 7")).stderr, /--at 7 is no partition and offset/);
    assert.match((await run("queue dlq redrive dead --reason /(/")).stderr, /is no regular expression/);
    assert.equal((await run("queue dlq redrive deed --all")).code, 1);
  });

  it("redrives what is selected, says so, and does it once", async () => {
    const dry = await run("queue dlq redrive dead --reason bank --dry-run");
    assert.equal(dry.stdout, "would be done: 3 letters sent to orders\n");
    assert.equal((await run("queue dlq redrive dead --key o-0")).stdout, "✓ 1 letter sent to orders\n");
    assert.equal(
      (await run("queue dlq redrive dead --key o-0")).stdout,
      "There is no letter to which that applies.\n1 letter had been redriven or dropped before\n",
    );
    const printed = await run("consume orders --from start --until end --format %k=%v,%h;");
    assert.match(
      printed.stdout,
      /^o-0=1,trace=t0,__redrive\.topic=dead,__redrive\.partition=0,__redrive\.offset=0,__redrive\.count=1;$/,
    );
  });

  it("redrives the letters of a file as they were edited there", async () => {
    const { stdout } = await run("queue dlq show dead --key o-1 --json");
    const file = join(directory, "letters.jsonl");
    writeFileSync(file, stdout.replace('"value":"x"', '"value":"2"'));
    const ran = await run(`queue dlq redrive dead --file ${file} --to elsewhere --json`);
    assert.deepEqual(json(ran)[0], {
      redriven: { elsewhere: 1 },
      dropped: 0,
      left: 0,
      settledBefore: 0,
      done: true,
    });
    assert.equal((await run("consume elsewhere --from start --until end --format %k=%v")).stdout, "o-1=2");
    writeFileSync(file, stdout.replace('"topic":"dead"', '"topic":"other"'));
    assert.match(
      (await run(`queue dlq redrive dead --file ${file}`)).stderr,
      /^Line 1 of .* is a letter of "other", not of dead/,
    );
    writeFileSync(file, "no letter\n");
    assert.match((await run(`queue dlq redrive dead --file ${file}`)).stderr, /^Line 1 of .* is no letter/);
  });

  it("leaves what a line of the file does not say as the letter has it", async () => {
    const file = join(directory, "short.jsonl");
    writeFileSync(file, '{"partition":0,"offset":3,"value":"44"}\n');
    assert.equal((await run(`queue dlq redrive dead --file ${file} --to short`)).code, 0);
    const { stdout } = await run("consume short --from start --until end --format %k=%v,%h");
    assert.match(stdout, /^o-3=44,trace=t3,/);
  });

  it("passes over what was dropped", async () => {
    assert.equal((await run("queue dlq drop dead --at 0:2")).stdout, "✓ 1 letter dropped\n");
    assert.equal((await run("queue dlq show dead")).stdout, "");
    const settled = json(await run("queue dlq show dead --settled --json"));
    assert.deepEqual(
      settled.map((letter) => letter["settled"]),
      ["redriven", "redriven", "dropped", "redriven"],
    );
  });
});
