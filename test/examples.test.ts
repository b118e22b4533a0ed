/** The examples are true. Those for other test runners are run by `tools/try-examples.ts`, which has to install them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import test from "node:test";

const root = join(import.meta.dirname, "..");

test("the examples for node:test pass as they stand", () => {
  // A test runner that runs inside of another one reports to it and not to us.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const files = [
    "shipping",
    "orders",
    "accounts",
    "invoices",
    "outbox",
    "work-queue",
    "offload",
    "cluster",
  ].map((name) => `examples/node-test/${name}.test.ts`);
  const args = ["--import", join(root, "test/from-source.ts"), "--test", ...files];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: root,
    env,
    encoding: "utf8",
    timeout: 120_000,
  });
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /pass 14/);
});
