import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { startBroker, type TestBroker } from "../entry/testing.ts";

const main = fileURLToPath(new URL("main.ts", import.meta.url));

let broker: TestBroker;
const running = new Set<ChildProcess>();
before(async () => {
  broker = await startBroker({ topics: ["orders"] });
});
after(async () => {
  for (const child of running) child.kill("SIGKILL");
  await broker.close();
});

interface Process {
  readonly child: ChildProcess;
  readonly output: { stdout: string; stderr: string };
  readonly ended: Promise<number | null>;
}

function start(...args: readonly string[]): Process {
  const env = { ...process.env, HOLDFAST_BOOTSTRAP: broker.address };
  const child = spawn(process.execPath, [main, ...args], { env });
  running.add(child);
  const output = { stdout: "", stderr: "" };
  child.stdout.on("data", (text) => {
    output.stdout += String(text);
  });
  child.stderr.on("data", (text) => {
    output.stderr += String(text);
  });
  const ended = once(child, "close").then(([code]) => {
    running.delete(child);
    return code as number | null;
  });
  return { child, output, ended };
}

describe("the program as a process", { concurrency: 2 }, () => {
  it("sends its input, follows a topic, and obeys SIGINT; nothing keeps it alive then", async () => {
    const producing = start("produce", "orders");
    producing.child.stdin?.write("one\ntwo\n");
    await broker.waitFor({ topic: "orders", count: 2 });
    const consuming = start("consume", "orders", "--from", "start", "--format", "%v\\n");
    while (!consuming.output.stdout.includes("two"))
      await once(consuming.child.stdout as NodeJS.ReadableStream, "data");
    producing.child.kill("SIGINT");
    consuming.child.kill("SIGINT");
    assert.deepEqual([await producing.ended, await consuming.ended], [130, 0]);
    assert.match(producing.output.stdout, /^✓ 2 records acked/);
    assert.match(producing.output.stderr, /^Interrupted\. Of 2 records: 2 acknowledged;/);
    assert.deepEqual(consuming.output, { stdout: "one\ntwo\n", stderr: "" });
  });

  it("a pipe that is closed ends it quietly with 0, and a full disk does not", {
    skip: process.platform !== "linux",
  }, async () => {
    const made = start("produce", "many");
    made.child.stdin?.end(Array.from({ length: 20_000 }, (_none, index) => `${index}\n`).join(""));
    assert.equal(await made.ended, 0, made.output.stderr);
    const shell = async (line: string): Promise<Process> => {
      const code = `"$0" "$1" consume many --from start ${line}`;
      const child = spawn("bash", ["-c", `set -o pipefail; ${code}`, process.execPath, main], {
        env: { ...process.env, HOLDFAST_BOOTSTRAP: broker.address },
      });
      const output = { stdout: "", stderr: "" };
      child.stdout.on("data", (text) => {
        output.stdout += String(text);
      });
      child.stderr.on("data", (text) => {
        output.stderr += String(text);
      });
      const [status] = (await once(child, "close")) as [number];
      return { child, output, ended: Promise.resolve(status) };
    };
    const closed = await shell("--format '%v\\n' | head -n 2");
    assert.deepEqual([await closed.ended, closed.output], [0, { stdout: "0\n1\n", stderr: "" }]);
    const full = await shell("--until end > /dev/full");
    assert.deepEqual([await full.ended, full.output.stderr], [1, "The output cannot be written (ENOSPC).\n"]);
  });

  it("help needs a few light files: no client, no broker, no logger", () => {
    const loaded = new Set<string>();
    const packages = new Set<string>();
    const load = (path: string): void => {
      if (loaded.has(path)) return;
      loaded.add(path);
      const imports = readFileSync(path, "utf8").matchAll(
        /^(?:import|export) (?!type)[^;]*?from "([^"]+)";/gm,
      );
      for (const [, target = ""] of imports) {
        if (target.startsWith(".")) load(join(dirname(path), target));
        else packages.add(target);
      }
    };
    for (const file of ["main.ts", "program.ts", "terminal.ts"]) load(join(dirname(main), file));
    assert.deepEqual([...packages].sort(), ["commander", "node:module", "node:util"]);
    assert.ok(loaded.size <= 18, [...loaded].join("\n"));
    assert.ok(![...loaded].some((path) => /src\/(?:broker|io|sim|log)\//.test(path)));
  });
});
