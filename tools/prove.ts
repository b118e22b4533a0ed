/**
 * `npm run prove`: the long proofs in full, one after another. What each counted, and of which commit, is
 * recorded in `proofs/latest.json` as soon as it has passed. `npm run prove -- wal journal` runs those whose
 * name contains a word. Stops at the first proof that fails.
 *
 * The last four need other people's programs, which are installed into `.cache/` (tools/toolbox.ts).
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { run as auditClean } from "../test/proof/audit-clean.ts";
import { run as bucketFaults } from "../test/proof/bucket-faults.ts";
import { run as sharedGarbage } from "../test/proof/shared-garbage.ts";
import { run as compactionLife } from "../test/proof/compaction-life.ts";
import { run as journalAgree } from "../test/proof/journal-agree.ts";
import { run as journalCrash } from "../test/proof/journal-crash.ts";
import { run as journalDamage } from "../test/proof/journal-damage.ts";
import { run as journalOwners } from "../test/proof/journal-owners.ts";
import { run as segmentFlips } from "../test/proof/segment-flips.ts";
import { run as segmentLife } from "../test/proof/segment-life.ts";
import { run as storeCrash } from "../test/proof/store-crash.ts";
import { run as takeOvers } from "../test/proof/takeover.ts";
import { run as transactionLife } from "../test/proof/transaction-life.ts";
import { run as walCrash } from "../test/proof/wal-crash.ts";
import { run as walDamage } from "../test/proof/wal-damage.ts";
import { run as walFaults } from "../test/proof/wal-faults.ts";
import { run as brokerAway } from "../test/tough/broker-away.ts";
import { run as crowd } from "../test/tough/connections.ts";
import { run as fuzz } from "../test/tough/fuzz.ts";

type Counts = { readonly [what: string]: number };

interface Proof {
  readonly name: string;
  readonly run: () => Promise<Counts | string>;
}

const counted = async (run: Promise<{ readonly counts: Counts }>): Promise<Counts> => (await run).counts;
const full = { sample: false };

const proofs: readonly Proof[] = [
  { name: "wal: crash states", run: () => counted(walCrash(full)) },
  { name: "wal: every bit and every truncation", run: () => counted(walDamage(full)) },
  { name: "wal: every disk call fails", run: () => counted(walFaults(full)) },
  { name: "store: crash states", run: () => counted(storeCrash(full)) },
  { name: "journal: crash states", run: () => counted(journalCrash(full)) },
  { name: "journal: damage", run: () => counted(journalDamage(full)) },
  { name: "journal: agreement in a faulty bucket", run: () => counted(journalAgree(full)) },
  { name: "journal: owners in a faulty bucket", run: () => counted(journalOwners(full)) },
  {
    name: "journal: broken rules are found",
    run: () => tests({ HOLDFAST_BROKEN: "full" }, "test/proof/broken-journals.test.ts"),
  },
  {
    name: "bucket: the real client before one that misbehaves",
    run: async () => ({ ...(await bucketFaults({ seeds: 1_000 })) }),
  },
  {
    name: "segments: every bit and every truncation",
    run: async () => ({ ...(await segmentFlips({ sample: 1 })) }),
  },
  { name: "garbage: views that lag", run: async () => ({ ...(await sharedGarbage({ worlds: 2_000 })) }) },
  { name: "compaction: lives", run: async () => ({ ...(await compactionLife({ worlds: 2_000 })) }) },
  { name: "transactions: lives", run: async () => ({ ...(await transactionLife({ worlds: 1_000 })) }) },
  { name: "segments: lives", run: async () => ({ ...(await segmentLife({ worlds: 2_000 })) }) },
  { name: "audit: correct logs", run: () => counted(auditClean({ histories: 10_000 })) },
  { name: "simulation: whole broker", run: () => command("node", "src/sim/main.ts", "--seeds", "2000") },
  {
    name: "simulation: a thousand hours at the pace of real clients",
    run: () =>
      command("node", "src/sim/sparse.ts", "--hours", "1100", "--workers", "2", "--least-cell", "100"),
  },
  {
    name: "simulation: cluster hours, two thousand of them",
    run: () => command("node", "src/sim/cluster.ts", "--hours", "2000", "--workers", "2"),
  },
  {
    name: "simulation: share hours, five hundred of them",
    run: () => command("node", "src/sim/share.ts", "--hours", "500", "--workers", "2"),
  },
  {
    name: "cluster: take-overs, moves and zombies in random schedules",
    run: async () => ({ ...(await takeOvers({ schedules: 50_000 })) }),
  },
  {
    name: "cluster: rooms that break a rule of fencing",
    run: () => tests({ HOLDFAST_BROKEN: "full" }, "test/proof/broken-take-overs.test.ts"),
  },
  {
    name: "simulation: determinism",
    run: () => command("node", "src/sim/main.ts", "--seeds", "200", "--twice"),
  },
  {
    name: "simulation: determinism of share hours",
    run: () => command("node", "src/sim/share.ts", "--hours", "25", "--twice", "--workers", "2"),
  },
  {
    name: "tough: ten million mutated frames",
    run: async () => ({
      ...(await fuzz({ mutants: 10_000_000, framesPerRound: 40_000, firstSeed: 1, workers: 2 })),
    }),
  },
  {
    name: "tough: decompression bombs",
    run: () => tests({ HOLDFAST_TOUGH: "full" }, "test/tough/bombs.test.ts"),
  },
  {
    name: "tough: idle and slow connections",
    run: async () => ({ ...(await crowd({ idle: 5_000, slow: 1_000, flood: 0, seconds: 30, rss: 2_000 })) }),
  },
  { name: "tough: the broker is away for two minutes", run: () => brokerAway({ awayMs: 120_000 }) },
  { name: "specification: schemas of Kafka 4.4.0", run: () => tests({}, "test/spec/*.test.ts") },
  {
    name: "crash: kill -9 and power cuts of the real process",
    run: () => tests({ HOLDFAST_CRASH_CYCLES: "200" }, "test/crash/crash.test.ts"),
  },
  {
    name: "interoperability: full data set",
    run: () => tests({ HOLDFAST_INTEROP: "full" }, "test/interop/*.test.ts"),
  },
  {
    name: "conformance: Kafka's frameworks",
    run: () => tests({ HOLDFAST_CONFORMANCE: "full" }, "test/conformance/*.test.ts"),
  },
];

function tests(env: { readonly [name: string]: string }, pattern: string): Promise<string> {
  Object.assign(process.env, env);
  return command("node", "--test", "--test-timeout=7200000", pattern);
}

/** Its last line of counts, for the record; what it prints is shown as it comes. */
function command(program: string, ...args: string[]): Promise<string> {
  const path = `${join(process.cwd(), "node_modules", ".bin")}${delimiter}${process.env["PATH"] ?? ""}`;
  const { status, stdout } = spawnSync(program, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, PATH: path },
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  process.stdout.write(stdout);
  if (status !== 0) return Promise.reject(new Error(`${program} ${args.join(" ")} ended with ${status}`));
  const lines = stdout.trim().split("\n");
  return Promise.resolve(lines.filter((line) => /acknowledged|^ℹ (tests|pass|fail)/.test(line)).join("; "));
}

/** The newest result of each proof, and of which commit it is. */
interface Record {
  [name: string]: {
    readonly commit: string;
    readonly date: string;
    readonly node: string;
    readonly seconds: number;
    readonly counts: Counts | string;
  };
}
const recordPath = "proofs/latest.json";

const git = (...args: string[]): string => execFileSync("git", args, { encoding: "utf8" }).trim();

/** Whether what is proved is not what is committed; the record itself does not count. */
const isChanged = (): boolean =>
  git("status", "--porcelain", "--untracked-files=no", "--", ".", `:!${recordPath}`) !== "";

function record(name: string, seconds: number, counts: Counts | string): void {
  const commit = `${git("rev-parse", "--short", "HEAD")}${isChanged() ? "-dirty" : ""}`;
  const known = existsSync(recordPath) ? (JSON.parse(readFileSync(recordPath, "utf8")) as Record) : {};
  known[name] = { commit, date: new Date().toISOString(), node: process.versions.node, seconds, counts };
  const inOrder = Object.fromEntries(
    proofs.flatMap((each) => (known[each.name] ? [[each.name, known[each.name]]] : [])),
  );
  mkdirSync("proofs", { recursive: true });
  writeFileSync(recordPath, `${JSON.stringify(inOrder, null, 2)}\n`);
}

const wanted = process.argv.slice(2);
const chosen = proofs.filter(({ name }) => wanted.length === 0 || wanted.some((word) => name.includes(word)));
for (const { name, run } of chosen) {
  const begun = performance.now();
  const counts = await run();
  const seconds = Math.round((performance.now() - begun) / 1000);
  record(name, seconds, counts);
  console.log(`✓ ${name} (${seconds} s) ${JSON.stringify(counts)}`);
}
console.log(`${chosen.length} passed, 0 failed; recorded in ${recordPath}`);
