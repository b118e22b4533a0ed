import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { type Client, createClient } from "../../entry/client.ts";
import { startBroker, type TestBroker } from "../../entry/testing.ts";
import { runProgram } from "../program.ts";
import { TestTerminal } from "../terminal-fixture.ts";

let broker: TestBroker;
let client: Client;
before(async () => {
  broker = await startBroker();
  client = createClient({ bootstrap: broker.address });
  const mails = client.queue("mails", { partitions: 2 });
  for (const n of [1, 2, 3, 4]) await mails.send({ key: "k", value: `mail ${n}` });
  const worker = await mails.worker();
  for await (const message of worker) {
    await message.accept();
    break;
  }
  await mails.close();
});
after(async () => {
  await client.close();
  await broker.close();
});

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

describe("holdfast queue", () => {
  it("lists queues with what waits in them, and says that consumer groups are none", async () => {
    const [queue, ...more] = json(await run("queue list --json"));
    assert.equal(more.length, 0);
    assert.deepEqual([queue?.["group"], queue?.["waiting"], queue?.["topics"]], ["mails", 3, ["mails"]]);
    assert.match(
      (await run("queue list")).stdout,
      /^QUEUE +STATE +WAITING +TOPICS\nmails +Empty +3 +mails\n$/,
    );
  });

  it("describes what waits in each partition, and how the queue is set", async () => {
    const { stdout } = await run("queue describe mails");
    assert.match(
      stdout,
      /^mails {3}Empty {3}0 members {3}3 waiting\nlock 30 s · deliveries at most 5 · begins at earliest/,
    );
    assert.match(stdout, /mails +\d +1 +4 +3 +\d/);
    assert.equal((await run("queue describe nails")).code, 1);
  });

  it("shows the oldest messages without taking them", async () => {
    for (const _ of [1, 2]) {
      assert.equal((await run("queue peek mails --count 2 --format %v,")).stdout, "mail 2,mail 3,");
    }
  });

  it("shows who works on a queue", async () => {
    assert.match((await run("queue members mails")).stderr, /^Nobody works on mails\.\n$/);
    const worker = client.shareConsumer({ group: "mails", topic: "mails" });
    for await (const message of worker) {
      const [member] = json(await run("queue members mails --json"));
      assert.equal(member?.["memberId"], worker.memberId);
      assert.match((await run("queue members mails")).stdout, /mails\/0 mails\/1/);
      assert.match((await run("queue reset mails --to start")).stderr, /NON_EMPTY_GROUP/);
      await message.release();
      break;
    }
    await worker.close();
  });

  it("moves a queue that has no members, and only says so with --dry-run", async () => {
    const dry = json(await run("queue reset mails --to start --dry-run --json"));
    assert.ok(dry.every(({ to, done }) => to === 0 && done === false));
    assert.equal(json(await run("queue list --json"))[0]?.["waiting"], 3);
    assert.match((await run("queue reset mails --to start")).stdout, /^TOPIC +PARTITION +FROM +TO\n/);
    assert.equal(json(await run("queue list --json"))[0]?.["waiting"], 4);
    assert.match((await run("queue reset mails")).stderr, /needs --to/);
    assert.match((await run("queue reset mails --to end --topic other")).stderr, /none of these partitions/);
  });
});
