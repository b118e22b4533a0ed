/**
 * Packs and installs what `npm run build` made, and uses it as somebody would: imports each entry, compiles a
 * program against its declarations, asks for help, and starts a broker. Says how long each takes: a start from
 * the process being made to the line that begins with `Ready`, in a fresh data directory and again in the same
 * one, and what it costs. The broker must then say that it can acknowledge, show metrics, and end with 0 when
 * it is asked to. Fails when something does not work; times are for people to judge.
 *
 *   node tools/try-build.ts [--runs 7] [--node 22.15.0] [--sources]
 *
 * `--node` takes that version of Node from the package registry; `--sources` starts `src/` and tries nothing
 * else, for comparison.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { entryNames, importMs, installPacked, median, roomsIn, runProgram } from "./packed.ts";
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
/** What the client may be made of. */
const roomsOfClient = ["base", "client", "entry", "io", "protocol", "record", "schema"];
const node = given.node === undefined ? process.execPath : nodeOfVersion(given.node);
const scratch = mkdtempSync(join(tmpdir(), "holdfast-try-build-"));
const compileCache = join(scratch, "compile-cache");
const runs = Number(given.runs);

/** What a reader of the README would write first, with every entry. */
const userProgram = `
import { createClient } from "holdfast/client";
import { apis } from "holdfast/protocol";
import { startBroker } from "holdfast/testing";
await using broker = await startBroker({ topics: ["orders"] });
await using client = createClient({ bootstrap: broker.address });
await using producer = client.producer();
const { offset }: { readonly offset: number } = await producer.send({ topic: "orders", value: "hello" });
for await (const record of client.consumer({ topic: "orders", from: "start" })) {
  const value: Uint8Array | null = record.value;
  console.log(offset, value === null ? null : Buffer.from(value).toString(), apis.length > 0);
  break;
}
`;

try {
  const program = given.sources ? join(repositoryRoot, "src/cli/main.ts") : tryPackage();
  // The first run of a build fills the compile cache; everybody's second start is what is measured.
  const first = await startUp(program, join(scratch, "first"));
  const fresh: StartUp[] = [];
  const existing: StartUp[] = [];
  for (let run = 0; run < runs; run++) {
    fresh.push(await startUp(program, join(scratch, `data-${run}`)));
    existing.push(await startUp(program, join(scratch, `data-${run}`)));
  }
  const version = execFileSync(node, ["-v"], { encoding: "utf8" }).trim();
  console.log(
    `${given.sources ? "src" : "dist"} under Node ${version}: fresh directory ${say(fresh)}; existing directory ${say(existing)}; ` +
      `the very first start ${say([first])} (medians of ${given.runs}; load ${loadavg()[0]?.toFixed(1)} on ${availableParallelism()} cores)`,
  );
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

/** Everything but the broker. Returns the installed program. */
function tryPackage(): string {
  const installed = installPacked(scratch);
  const entries = entryNames(installed);
  const foreign = roomsIn(installed, "holdfast/client").filter((room) => !roomsOfClient.includes(room));
  assert.deepEqual(foreign, [], "the client has nothing of the broker in it");
  const times = entries.map((entry) => `${entry} ${importMs(node, installed, entry, runs).toFixed(0)} ms`);
  console.log(`import of ${times.join(", ")} (medians of ${runs})`);
  const said = runProgram(node, installed, userProgram);
  assert.equal(said, "0 hello true\n");
  console.log(
    "a program in TypeScript compiles against it without skipLibCheck, and runs: broker, producer, consumer",
  );
  const program = join(installed.holdfast, "dist/cli/main.js");
  const bin = join(installed.directory, "node_modules/.bin/holdfast");
  assert.match(execFileSync(bin, ["--help"], { encoding: "utf8" }), /^Usage: holdfast/);
  const helpMs = Array.from({ length: runs }, () => {
    const begun = performance.now();
    execFileSync(node, [program, "--help"], { env: { ...process.env, NODE_COMPILE_CACHE: compileCache } });
    return performance.now() - begun;
  });
  console.log(`holdfast --help takes ${median(helpMs).toFixed(0)} ms (median of ${runs})`);
  return program;
}

interface StartUp {
  readonly readyMs: number;
  readonly cpuMs: number;
  /** When it was ready. */
  readonly rssMiB: number;
  /** A second after its metrics were read. */
  readonly idleRssMiB: number;
}

function say(starts: readonly StartUp[]): string {
  const of = (what: keyof StartUp): string => median(starts.map((one) => one[what])).toFixed(0);
  return (
    `Ready after ${of("readyMs")} ms, ${of("cpuMs")} ms of CPU, ${of("rssMiB")} MiB, ` +
    `${of("idleRssMiB")} MiB after its metrics were read`
  );
}

async function startUp(program: string, data: string): Promise<StartUp> {
  const begun = performance.now();
  const ready = Promise.withResolvers<{ readonly readyMs: number; readonly http: string }>();
  const broker = start(node, [program, "start", "--listen", `${loopback}:0`, "--data", data], {
    env: { NODE_COMPILE_CACHE: compileCache },
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
  await sleep(1000);
  const idle = useOf(broker.pid);
  broker.signal("SIGTERM");
  const { code, stderr } = await broker.ended;
  assert.equal(code, 0, `It ended with ${code}\n${stderr}`);
  const mebibytes = 1024 * 1024;
  return {
    readyMs,
    cpuMs: cpuSeconds * 1000,
    rssMiB: rssBytes / mebibytes,
    idleRssMiB: idle.rssBytes / mebibytes,
  };
}

function nodeOfVersion(version: string): string {
  const args = ["exec", "--yes", `--package=node@${version}`, "--", "node", "-p", "process.execPath"];
  // Outside the repository, so that its own Node is not the one that answers.
  return execFileSync("npm", args, { cwd: tmpdir(), encoding: "utf8" }).trim();
}
