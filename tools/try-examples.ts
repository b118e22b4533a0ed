/**
 * Runs the examples as a user would: the package is packed from `dist/` and installed beside Vitest, Jest
 * and KafkaJS in the versions of examples/package.json (once, into `.cache/`), then each test runner runs
 * its own, and their types are checked. Fails when one fails, or when nothing was run.
 *
 *   node tools/try-examples.ts        after `npm run build`
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { cacheDirectory, repositoryRoot } from "./toolbox.ts";

const timeoutMs = 180_000;
const quietly = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"];
const examples = join(repositoryRoot, "examples");

assert.ok(existsSync(join(repositoryRoot, "dist/entry/testing.js")), "Run `npm run build` first.");
const tools = installTools();
// Inside of it, so that the test runners are found from here.
const work = mkdtempSync(join(tools, "run-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

cpSync(examples, work, { recursive: true });
install(pack());

const bin = (name: string): string => join(tools, "node_modules", ".bin", name);
run("types", join(repositoryRoot, "node_modules/.bin/tsc"), ["-p", typeSettings()]);
const vitest = run("Vitest", bin("vitest"), ["run", "vitest"]);
assert.match(vitest, /Tests\s+2 passed/);
const jest = run("Jest", bin("jest"), ["jest"], {
  env: { NODE_OPTIONS: "--experimental-vm-modules" },
});
assert.match(jest, /Tests:\s+2 passed/);
const nodeTest = run("node:test", process.execPath, ["--test", "node-test/*.test.ts"]);
assert.match(nodeTest, /pass 14/);

/** Test runners and KafkaJS. Without a lock file, as a user gets them today: what breaks there should be seen here. */
function installTools(): string {
  const wanted = readFileSync(join(examples, "package.json"));
  const digest = createHash("sha256").update(wanted).digest("hex").slice(0, 16);
  const directory = join(cacheDirectory, "npm", `examples-${digest}`);
  if (existsSync(directory)) return directory;
  const unfinished = `${directory}.${process.pid}`;
  mkdirSync(unfinished, { recursive: true });
  writeFileSync(join(unfinished, "package.json"), wanted);
  run("npm install of the test runners", "npm", ["install", ...quietly], { in: unfinished });
  renameSync(unfinished, directory);
  return directory;
}

/** The tarball that would be published, made of `dist/` as it is. */
function pack(): string {
  const packages = join(work, "packed");
  mkdirSync(packages);
  run("npm pack", "npm", ["pack", "--ignore-scripts", "--pack-destination", packages, repositoryRoot]);
  const [name] = readdirSync(packages);
  assert.ok(name !== undefined, "npm pack makes a file");
  return join(packages, name);
}

function install(tarball: string): void {
  writeFileSync(join(work, "package.json"), JSON.stringify({ private: true, type: "module" }));
  run("npm install of the package", "npm", ["install", "--no-save", ...quietly, tarball]);
}

/** Written here, because the examples themselves need none. */
function typeSettings(): string {
  const path = join(work, "tsconfig.json");
  const { compilerOptions } = JSON.parse(readFileSync(join(repositoryRoot, "tsconfig.json"), "utf8")) as {
    readonly compilerOptions: object;
  };
  const settings = {
    compilerOptions: {
      ...compilerOptions,
      rootDir: work,
      typeRoots: [join(repositoryRoot, "node_modules/@types")],
    },
    include: ["shipping.ts", "node-test", "vitest"],
  };
  writeFileSync(path, JSON.stringify(settings));
  return path;
}

/** Answers what was printed, errors behind the rest. Ends the process with it when the command fails. */
function run(
  name: string,
  command: string,
  args: readonly string[],
  options: { readonly in?: string; readonly env?: Readonly<Record<string, string>> } = {},
): string {
  const begun = performance.now();
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: options.in ?? work,
    encoding: "utf8",
    timeout: timeoutMs,
    env: { ...process.env, NO_COLOR: "1", ...options.env },
  });
  if (status !== 0) {
    console.error(`${name} failed (${error?.message ?? status}):\n${stdout}\n${stderr}`);
    process.exit(1);
  }
  console.log(`${name}: fine in ${Math.round(performance.now() - begun)} ms`);
  return stdout + stderr;
}
