import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { startBroker, type TestBroker } from "../../entry/testing.ts";
import { runProgram } from "../program.ts";
import { TestTerminal } from "../terminal-fixture.ts";

let broker: TestBroker;
before(async () => {
  broker = await startBroker();
});
after(() => broker.close());

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

const json = ({ stdout }: Ran): readonly { readonly [name: string]: unknown }[] =>
  stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { [name: string]: unknown });

describe("holdfast topic", () => {
  it("creates, lists and deletes, and says so", async () => {
    assert.match((await run("topic list")).stderr, /^There are no topics yet/);
    assert.equal(
      (await run("topic create a b --partitions 2")).stdout,
      '✓ topic "a" created: 2 partitions\n✓ topic "b" created: 2 partitions\n',
    );
    await run("produce a --partition 1 x y");
    assert.match(
      (await run("topic list")).stdout,
      /^TOPIC +PARTITIONS +RECORDS +SIZE\na +2 +2 +\d+ B\nb +2 +0 +0 B\n$/,
    );
    assert.deepEqual(
      json(await run("topic list --json")).map(({ topic, partitions, records }) => [
        topic,
        partitions,
        records,
      ]),
      [
        ["a", 2, 2],
        ["b", 2, 0],
      ],
    );
    assert.deepEqual(
      json(await run("topic list b --json")).map(({ topic }) => topic),
      ["b"],
    );
    assert.match((await run("topic list bb")).stderr, /^There is no topic "bb" at .*Did you mean "b"/);
    assert.equal((await run("topic delete b")).stdout, '✓ topic "b" deleted\n');
    assert.deepEqual(
      json(await run("topic list --json")).map(({ topic }) => topic),
      ["a"],
    );
  });

  it("a topic that exists is refused, unless that is fine", async () => {
    await run("topic create twice");
    const again = await run("topic create twice");
    assert.deepEqual([again.code, again.stdout], [1, ""]);
    assert.match(again.stderr, /^Creating topic "twice" was refused: .*\(TOPIC_ALREADY_EXISTS\)\.\n$/);
    assert.equal((await run("topic create twice --if-not-exists")).code, 0);
    assert.match((await run("topic create bad/name")).stderr, /INVALID_TOPIC/);
  });

  it("describes partitions, offsets, and settings with where they come from", async () => {
    await run("topic create described --partitions 2 --set retention.ms=5000");
    await run("produce described --partition 0 x");
    const { stdout } = await run("topic describe described");
    assert.match(stdout, /^described {3}id \S{22} {3}2 partitions {3}1 records\n/);
    assert.match(stdout, /^ +0 +\d+ +\d+ +0 +1 +1$/m);
    assert.match(stdout, /^retention\.ms +5000 +the topic$/m);
    assert.match(stdout, /^\d+ settings have their default; --all shows them\.$/m);
    const [all] = json(await run("topic describe described --all --json"));
    const settings = all?.["settings"];
    assert.ok(Array.isArray(settings) && settings.length > 10);
  });

  it("alters partitions and settings; what is refused changes nothing", async () => {
    await run("topic create changed");
    const { stdout } = await run(
      "topic alter changed --partitions 3 --set retention.ms=1000 --add-config retention.bytes=5,segment.bytes=20000000",
    );
    assert.equal(
      stdout,
      '✓ topic "changed" changed: 3 partitions, retention.ms=1000, retention.bytes=5, segment.bytes=20000000\n',
    );
    assert.match(
      (await run("topic alter changed --unset retention.ms")).stdout,
      /retention\.ms as the broker has it/,
    );
    assert.equal((await run("topic alter changed --partitions 2 --set retention.ms=7")).code, 1);
    const { stdout: after } = await run("topic describe changed");
    assert.doesNotMatch(after, /retention\.ms/);
    assert.match(after, /^retention\.bytes +5 /m);
    assert.match((await run("topic alter changd --partitions 9")).stderr, /Did you mean "changed"\?/);
  });

  it("deletes nothing when one of the names is mistyped", async () => {
    await run("topic create keep1");
    const typo = await run("topic delete keep1 keep2x");
    assert.equal(typo.code, 1);
    assert.match(typo.stderr, /There is no topic "keep2x"/);
    assert.equal((await run("topic describe keep1")).code, 0);
    assert.equal(
      (await run("topic delete keep1 keep2x --if-exists")).stdout,
      'topic "keep2x" did not exist\n✓ topic "keep1" deleted\n',
    );
  });

  it("segments tells bytes of partitions", async () => {
    await run("topic create sized");
    await run("produce sized x");
    const [row] = json(await run("topic segments sized --json"));
    assert.deepEqual([row?.["topic"], row?.["partition"]], ["sized", 0]);
    assert.ok((row?.["bytes"] as number) > 0);
  });

  it("purge deletes below an offset or everything, and tells what went", async () => {
    await run("topic create purged --partitions 2");
    await run("produce purged --partition 0 a b c");
    await run("produce purged --partition 1 x");
    assert.equal(
      (await run("topic purge purged --partition 0 --before 2")).stdout,
      "✓ purged/0: offsets 0 to 1 (2) deleted; it begins at offset 2\n",
    );
    assert.equal((await run("consume purged --from start --until end --format %v")).stdout.length, 2);
    assert.equal(
      (await run("topic purge purged --before end")).stdout,
      "✓ purged/0: offset 2 deleted; it begins at offset 3\n✓ purged/1: offset 0 deleted; it begins at offset 1\n",
    );
    assert.equal(
      (await run("topic purge purged --partition 1 --before 0")).stdout,
      "purged/1: nothing to delete; it begins at offset 1\n",
    );
    const [row] = json(await run("topic purge purged --partition 0 --before end --json"));
    assert.deepEqual(row, { topic: "purged", partition: 0, from: 3, to: 3, start: 3 });
    await run("produce purged --partition 0 d");
    assert.equal((await run("consume purged --from start --until end --format %v")).stdout, "d");
  });

  it("purge deletes nothing that was not said clearly", async () => {
    await run("topic create unclear --partitions 2");
    await run("topic create log --set cleanup.policy=compact");
    const refused = async (line: string, why: RegExp, code = 2): Promise<void> => {
      const ran = await run(line);
      assert.match(ran.stderr, why);
      assert.deepEqual([ran.code, ran.stdout], [code, ""]);
    };
    await refused("topic purge unclear", /needs to know what goes/);
    await refused("topic purge unclear --before 1", /has 2: name it with --partition/);
    await refused("topic purge unclear --before -1", /neither an offset nor end/);
    await refused("topic purge unclear --before end --partition 2", /no partition 2/);
    await refused("topic purge unclear --before 9 --partition 0", /OFFSET_OUT_OF_RANGE/, 1);
    await refused("topic purge log --before end", /only compacted.*POLICY_VIOLATION/, 1);
  });

  it("understands Kafka's way to say it", async () => {
    assert.equal(
      (
        await run(
          `topic --create --topic k --partitions 2 --replication-factor 1 --config retention.ms=9 --bootstrap-server ${broker.address}`,
        )
      ).code,
      0,
    );
    assert.match((await run("topic --describe --topic k")).stdout, /^retention\.ms +9 +the topic$/m);
    assert.match((await run("topics --list")).stdout, /^k +2/m);
    assert.equal((await run("topic --delete --topic k")).code, 0);
  });
});

describe("holdfast bench", () => {
  it("produce, consume and e2e tell what they measured, as text, CSV and JSON", async () => {
    const produced = await run("bench produce --records 200 --size 50 --topic b --csv");
    assert.equal(produced.code, 0, produced.stderr);
    const [head = "", row = ""] = produced.stdout.trim().split("\n");
    const figures = Object.fromEntries(head.split(",").map((name, index) => [name, row.split(",")[index]]));
    assert.deepEqual(
      [figures["bench"], figures["topic"], figures["records"], figures["bytes"]],
      ["produce", "b", "200", "10000"],
    );
    assert.ok(Number(figures["p50Ms"]) > 0 && Number(figures["p50Ms"]) <= Number(figures["maxMs"]));
    const [consumed] = json(await run("bench consume --topic b --json"));
    // And the one record that was sent before measuring began.
    assert.deepEqual([consumed?.["records"], consumed?.["p50Ms"]], [201, null]);
    const e2e = await run("bench e2e --topic b --records 50 --rate 1000 --size 20");
    assert.equal(e2e.code, 0, e2e.stderr);
    assert.match(
      e2e.stdout,
      /^50 records of 20 bytes in b, [\d.]+ s: [\d,]+ records\/s {3}[\d.]+ MiB\/s\nreceived after {3}p50 .* p99\.9 .* max /,
    );
  });

  it("a topic that is not there is not made to be read", async () => {
    const { code, stderr } = await run("bench consume --topic bb");
    assert.equal(code, 1);
    assert.match(stderr, /There is no topic "bb"/);
  });
});
