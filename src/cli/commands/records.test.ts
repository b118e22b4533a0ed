import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { startBroker, type TestBroker } from "../../entry/testing.ts";
import { runProgram } from "../program.ts";
import { TestTerminal } from "../terminal-fixture.ts";

let broker: TestBroker;
before(async () => {
  broker = await startBroker({ topics: ["orders", { name: "wide", partitions: 3 }] });
});
after(() => broker.close());

const directory = mkdtempSync(join(tmpdir(), "holdfast-records-"));
after(() => rmSync(directory, { recursive: true, force: true }));

function terminal(input: readonly (string | Uint8Array)[] = [], keepsOpen = false): TestTerminal {
  const made = new TestTerminal(input, keepsOpen);
  made.env["HOLDFAST_BOOTSTRAP"] = broker.address;
  return made;
}

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[], on: TestTerminal = terminal()): Promise<Ran> {
  const code = await runProgram(args, on);
  return { code, stdout: on.stdout.text, stderr: on.stderr.text };
}

/** Values of a topic, as latin1, so that every byte can be seen. */
async function valuesOf(topic: string, ...more: readonly string[]): Promise<readonly string[]> {
  const on = terminal();
  const code = await runProgram(
    ["consume", topic, "--from", "start", "--until", "end", "--format", "%v\\n", ...more],
    on,
  );
  assert.equal(code, 0, on.stderr.text);
  return on.stdout.bytes.toString("latin1").split("\n").slice(0, -1);
}

describe("holdfast produce", () => {
  it("says where each value went, once it is acknowledged, and that a topic was made", async () => {
    const { code, stdout, stderr } = await run(["produce", "greetings", "hello", "world"]);
    assert.equal(code, 0, stderr);
    assert.match(
      stdout,
      /^✓ greetings\/0 @ 0 {3}acked in [\d.]+ (?:µs|ms|s)\n✓ greetings\/0 @ 1 {3}acked in .*\n$/,
    );
    assert.equal(stderr, 'topic "greetings" created: 1 partition.\n');
    const typo = await run(["produce", "greeting", "hello"]);
    assert.match(typo.stderr, /^topic "greeting" created: 1 partition\. Did you mean "greetings"\?/);
  });

  it("sends a record for each line, byte for byte, and sums up", async () => {
    const input = [Buffer.from("first\r\n\xff\xfe\n", "latin1"), "no newline"];
    const { code, stdout, stderr } = await run(["produce", "lines"], terminal(input));
    assert.deepEqual([code, stderr], [0, 'topic "lines" created: 1 partition.\n']);
    assert.match(stdout, /^✓ 3 records acked in .*: lines\/0 @ 0…2\n$/);
    assert.deepEqual(await valuesOf("lines"), ["first", "\u00ff\u00fe", "no newline"]);
  });

  it("splits keys at a separator, sets headers and times, and takes back keys", async () => {
    await run(
      ["produce", "keyed", "-K", "\\t", "-H", "a=1", "--timestamp", "@1700000000123"],
      terminal(["k\tv\tw\n"]),
    );
    await run(["produce", "keyed", "-k", "k", "--tombstone"]);
    await run(["produce", "keyed", "--null-value", "NIL", "NIL"]);
    await run(["produce", "keyed", "--property", "parse.key=true", "--property", "key.separator=:", "x:y"]);
    const { stdout } = await run(["consume", "--topic", "keyed", "--from-beginning", "-e", "--json"]);
    const records = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { [name: string]: unknown });
    assert.deepEqual(
      records.map(({ key, value, headers }) => [key, value, headers]),
      [
        ["k", "v\tw", [{ name: "a", value: "1" }]],
        ["k", null, []],
        [null, null, []],
        ["x", "y", []],
      ],
    );
    assert.equal(records[0]?.["timestampMs"], 1_700_000_000_123);
  });

  it("sends a file as one record, whatever is in it, compressed when asked", async () => {
    const path = join(directory, "bytes");
    writeFileSync(path, Buffer.from("a\nb\0\xff", "latin1"));
    const { code } = await run(["produce", "files", "--file", path, "-z", "zstd"]);
    assert.equal(code, 0);
    const on = terminal();
    await runProgram(["consume", "files", "--from", "start", "--until", "end", "--format", "%v"], on);
    assert.equal(on.stdout.bytes.toString("latin1"), "a\nb\0\u00ff");
    const none = await run(["produce", "files", "--file", join(directory, "none")]);
    assert.deepEqual([none.code, none.stdout], [1, ""]);
    assert.match(none.stderr, /none does not exist; nothing was sent\.\n$/);
  });

  it("tells programs in JSON where each record went", async () => {
    const { stdout } = await run(["produce", "wide", "--json", "--partition", "2", "a", "b"]);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { [name: string]: unknown });
    assert.deepEqual(
      lines.map(({ topic, partition, offset }) => [topic, partition, offset]),
      [
        ["wide", 2, 0],
        ["wide", 2, 1],
      ],
    );
    assert.ok(lines.every(({ ackMs }) => typeof ackMs === "number"));
  });

  it("a record that is too large, or without its separator: what was acknowledged is said, and what follows is not sent", async () => {
    const large = await run(["produce", "partly"], terminal(["ok\n", "x".repeat(2_000_000), "\nafter\n"]));
    assert.equal(large.code, 1);
    assert.match(large.stderr, /^Line 2: .*(?:large|bytes)/m);
    assert.match(large.stderr, /1 acknowledged, 1 not written; nothing behind them was sent\.\n/);
    assert.deepEqual(await valuesOf("partly"), ["ok"]);
    const bare = await run(["produce", "partly", "-K", ":"], terminal(["a:1\nbare\nb:2\n"]));
    assert.equal(bare.code, 1);
    assert.match(bare.stderr, /^Line 2 has no key separator, so it was not sent, and nothing behind it\.\n/);
    assert.ok(!(await valuesOf("partly")).includes("2"));
  });

  it("Ctrl-C waits for what is under way, says what was acknowledged, and ends with 130", async () => {
    const on = terminal(["a\n", "b\n"], true);
    const running = run(["produce", "interrupted"], on);
    await broker.waitFor({ topic: "interrupted", count: 2 });
    on.interrupt();
    const { code, stdout, stderr } = await running;
    assert.equal(code, 130);
    assert.match(stdout, /^✓ 2 records acked/);
    assert.match(stderr, /^Interrupted\. Of 2 records: 2 acknowledged; nothing behind them was sent\.$/m);
  });

  it("an answer that does not come in time leaves a fate unknown: exit code 4, and the number is said", async () => {
    broker.faults.delay("Produce", 6_000);
    try {
      const { code, stdout, stderr } = await run(["produce", "orders", "lost", "--timeout", "1s"]);
      assert.deepEqual([code, stdout], [4, ""]);
      assert.match(stderr, /may or may not have been written/);
    } finally {
      broker.faults.clear();
    }
  });

  it("a second Ctrl-C waits for nothing, and counts what is under way as unknown", async () => {
    await run(["topic", "create", "abandoned"]);
    broker.faults.delay("Produce", 6_000);
    try {
      const on = terminal(["a\n"], true);
      const running = run(["produce", "abandoned"], on);
      await broker.waitFor({ topic: "abandoned" });
      on.interrupt();
      on.interrupt();
      const { code, stderr } = await running;
      assert.equal(code, 4);
      assert.match(
        stderr,
        /^Interrupted\. Of 1 records?: 0 acknowledged, 1 not acknowledged, perhaps written;/m,
      );
    } finally {
      broker.faults.delay("Produce", 0);
    }
  });

  it("whoever reads its output may leave: the records are sent all the same", async () => {
    const on = terminal();
    on.stdout.isGone = true;
    assert.equal((await run(["produce", "quiet", "a", "b"], on)).code, 0);
    assert.deepEqual(await valuesOf("quiet"), ["a", "b"]);
  });
});

describe("holdfast consume", () => {
  before(async () => {
    await run(["produce", "numbers"], terminal(["0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"]));
  });

  it("begins at an offset, at the last so many, at a time, and ends after a count or at the end", async () => {
    const from = async (...args: readonly string[]): Promise<string> =>
      (await run(["consume", "numbers", "--format", "%v", ...args])).stdout;
    assert.equal(await from("--from", "7", "--until", "end"), "789");
    assert.equal(await from("--from", "-2", "--until", "end"), "89");
    assert.equal(await from("--from", "1h", "--count", "3"), "012");
    assert.equal(await from("--from", "beginning", "--max-messages", "2"), "01");
    assert.equal(await from("-o", "end", "-e"), "");
    assert.equal(await from("--offset", "9", "--limit", "1"), "9");
  });

  it("prints one line for each record, with nothing in it that steers a terminal", async () => {
    await run(["produce", "lines-of-people", "-k", "k", "-H", "h=1", "a\u001b[2Jb\nc"]);
    const { stdout } = await run(["consume", "lines-of-people", "--from", "start", "--count", "1"]);
    assert.match(
      stdout,
      /^lines-of-people\/0 @ 0 {2}\d\d:\d\d:\d\d\.\d{3} {2}k → a\\x1b\[2Jb\\nc {2}\{h=1\}\n$/,
    );
  });

  it("prints as Kafka's console consumer does with its properties", async () => {
    const { stdout } = await run([
      "consume",
      "lines-of-people",
      "--from-beginning",
      "--max-messages",
      "1",
      "--property",
      "print.key=true",
      "--property",
      "print.offset=true",
      "--property",
      "key.separator=|",
    ]);
    assert.equal(stdout, "Offset:0|k|a\u001b[2Jb\nc\n");
  });

  it("follows until Ctrl-C, which is no failure", async () => {
    const on = terminal();
    const running = run(["consume", "numbers", "--from", "9", "--format", "%v\\n"], on);
    await on.stdout.until(/^9$/m);
    await run(["produce", "numbers", "10"]);
    await on.stdout.until(/^10$/m);
    on.interrupt();
    assert.deepEqual(await running, { code: 0, stdout: "9\n10\n", stderr: "" });
  });

  it("Ctrl-C before the count is reached ends with 130", async () => {
    const on = terminal();
    const running = run(
      ["consume", "numbers", "--from", "start", "--count", "1000", "--format", "%v\\n"],
      on,
    );
    await on.stdout.until(/^10$/m);
    on.interrupt();
    assert.equal((await running).code, 130);
  });

  it("ends quietly when nobody reads any more, and waits while the pipe is full", async () => {
    const gone = terminal();
    gone.stdout.isGone = true;
    assert.deepEqual(await run(["consume", "numbers", "--from", "start"], gone), {
      code: 0,
      stdout: "",
      stderr: "",
    });
    const full = terminal();
    let drain = (): void => {};
    full.stdout.full = new Promise<void>((resolve) => {
      drain = resolve;
    });
    const running = run(["consume", "numbers", "--from", "start", "--count", "3", "--format", "%v"], full);
    assert.equal(full.stdout.text, "");
    drain();
    assert.equal((await running).stdout, "012");
  });

  it("a topic or partition that is not there is a sentence with what was meant, and no topic is made", async () => {
    const typo = await run(["consume", "numbres", "--from", "start"]);
    assert.deepEqual([typo.code, typo.stdout], [1, ""]);
    assert.match(typo.stderr, /^There is no topic "numbres" at .*Did you mean "numbers"\?\n$/);
    const partition = await run(["consume", "wide", "--partition", "0,7", "--from", "start"]);
    assert.match(partition.stderr, /^Topic "wide" has no partition 7; it has the partitions 0 to 2\.\n$/);
    assert.doesNotMatch((await run(["topic", "list"])).stdout, /numbres/);
  });

  it("an offset that does not exist is an error, and --skip goes on where records are, and says so", async () => {
    const gone = await run(["consume", "numbers", "--from", "1000", "--until", "end"]);
    assert.deepEqual([gone.code, gone.stdout], [1, ""]);
    assert.match(
      gone.stderr,
      /^There is no offset 1000 in numbers\/0: .*; begin somewhere else with --from, or go on behind it with --skip\.\n$/,
    );
    const skipped = await run(["consume", "numbers", "--from", "1000", "--until", "end", "--skip"]);
    assert.deepEqual([skipped.code, skipped.stdout], [0, ""]);
    assert.match(
      skipped.stderr,
      /^Skipped: offset 1000 of numbers\/0 does not exist any more; reading goes on at 1\d\.\n$/,
    );
  });

  it("who answers and does not speak Kafka's protocol is told so, with exit code 3", async () => {
    const web = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    web.listen(0, "127.0.0.1");
    await once(web, "listening");
    const { port } = web.address() as net.AddressInfo;
    const { code, stderr } = await run(["consume", "numbers", "-b", `127.0.0.1:${port}`]);
    web.close();
    assert.equal(code, 3, stderr);
    assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}`));
    assert.equal(stderr.trimEnd().split("\n").length, 1);
  });
});
