/**
 * Three brokers over MinIO while idempotent producers write and a reader follows, and the bucket goes away again and
 * again: it stands still (SIGSTOP: connections are there, and nothing answers), or it is gone (SIGKILL: nothing
 * listens). While it is away nothing may be acknowledged, and no broker may end or be replaced; afterwards all goes on
 * by itself, and at the end nothing acknowledged is missing, doubled or out of order.
 *
 *     node test/bucket/outages.ts [--outages 5] [--away 60]
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { startCluster } from "../../tools/clusters.ts";
import { cacheDirectory } from "../../tools/toolbox.ts";
import { type Counts, isClean, startLoad } from "../crash/run.ts";
import { bucket, type Minio, startMinio } from "./minio.ts";

export interface OutageReport extends Counts {
  readonly outages: number;
  /** From the bucket's return until the first acknowledgement. */
  readonly backMs: readonly number[];
  readonly passed: boolean;
}

/** What the bucket had taken when it went is acknowledged for so long. */
const settleMs = 2_000;

export async function outages(options: {
  readonly outages: number;
  readonly awayMs: number;
  readonly onEvent?: (line: string) => void;
}): Promise<OutageReport> {
  mkdirSync(join(cacheDirectory, "crash"), { recursive: true });
  const directory = mkdtempSync(join(cacheDirectory, "crash", "outages-"));
  let minio = await startMinio(join(directory, "minio"));
  const store = `s3://${bucket}/outages`;
  const cluster = await startCluster({ directory, store, env: minio.env });
  try {
    const pids = cluster.brokers.map((broker) => broker.pid());
    const load = await startLoad(cluster.address, "outages");
    await load.acknowledges(1_000);
    const backMs: number[] = [];
    for (let at = 0; at < options.outages; at++) {
      const comeBack = at % 2 === 0 ? standStill(minio) : await vanish(minio, directory);
      await sleep(Math.min(settleMs, options.awayMs / 2));
      const before = load.acked();
      await sleep(Math.max(0, options.awayMs - settleMs));
      if (load.acked() !== before) throw new Error("something was acknowledged while the bucket was away");
      minio = await comeBack();
      const begun = performance.now();
      await load.acknowledges(1);
      backMs.push(performance.now() - begun);
      options.onEvent?.(
        `${at + 1}/${options.outages}: ${before} acknowledged before, goes on ${Math.round(backMs.at(-1) ?? 0)} ms after the bucket's return`,
      );
      await load.acknowledges(5_000);
    }
    for (const [at, pid] of pids.entries()) {
      if (cluster.brokers[at]?.pid() !== pid || !isRunning(pid)) throw new Error(`broker ${at} ended`);
    }
    const counts = await load.end();
    return { outages: options.outages, backMs, passed: isClean(counts), ...counts };
  } finally {
    await cluster.killAll();
    await minio.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

function standStill(minio: Minio): () => Promise<Minio> {
  minio.running.signal("SIGSTOP");
  return () => {
    minio.running.signal("SIGCONT");
    return Promise.resolve(minio);
  };
}

async function vanish(minio: Minio, directory: string): Promise<() => Promise<Minio>> {
  await minio.stop();
  return () => startMinio(join(directory, "minio"), Number(new URL(minio.endpoint).port));
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { outages: { type: "string", default: "5" }, away: { type: "string", default: "60" } },
  });
  const report = await outages({
    outages: Number(values.outages),
    awayMs: Number(values.away) * 1000,
    onEvent: (line) => process.stdout.write(`${line}\n`),
  });
  process.stdout.write(`${JSON.stringify({ ...report, backMs: report.backMs.map(Math.round) })}\n`);
  process.exitCode = report.passed ? 0 : 1;
}
