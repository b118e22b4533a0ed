import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { startBroker, type TestBroker } from "../../entry/testing.ts";
import { runProgram } from "../program.ts";
import { TestTerminal } from "../terminal-fixture.ts";

let broker: TestBroker;
before(async () => {
  broker = await startBroker({ topics: ["orders", { name: "wide", partitions: 2 }] });
});
after(() => broker.close());

const directory = mkdtempSync(join(tmpdir(), "holdfast-group-"));
after(() => rmSync(directory, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function terminal(): TestTerminal {
  const on = new TestTerminal();
  on.env["HOLDFAST_BOOTSTRAP"] = broker.address;
  return on;
}

async function run(line: string): Promise<Ran> {
  const on = terminal();
  const code = await runProgram(line.split(" "), on);
  return { code, stdout: on.stdout.text, stderr: on.stderr.text };
}

const json = ({ stdout }: Ran): readonly { readonly [name: string]: unknown }[] =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { [name: string]: unknown });

/** Where a group stands, by partition. */
async function standing(group: string): Promise<object> {
  return Object.fromEntries(
    json(await run(`group describe ${group} --json`)).map(({ topic, partition, committed }) => [
      `${String(topic)}/${String(partition)}`,
      committed,
    ]),
  );
}

describe("holdfast consume --group", () => {
  it("begins at the start, goes on where it left off, and commits what it printed and no more", async () => {
    await run("produce orders a b c d");
    const first = await run("consume orders --group printing --count 2 --format %v,");
    assert.deepEqual(first, { code: 0, stdout: "a,b,", stderr: "" });
    const second = await run("consume orders --group printing --until end --format %v,");
    assert.deepEqual(second, { code: 0, stdout: "c,d,", stderr: "" });
    assert.deepEqual(await standing("printing"), { "orders/0": 4 });
  });

  it("Ctrl-C commits what was printed and leaves the group", async () => {
    const on = terminal();
    const running = runProgram(["consume", "orders", "-g", "ctrl-c", "--format", "%v,"], on);
    await on.stdout.until(/d,/);
    on.interrupt();
    assert.equal(await running, 0, on.stderr.text);
    assert.deepEqual(await standing("ctrl-c"), { "orders/0": 4 });
    assert.match(
      (await run("group describe ctrl-c")).stdout,
      /^ctrl-c {3}Empty {3}consumer(?:, uniform)? {3}0 members {3}lag 0 records\n/,
    );
  });

  it("refuses what a group decides by itself", async () => {
    assert.match(
      (await run("consume orders -g g --partition 0")).stderr,
      /the group gives out the partitions/,
    );
    const offset = await run("consume orders -g g --from 3");
    assert.deepEqual([offset.code, offset.stdout], [2, ""]);
    assert.match(offset.stderr, /holdfast group seek g --topic orders --to 3 moves it/);
  });

  it("says how to move a group whose place is gone", async () => {
    await run("produce trimmed a b c");
    await run("consume trimmed -g late --count 1");
    await run("topic purge trimmed --before end");
    await run("produce trimmed d");
    const { code, stderr } = await run("consume trimmed -g late --count 1");
    assert.equal(code, 1);
    assert.match(stderr, /offset 1 of trimmed\/0 was deleted before it was read/);
    assert.match(
      stderr,
      /holdfast group seek late --topic trimmed:0 --to OFFSET, or go on behind it with --skip\.\n$/,
    );
    assert.match(
      (await run("group describe late")).stdout,
      /trimmed\/0: 2 offsets from 1 on were deleted before the group read them/,
    );
    await run("group seek late --to start --undo " + join(directory, "late.csv"));
    assert.equal((await run("consume trimmed -g late --count 1 --format %v")).stdout, "d");
  });
});

describe("holdfast group", () => {
  it("list and describe tell of groups, members and the lag in records and in time", async () => {
    await run("produce wide --partition 0 --timestamp 2020-01-01T00:00Z old");
    await run("produce wide --partition 1 x y");
    await run("consume wide -g reading --until end");
    await run("produce wide --partition 0 --timestamp 2020-01-01T00:00Z older");
    assert.match(
      (await run("group list")).stdout,
      /^GROUP +TYPE +PROTOCOL +STATE\n(?:.*\n)*reading +consumer +consumer +Empty\n/,
    );
    assert.match((await run("group list --state Stable")).stderr, /^There are no groups/);
    const { stdout } = await run("group describe reading");
    assert.match(
      stdout,
      /^reading {3}Empty {3}consumer(?:, uniform)? {3}0 members {3}lag 1 record, \d+ d(?: \d+ h)?\n\nTOPIC +PARTITION +COMMITTED +START +END +LAG +LAG IN TIME/,
    );
    assert.match(stdout, /wide +0 +1 +0 +2 +1 +\d+ d/);
    const [first, second] = json(await run("group describe reading --json"));
    assert.deepEqual([first?.["lag"], second?.["lag"], second?.["lagMs"]], [1, 0, 0]);
    assert((first?.["lagMs"] as number) > 5 * 365 * 86_400_000);
    const on = terminal();
    const running = runProgram(["consume", "wide", "-g", "reading"], on);
    await on.stdout.until(/older/);
    assert.match(
      (await run("group describe reading")).stdout,
      /reading {3}Stable {3}consumer, uniform {3}1 member {3}lag .*\n[^]*holdfast-cli/,
    );
    const moving = await run("group seek reading --to start");
    assert.match(
      moving.stderr,
      /^Group reading has 1 member, which would go on from where they are; stop them first\.\n$/,
    );
    on.interrupt();
    await running;
    const absent = await run("group describe nobody");
    assert.equal(absent.code, 1);
    assert.match(absent.stderr, /^Describing group "nobody" was refused: .*GROUP_ID_NOT_FOUND/);
  });

  it("seek moves in every way there is, says so first with --dry-run, and its undo file takes it back", async () => {
    await run("produce steps --timestamp @1700000000000 0 1 2 3 4");
    await run("produce steps --timestamp @1700000060000 5 6 7 8 9");
    await run("consume steps -g moved --count 4");
    const undo = join(directory, "undo.csv");
    const dry = await run(`group seek moved --to start --dry-run`);
    assert.match(
      dry.stdout,
      /^TOPIC +PARTITION +FROM +TO +CHANGE\nsteps +0 +4 +0 +reads 4 again\n\nNothing was changed \(--dry-run\)\.\n$/,
    );
    assert.deepEqual(await standing("moved"), { "steps/0": 4 });
    const done = await run(`group seek moved --to start --undo ${undo}`);
    assert.match(
      done.stdout,
      /✓ group moved moved in 1 partition\. Back again: holdfast group seek moved --from-file .*undo\.csv\n$/,
    );
    assert.equal(readFileSync(undo, "utf8"), "steps,0,4\n");
    assert.deepEqual(await standing("moved"), { "steps/0": 0 });
    // Never over what is the only way back.
    assert.match(
      (await run(`group seek moved --to end --undo ${undo}`)).stderr,
      /cannot be written \(EEXIST\), so nothing was changed/,
    );
    let number = 0;
    const seek = async (to: string): Promise<object> => {
      const { code, stderr } = await run(
        `group seek moved ${to} --undo ${join(directory, `${number++}.csv`)}`,
      );
      assert.equal(code, 0, stderr);
      return standing("moved");
    };
    assert.deepEqual(await seek(`--from-file ${undo}`), { "steps/0": 4 });
    assert.deepEqual(await seek("--to +3"), { "steps/0": 7 });
    assert.deepEqual(await seek("--to -2"), { "steps/0": 5 });
    assert.deepEqual(await seek("--to 2"), { "steps/0": 2 });
    assert.deepEqual(await seek("--to @1700000060000"), { "steps/0": 5 });
    assert.deepEqual(await seek("--to end"), { "steps/0": 10 });
    assert.deepEqual(await seek("--to -100"), { "steps/0": 0 });
    await run("consume steps -g other --count 6");
    assert.deepEqual(await seek("--to other"), { "steps/0": 6 });
    assert.match(
      (await run("group seek moved --to nowhere --dry-run")).stderr,
      /^--to nowhere is no position, and there is no group/,
    );
    assert.equal((await run("group seek moved")).code, 2);
  });

  it("seek makes a group that is not there, and its undo file forgets it again", async () => {
    const undo = join(directory, "new.csv");
    await run("produce fresh a b");
    await run(`group seek brand-new --topic fresh --to end --undo ${undo}`);
    assert.deepEqual(await standing("brand-new"), { "fresh/0": 2 });
    assert.equal(readFileSync(undo, "utf8"), "fresh,0,none\n");
    await run(`group seek brand-new --from-file ${undo} --undo ${join(directory, "back.csv")}`);
    assert.match(
      (await run("group describe brand-new")).stdout + (await run("group describe brand-new")).stderr,
      /committed nothing|GROUP_ID_NOT_FOUND/,
    );
    writeFileSync(join(directory, "bad.csv"), "fresh;0;1\n");
    assert.match(
      (await run(`group seek brand-new --from-file ${join(directory, "bad.csv")}`)).stderr,
      /^Line 1 of .*bad\.csv is not "topic,partition,offset"; nothing was changed\.\n$/,
    );
  });

  it("delete forgets a group, or one topic of it", async () => {
    await run("produce gone a");
    await run("consume gone -g leaving --until end");
    assert.equal(
      (await run("group delete leaving --topic gone")).stdout,
      '✓ group "leaving" forgot how far it got in 1 partition\n',
    );
    await run("consume gone -g leaving --until end");
    assert.equal((await run("group delete leaving")).stdout, '✓ group "leaving" deleted\n');
    assert.match((await run("group delete leaving")).stderr, /^Deleting group "leaving" was refused/);
    assert.equal((await run("group delete leaving --if-exists")).stdout, 'group "leaving" did not exist\n');
  });

  it("Kafka's command lines do what they do there: reset-offsets only asks without --execute", async () => {
    await run("produce kafkaish a b c");
    await run("consume kafkaish -g ish --until end");
    assert.match((await run("group --describe --group ish")).stdout, /kafkaish +0 +3/);
    const asked = await run("groups --reset-offsets --group ish --topic kafkaish --to-earliest");
    assert.match(asked.stdout, /Nothing was changed/);
    await run(
      `groups --reset-offsets --group ish --all-topics --shift-by -1 --execute --undo ${join(directory, "ish.csv")}`,
    );
    assert.deepEqual(await standing("ish"), { "kafkaish/0": 2 });
    assert.match((await run("groups --list")).stdout, /ish/);
    assert.match(
      (await run("group describe")).stderr,
      /^The name of a group is missing: holdfast group describe GROUP…\.\n$/,
    );
  });
});
