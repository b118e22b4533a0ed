/**
 * Starts the built program as a user would and says how long that took: from the process being made to the
 * line that begins with `Ready`, in a fresh data directory and again in the same one, and what it cost. Then it
 * must say that it can acknowledge, show metrics, and end with 0 when it is asked to; it fails otherwise.
 *
 *   node tools/try-build.ts [--runs 7] [--node 22.15.0] [--sources]
 *
 * `--node` takes that version of Node from the package registry; `--sources` runs `src/`, for comparison.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { start, useOf } from "./processes.ts";
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
  const first = await startUp(join(scratch, "first"));
  const fresh: StartUp[] = [];
  const existing: StartUp[] = [];
  for (let run = 0; run < Number(given.runs); run++) {
    fresh.push(await startUp(join(scratch, `data-${run}`)));
    existing.push(await startUp(join(scratch, `data-${run}`)));
  }
  const version = execFileSync(node, ["-v"], { encoding: "utf8" }).trim();
  console.log(
    `${given.sources ? "src" : "dist"} under Node ${version}: fresh directory ${say(fresh)}; existing directory ${say(existing)}; ` +
      `the very first start ${say([first])} (medians of ${given.runs}; load ${loadavg()[0]?.toFixed(1)} on ${availableParallelism()} cores)`,
  );
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

interface StartUp {
  readonly readyMs: number;
  readonly cpuMs: number;
  readonly rssMiB: number;
}

function say(starts: readonly StartUp[]): string {
  const median = (of: (one: StartUp) => number): number => {
    const sorted = starts.map((one) => of(one)).toSorted((a, b) => a - b);
    return Math.round(sorted[Math.floor(sorted.length / 2)] as number);
  };
  return `Ready after ${median((one) => one.readyMs)} ms, ${median((one) => one.cpuMs)} ms of CPU, ${median((one) => one.rssMiB)} MiB`;
}

async function startUp(data: string): Promise<StartUp> {
  const begun = performance.now();
  const ready = Promise.withResolvers<{ readonly readyMs: number; readonly http: string }>();
  const broker = start(node, [program, "start", "--listen", `${loopback}:0`, "--data", data], {
    env: { NODE_COMPILE_CACHE: join(scratch, "compile-cache") },
    timeoutMs: readyMsMax,
    onLine: (line) => {
      const http = /^Ready .*metrics and health on (http:\S+)\)/.exec(line)?.[1];
      if (http !== undefined) ready.resolve({ readyMs: performance.now() - begun, http });
    },
  });
  const over = broker.ended.then(({ code, stderr }) => {
    throw new Error(`The program ended with ${code} before it was ready\n${stderr}`);
  });
  const { readyMs, http } = await Promise.race([ready.promise, over]);
  over.catch(() => undefined);
  const { cpuSeconds, rssBytes } = useOf(broker.pid);
  assert.equal((await fetch(`${http}/health`)).status, 200, "it can acknowledge");
  assert.match(await (await fetch(`${http}/metrics`)).text(), /^holdfast_/m);
  broker.signal("SIGTERM");
  const { code, stderr } = await broker.ended;
  assert.equal(code, 0, `It ended with ${code}\n${stderr}`);
  return { readyMs, cpuMs: cpuSeconds * 1000, rssMiB: rssBytes / 1024 / 1024 };
}

function nodeOfVersion(version: string): string {
  const args = ["exec", "--yes", `--package=node@${version}`, "--", "node", "-p", "process.execPath"];
  // Outside the repository, so that its own Node is not the one that answers.
  return execFileSync("npm", args, { cwd: tmpdir(), encoding: "utf8" }).trim();
}
