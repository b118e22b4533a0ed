import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import type { Command } from "commander";
import { type Shell, completionScript } from "./commands/completion.ts";
import { sheets } from "./commands/cheat.ts";
import { commandPath, examplesOf } from "./declare.ts";
import { runProgram } from "./program.ts";
import { readStartOptions } from "./start-options.ts";
import { TestTerminal } from "./terminal-fixture.ts";
import { commandTree } from "./tree.ts";

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(...args: readonly string[]): Promise<Ran> {
  const terminal = new TestTerminal();
  const code = await runProgram(args, terminal);
  return { code, stdout: terminal.stdout.text, stderr: terminal.stderr.text };
}

const everyCommand = (command: Command): readonly Command[] => [
  command,
  ...command.commands.flatMap(everyCommand),
];
const commands = everyCommand(commandTree(() => Promise.resolve()));

describe("the command line", () => {
  it("help is on standard output and ends with 0, for every command and in each of its forms", async () => {
    for (const command of commands) {
      const path = commandPath(command)
        .split(" ")
        .filter((word) => word !== "");
      const { code, stdout, stderr } = await run(...path, "--help");
      assert.deepEqual([code, stderr], [0, ""], path.join(" "));
      assert.match(stdout, new RegExp(`^Usage: holdfast ${path.join(" ")}`));
      assert.doesNotMatch(stdout, /--bootstrap-server|undefined/);
      assert.equal((await run("help", ...path)).stdout, stdout);
    }
    assert.match((await run("--help")).stdout, /--listen HOST:PORT/);
  });

  it("a noun without a verb tells its verbs, and is a wrong command line", async () => {
    const { code, stdout, stderr } = await run("topic");
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /create/);
  });

  it("what cannot be understood is one sentence and exit code 2, and near names are named", async () => {
    const cases: readonly [readonly string[], RegExp][] = [
      [
        ["prodce", "orders"],
        /^There is no command prodce, but there is produce; holdfast --help lists what there is\.$/,
      ],
      [["topic", "lst"], /^There is no command topic lst, but there is topic list;/],
      [
        ["produce", "--nonsense"],
        /^Unknown option '--nonsense'; holdfast produce --help lists the options\.$/,
      ],
      [["produce"], /^The name of a topic is missing: holdfast produce TOPIC\.$/],
      [["topic", "create"], /^The name of a topic is missing: holdfast topic create TOPIC/],
      [["consume", "orders", "--count", "x"], /^--count needs a whole number of at least 1, not "x"\.$/],
      [["consume", "orders", "--from", "soon"], /^--from soon is no position/],
      [["consume", "orders", "--partition", "1-"], /^--partition needs numbers/],
      [["consume", "orders", "--format", "%q"], /^--format has "%q", which means nothing/],
      [["consume", "orders", "--json", "--format", "%v"], /give one of them\.$/],
      [["consume", "orders", "--group", "g", "--from", "3"], /^A group goes on where it left off;/],
      [["produce", "orders", "v", "--file", "x"], /^--file is one record's value/],
      [["produce", "orders", "--tombstone"], /^--tombstone takes back a key/],
      [["produce", "orders", "v", "-H", "x"], /^--header needs NAME=VALUE/],
      [["produce", "orders", "v", "-z", "rar"], /none, gzip, snappy, lz4, zstd/],
      [["produce", "orders", "v", "--property", "schema.registry.url=x"], /has no meaning here/],
      [["topic", "alter", "orders"], /^topic alter needs something to change/],
      [["topic", "create", "orders", "--set", "x"], /^--set needs KEY=VALUE/],
      [["completion", "tcsh"], /bash, zsh, fish/],
      [["cheat", "topics"], /^There is no cheat sheet topics, but there is topic/],
      [["list", "-b", "x"], /^There is no command list/],
    ];
    for (const [args, sentence] of cases) {
      const { code, stdout, stderr } = await run(...args);
      assert.deepEqual([code, stdout], [2, ""], args.join(" "));
      assert.match(stderr.trimEnd(), sentence);
      assert.equal(stderr.trimEnd().split("\n").length, 1, stderr);
    }
  });

  it("nobody there, or no address: a sentence, and codes 3 and 2", async () => {
    const nobody = await run("produce", "orders", "v", "-b", "127.0.0.1:1");
    assert.equal(nobody.code, 3);
    assert.match(nobody.stderr, /^The broker at 127\.0\.0\.1:1 cannot be reached: nothing listens there\./);
    assert.equal(nobody.stdout, "");
    const wrong = await run("topic", "list", "-b", "http://x");
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /HOST:PORT/);
  });

  it("the options of start in the tree are those that start understands", () => {
    const start = commands.find((command) => commandPath(command) === "start");
    const values: { readonly [name: string]: string } = {
      "--listen": "127.0.0.1:1",
      "--http": "127.0.0.1:1",
      "--advertise": "a:1",
      "--data": "x",
      "--set": "a=b",
      "--store": "file:x",
    };
    // Options that say where a bucket is need one.
    const bucket = new Set(["--endpoint", "--region"]);
    for (const { long = "", required } of start?.options ?? []) {
      if (long === "--version" || long === "--config") continue;
      const before = bucket.has(long) ? ["--store", "s3://log"] : [];
      const given = required ? [long, values[long] ?? "x"] : [long];
      assert.doesNotThrow(() => readStartOptions([...before, ...given]), long);
    }
    assert.ok((start?.options.length ?? 0) >= 7);
  });
});

describe("what is told about the commands is true of the tree", () => {
  const parsed = async (line: string): Promise<boolean> => {
    let understood = false;
    const tree = commandTree(() => {
      understood = true;
      return Promise.resolve();
    });
    const command = line.replace(/^(?:source <\()?holdfast /, "").replace(/ (?:[<|]) .*$|\)$/, "");
    const words = Array.from(
      command.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g),
      ([, a, b, c]) => a ?? b ?? c ?? "",
    );
    await tree.parseAsync(words, { from: "user" });
    return understood;
  };

  it("every example of the help is understood", async () => {
    for (const command of commands) {
      for (const { line } of examplesOf(command)) {
        if (commandPath(command) === "start") continue;
        assert.ok(await parsed(line), line);
      }
    }
  });

  it("every line of the cheat sheets is understood", async () => {
    for (const { lines } of Object.values(sheets)) {
      for (const [, line] of lines) {
        if (!line.startsWith("holdfast ") || line.startsWith("holdfast start")) continue;
        assert.ok(await parsed(line), line);
      }
    }
    const all = await run("cheat");
    for (const noun of Object.keys(sheets)) {
      assert.match(all.stdout, new RegExp(`holdfast cheat ${noun} `));
      assert.equal((await run("cheat", noun)).code, 0);
    }
  });

  it("a completion script has all commands and options, and bash understands it", () => {
    for (const shell of ["bash", "zsh", "fish"] as const satisfies readonly Shell[]) {
      const script = completionScript(shell);
      for (const word of ["produce", "describe", "e2e", "completion"])
        assert.match(script, new RegExp(word), shell);
      assert.doesNotMatch(script, /bootstrap-server|undefined|\[object/);
    }
    const complete = (line: string): readonly string[] => {
      const words = line.split(" ");
      const code = `${completionScript("bash")}\nCOMP_WORDS=("$@"); COMP_CWORD=${words.length - 1}; _holdfast; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { stdout, stderr } = spawnSync("bash", ["-c", code, "bash", ...words], { encoding: "utf8" });
      assert.equal(stderr, "");
      return stdout.trim().split("\n");
    };
    assert.deepEqual(complete("holdfast pro"), ["produce"]);
    assert.deepEqual(complete("holdfast topic de"), ["describe", "delete"]);
    assert.deepEqual(complete("holdfast topic create --part"), ["--partitions"]);
    assert.deepEqual(complete("holdfast produce orders -z "), ["none", "gzip", "snappy", "lz4", "zstd"]);
    assert.deepEqual(complete("holdfast completion z"), ["zsh"]);
  });
});
