/**
 * Starts the built program as a user would and says how long that took: from the process being made to the
 * line that begins with `Ready`, in a fresh data directory and again in the same one. Then it must say that it
 * can acknowledge, show metrics, and end with 0 when it is asked to; it fails otherwise.
 *
 *   node tools/try-build.ts [--runs 7] [--node 22.15.0] [--sources]
 *
 * `--node` takes that version of Node from the package registry; `--sources` runs `src/`, for comparison.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { start } from "./processes.ts";
import { loopback, repositoryRoot } from "./toolbox.ts";

const { values: given } = parseArgs({
  options: {
    runs: { type: "string", default: "7" },
    node: { type: "string" },
    sources: { type: "boolean", default: false },
  },
});
const readyMsMax = 30_000;
const node = given.node === undefined ? process.execPath : nodeOfVersion(given.node);
const program = join(repositoryRoot, given.sources ? "src/cli/main.ts" : "dist/cli/main.js");
const scratch = mkdtempSync(join(tmpdir(), "holdfast-try-build-"));

try {
  // The first run of a build fills the compile cache; everybody's second start is what is measured.
  const first = await readyAfterMs(join(scratch, "first"));
  const fresh: number[] = [];
  const existing: number[] = [];
  for (let run = 0; run < Number(given.runs); run++) {
    fresh.push(await readyAfterMs(join(scratch, `data-${run}`)));
    existing.push(await readyAfterMs(join(scratch, `data-${run}`)));
  }
  const version = execFileSync(node, ["-v"], { encoding: "utf8" }).trim();
  console.log(
    `${given.sources ? "src" : "dist"} under Node ${version}: Ready after ${say(fresh)} in a fresh directory, ` +
      `${say(existing)} in an existing one (median of ${given.runs}); the very first start took ${Math.round(first)} ms`,
  );
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function say(figures: readonly number[]): string {
  const sorted = figures.toSorted((a, b) => a - b);
  return `${Math.round(sorted[Math.floor(sorted.length / 2)] as number)} ms`;
}

async function readyAfterMs(data: string): Promise<number> {
  const begun = performance.now();
  const ready = Promise.withResolvers<{ readonly ms: number; readonly http: string }>();
  const broker = start(node, [program, "start", "--listen", `${loopback}:0`, "--data", data], {
    env: { NODE_COMPILE_CACHE: join(scratch, "compile-cache") },
    timeoutMs: readyMsMax,
    onLine: (line) => {
      const http = /^Ready .*metrics and health on (http:\S+)\)/.exec(line)?.[1];
      if (http !== undefined) ready.resolve({ ms: performance.now() - begun, http });
    },
  });
  const over = broker.ended.then(({ code, stderr }) => {
    throw new Error(`The program ended with ${code} before it was ready\n${stderr}`);
  });
  const { ms, http } = await Promise.race([ready.promise, over]);
  over.catch(() => undefined);
  assert.equal((await fetch(`${http}/health`)).status, 200, "it can acknowledge");
  assert.match(await (await fetch(`${http}/metrics`)).text(), /^holdfast_/m);
  broker.signal("SIGTERM");
  const { code, stderr } = await broker.ended;
  assert.equal(code, 0, `It ended with ${code}\n${stderr}`);
  return ms;
}

function nodeOfVersion(version: string): string {
  const args = ["exec", "--yes", `--package=node@${version}`, "--", "node", "-p", "process.execPath"];
  // Outside the repository, so that its own Node is not the one that answers.
  return execFileSync("npm", args, { cwd: tmpdir(), encoding: "utf8" }).trim();
}
