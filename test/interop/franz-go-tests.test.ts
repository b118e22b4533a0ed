/**
 * franz-go's own integration tests, which its published module carries, against this broker: every one that
 * talks to a broker, found in its sources, so that none is left out by choice.
 *
 *   HOLDFAST_INTEROP   sample (few records, without the slowest) or full (as many records as their authors use)
 *   HOLDFAST_TARGET    kafka instead of holdfast, which tells whose fault it is; cluster or cluster-minio
 *
 * `full` keeps what passed for docs/compatibility.md: `node tools/pages.ts --take-results`.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Broker, type BrokerKind, startBroker } from "../../tools/brokers.ts";
import { type InteropResult, keepNewest, testedCommit } from "../../tools/interop-results.ts";
import { start } from "../../tools/processes.ts";
import { cacheDirectory, type GoTests, goTests } from "../../tools/toolbox.ts";
import { franzGo } from "./clients.ts";

const scale = process.env["HOLDFAST_INTEROP"];
const skip = scale === undefined ? "set HOLDFAST_INTEROP to sample or full" : false;
const target = (process.env["HOLDFAST_TARGET"] ?? "holdfast") as BrokerKind;
const isFull = scale === "full";

/** Tests of chains of groups, the second in transactions; their parts share a bound on how many run at a time. */
const chains = "TestGroupETL";
const transactions = "TestTxnEtl";
/** They wait for ten seconds and more by themselves. */
const slow = new Set(["TestIssue337", "TestIssue434", "TestIssue523"]);
/** It takes records of an internal topic for one of its own two, so one fetch must bring all: from one broker. */
const ofOneBroker = new Set(target.startsWith("cluster") ? ["Test848RegexBrokerResolves"] : []);

let directory = "";
let broker: Broker;
let tests: GoTests;

before(async () => {
  if (skip !== false) return;
  tests = await goTests(join(import.meta.dirname, "go"), "github.com/twmb/franz-go/pkg/kgo");
  mkdirSync(join(cacheDirectory, "interop"), { recursive: true });
  directory = mkdtempSync(join(cacheDirectory, "interop", "franz-go-"));
  broker = await startBroker(target, { directory: join(directory, target) });
});

after(async () => {
  // It is not there when it could not start.
  const ended = await (broker as Broker | undefined)?.stop();
  if (ended === undefined) return;
  const { code, signal, stdout } = ended;
  assert.ok([0, 143].includes(code ?? -1), `the broker ended with ${code ?? signal}: ${stdout.slice(-4000)}`);
  rmSync(directory, { recursive: true, force: true });
});

const apart = [chains, transactions];

test("franz-go's own tests of producing, consuming and simple groups pass", { skip }, async () => {
  const names = brokerTests(tests.directory).filter((name) => !apart.includes(name));
  assert.ok(names.length > 30, `${names.length} tests that need a broker were found`);
  const wanted = names.filter((name) => !ofOneBroker.has(name) && (isFull || !slow.has(name)));
  const cases = await run(wanted, { records: 1_000, timeoutMs: 300_000 });
  keep(cases);
  assert.deepEqual(failed(cases), []);
  assert.ok(cases.filter(({ skipped }) => skipped === undefined).length > 25, "most of them ran");
});

test("franz-go's chains of groups consume every record once and in order, with members that come and go", {
  skip,
}, async () => {
  const records = isFull ? 500_000 : 2_000;
  // At most four of them run at a time, so six take twice as long.
  const parts = isFull ? "" : "/^(sticky|cooperative-sticky)$";
  const cases = await run([chains], { records, timeoutMs: 1_200_000, parts });
  keep(cases);
  assert.deepEqual(failed(cases), []);
  const ran = cases.filter(({ what, skipped }) => what.startsWith(`${chains}/`) && skipped === undefined);
  assert.equal(ran.length, isFull ? 6 : 4, ran.map(({ what }) => what).join(", "));
});

test("franz-go's chains of transactions copy every record once, with members that come and go", {
  skip,
}, async () => {
  const records = isFull ? 500_000 : 2_000;
  const parts = isFull ? "" : "/^(range|cooperative-sticky)$";
  const cases = await run([transactions], { records, timeoutMs: 1_800_000, parts });
  keep(cases);
  assert.deepEqual(failed(cases), []);
  const ran = cases.filter(
    ({ what, skipped }) => what.startsWith(`${transactions}/`) && skipped === undefined,
  );
  assert.equal(ran.length, isFull ? 6 : 4, ran.map(({ what }) => what).join(", "));
});

for (const chain of [chains, transactions]) {
  test(`franz-go's chains of ${chain} pass while each connection dies within two seconds`, {
    skip: skip !== false ? skip : isFull ? false : "it takes minutes",
  }, async () => {
    const cases = await run([chain], { records: 50_000, timeoutMs: 1_200_000, chaos: true });
    keep(cases.map((each) => ({ ...each, what: `${each.what}, dying connections` })));
    assert.deepEqual(failed(cases), []);
  });
}

/** Names of the tests that make topics, groups or clients of a real broker. */
function brokerTests(sources: string): string[] {
  const needsBroker =
    /\b(newTestClient|testClientOpts|tmpTopic\w*|tmpNamedTopic\w*|tmpGroup|getSeedBrokers|adm)\(|\bscramSeeds\b/;
  return readdirSync(sources)
    .filter((file) => file.endsWith("_test.go") && file !== "helpers_test.go")
    .flatMap((file) => readFileSync(join(sources, file), "utf8").split(/^func /m))
    .filter((text) => /^Test\w*\(t \*testing\.T\)/.test(text) && needsBroker.test(text))
    .map((text) => text.slice(0, text.indexOf("(")));
}

interface TestEvent {
  readonly Action: string;
  readonly Test?: string;
  readonly Output?: string;
  readonly Elapsed?: number;
}

interface RunOptions {
  readonly records: number;
  readonly timeoutMs: number;
  /** Connections die by themselves. */
  readonly chaos?: boolean;
  /** Which parts of the tests: a pattern behind a slash. */
  readonly parts?: string;
}

/** Runs these tests in one process, as their authors do; answers each case, and each part of one. */
async function run(
  names: readonly string[],
  { records, timeoutMs, chaos = false, parts = "" }: RunOptions,
): Promise<readonly InteropResult[]> {
  const commit = testedCommit();
  const { client, version, language } = franzGo();
  const cases: InteropResult[] = [];
  const output = new Map<string, string>();
  const running = start(
    "go",
    [
      "tool",
      "test2json",
      "-t",
      tests.program,
      "-test.v=test2json",
      "-test.run",
      `^(${names.join("|")})$${parts}`,
      `-test.timeout=${timeoutMs}ms`,
      "-test.parallel=8",
    ],
    {
      cwd: tests.directory,
      env: {
        KGO_SEEDS: broker.address,
        KGO_TEST_RF: "1",
        KGO_TEST_RECORDS: `${records}`,
        KGO_LOG_LEVEL: "none",
        ...(chaos ? { KGO_TEST_CHAOS: "1" } : {}),
      },
      timeoutMs: timeoutMs + 10_000,
      onLine: (line) => {
        if (!line.startsWith("{")) return;
        const {
          Action: action,
          Test: what,
          Output: said = "",
          Elapsed: seconds = 0,
        } = JSON.parse(line) as TestEvent;
        if (what === undefined) return;
        if (action === "output") output.set(what, `${output.get(what) ?? ""}${said}`.slice(-20_000));
        if (action !== "pass" && action !== "fail" && action !== "skip") return;
        const told = reasonOf(output.get(what) ?? "");
        cases.push({
          client,
          version,
          language,
          target,
          kind: "suite",
          what,
          killed: false,
          passed: action !== "fail",
          ...(action === "skip" ? { skipped: told } : {}),
          ...(action === "fail" ? { failure: told } : {}),
          seconds,
          at: new Date().toISOString(),
          commit,
        });
      },
    },
  );
  const { code, stderr } = await running.ended;
  const ended = new Set(cases.map(({ what }) => what));
  const silent = names.filter((name) => !ended.has(name));
  assert.deepEqual(silent, [], `these said nothing; the process ended with ${code}: ${stderr.slice(-4000)}`);
  return cases.toSorted((a, b) => (a.what < b.what ? -1 : 1));
}

/** What a test said of itself: the first line with a place in its source. */
function reasonOf(output: string): string {
  const place = /^\s+\w+_test\.go:\d+: (.*)$/m.exec(output)?.[1];
  return (place ?? /panic: .*/.exec(output)?.[0] ?? "").slice(0, 300);
}

function failed(cases: readonly InteropResult[]): string[] {
  return cases.filter(({ passed }) => !passed).map(({ what, failure = "" }) => `${what}: ${failure}`);
}

function keep(cases: readonly InteropResult[]): void {
  if (scale !== undefined) keepNewest(`franz-go-${target}-${scale}`, { scale, results: cases });
}
