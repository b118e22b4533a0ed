/**
 * Types what the README says, in its order, and compares what is printed, with numbers, times, ids and paths
 * left out. A block with a file's name in its first line becomes that file. `holdfast` without arguments
 * starts a broker on a terminal of its own (`script`), on ports that are free; it stays until the end.
 */
import assert from "node:assert/strict";
import { execFile, type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { freePort } from "../../tools/processes.ts";
import { loopback, repositoryRoot } from "../../tools/toolbox.ts";

const scratch = mkdtempSync(join(tmpdir(), "holdfast-readme-"));
const [port, httpPort] = [await freePort(), await freePort()];
const commandMsMax = 30_000;
let broker: ChildProcess | undefined;

after(async () => {
  if (broker !== undefined && broker.exitCode === null) {
    const holder = readFileSync(join(scratch, "holdfast-data", "lock.holder"), "utf8");
    process.kill((JSON.parse(holder) as { readonly pid: number }).pid, "SIGTERM");
    await once(broker, "close");
  }
  rmSync(scratch, { recursive: true, force: true });
});

/** Node resolves `holdfast/client` as in somebody's project. */
function installEntries(): void {
  const installed = join(scratch, "node_modules", "holdfast");
  mkdirSync(installed, { recursive: true });
  const entries = ["client", "testing"];
  const exports = Object.fromEntries(entries.map((name) => [`./${name}`, `./${name}.js`]));
  writeFileSync(
    join(installed, "package.json"),
    JSON.stringify({ name: "holdfast", type: "module", exports }),
  );
  for (const name of entries) {
    const source = join(repositoryRoot, "src", "entry", `${name}.ts`);
    writeFileSync(join(installed, `${name}.js`), `export * from ${JSON.stringify(source)};\n`);
  }
}

const environment = {
  ...process.env,
  PATH: `${join(repositoryRoot, "bin")}:${join(repositoryRoot, "node_modules/.bin")}:${process.env["PATH"]}`,
  HOLDFAST_BOOTSTRAP: `${loopback}:${port}`,
  NODE_TEST_CONTEXT: undefined,
};

/** Both outputs of a command, as a terminal shows them. */
function typed(command: string): Promise<string> {
  return new Promise((resolve) => {
    const options = { cwd: scratch, env: environment, timeout: commandMsMax };
    execFile("bash", ["-c", `{ ${command}\n} 2>&1`], options, (_error, stdout) => resolve(stdout));
  });
}

function startOnTerminal(): Promise<string> {
  const command = `stty cols 200; exec holdfast --listen ${loopback}:${port} --http ${loopback}:${httpPort}`;
  const child = spawn("script", ["-qec", command, "/dev/null"], {
    cwd: scratch,
    env: environment,
    stdio: ["ignore", "pipe", "inherit"],
  });
  broker = child;
  return new Promise((resolve, reject) => {
    let said = "";
    child.stdout.on("data", (bytes: Buffer) => {
      said += stripVTControlCharacters(bytes.toString()).replaceAll("\r", "");
      if (/^Ready .*\n/m.test(said)) resolve(said);
    });
    child.on("close", () => reject(new Error(`It ended: ${said}`)));
  });
}

/** What does not change from machine to machine and from day to day. */
function lasting(text: string): string {
  return text
    .replaceAll(/[\w-]*(?<=[A-Za-z0-9_-]{22})(?=:)/g, "ID")
    .replaceAll(/(?<=\s)\/[^\s:]+/g, "PATH")
    .replaceAll(/\d[\d,.:]*(?<!:)/g, "0")
    .replaceAll(/\b0 (?:µs|ms|s)\b/g, "0 TIME")
    .replaceAll(/0T0Z/g, "0")
    .replaceAll(/ {2,}/g, "  ")
    .trim();
}

interface Step {
  readonly command: string;
  readonly printed: string;
}

function stepsIn(block: string): Step[] {
  return block
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const end = part.indexOf("\n");
      return { command: part.slice(0, end), printed: part.slice(end + 1) };
    });
}

describe("the README", () => {
  const text = readFileSync(join(repositoryRoot, "README.md"), "utf8");
  installEntries();
  for (const [, language, body] of text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)) {
    const block = body as string;
    const name = /^(?:\/\/|#) ([\w.-]+)\n/.exec(block)?.[1];
    if (language !== "console") {
      if (name !== undefined) writeFileSync(join(scratch, name), block);
      continue;
    }
    for (const { command, printed } of stepsIn(block)) {
      it(`is right about: ${command}`, async () => {
        const said = command === "holdfast" ? await startOnTerminal() : await typed(command);
        assert.equal(lasting(said), lasting(printed));
      });
    }
  }
});
