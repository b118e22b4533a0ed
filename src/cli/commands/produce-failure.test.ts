import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { startBroker } from "../../entry/testing.ts";
import { runProgram } from "../program.ts";
import { TestTerminal } from "../terminal-fixture.ts";

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[], input: readonly string[] = []): Promise<Ran> {
  const on = new TestTerminal(input);
  const code = await runProgram(args, on);
  return { code, stdout: on.stdout.text, stderr: on.stderr.text };
}

describe("holdfast produce, when the broker fails it", { concurrency: 2 }, () => {
  it("a broker that dies in the middle: every record given is in one of the numbers, and what was acknowledged is there", async () => {
    await using mortal = await startBroker({ topics: ["many"] });
    const lines = Array.from({ length: 200_000 }, (_none, index) => `${index}\n`);
    const running = run(["produce", "many", "-b", mortal.address, "--timeout", "2s"], [lines.join("")]);
    await mortal.waitFor({ topic: "many", count: 1 });
    await mortal.crash();
    const { code, stderr } = await running;
    assert.ok(code === 4 || code === 1 || code === 3, `${code} ${stderr}`);
    assert.doesNotMatch(stderr, /deliveryTimeoutMs/);
    const numbers = /^Of ([\d,]+) records: (.*); nothing behind them was sent\.$/m.exec(stderr);
    const count = (text: string | undefined): number => Number((text ?? "0").replaceAll(",", ""));
    const fates = Array.from(
      (numbers?.[2] ?? "").matchAll(/([\d,]+) (?:not )?(?:acknowledged|written)/g),
      ([, n]) => count(n),
    );
    assert.equal(
      fates.reduce((sum, each) => sum + each, 0),
      count(numbers?.[1]),
    );
    await mortal.restart();
    const stored = (await mortal.records("many")).map(({ value }) => value);
    assert.ok(stored.length >= (fates[0] ?? 0) && stored.length > 0);
    assert.ok(stored.every((value, index) => value === String(index)));
  });

  it("a topic that is not there and may not be made is a sentence that says what was perhaps meant", async () => {
    await using strict = await startBroker({
      topics: ["orders"],
      settings: { "auto.create.topics.enable": "false" },
    });
    const { code, stdout, stderr } = await run(["produce", "ordes", "x", "-b", strict.address]);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /There is no topic "ordes" at .* Did you mean "orders"\?\n$/);
  });
});
