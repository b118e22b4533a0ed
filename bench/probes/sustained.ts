/**
 * A load that does not end: the rate that a burst reaches, then 80 % of it for ten minutes while retention
 * deletes what is beyond 10 GB. The rate must hold and memory must not grow.
 */
import { statfsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { finish, start, useOf } from "../../tools/processes.ts";
import { benchProgram } from "../loads.ts";
import { spreadOf } from "../stats.ts";
import type { ClientSaid } from "../timed.ts";
import { type Probe, withHoldfast } from "./probe.ts";

const partitionCount = 100;
const recordBytes = 1000;
const keptBytes = 10e9;
const shareOfBurst = 0.8;
const goalShare = 0.7;
/** RSS in the last quarter over that in the second: garbage is collected in waves. */
const growthMax = 1.1;
const burstMs = 4000;
const burstCount = 3;
const warmupMs = 2000;
const sampleMs = 1000;
/** Below this the load ends, so that the machine's other users have a disk. */
const diskFreeBytesMin = 12e9;
/** How often retention looks; by default every 5 minutes, in which a disk could be full. */
const retentionCheckMs = 10_000;

export const sustained: Probe = {
  name: "sustained",
  run: ({ quick, sustainedSeconds }) =>
    withHoldfast(
      { settings: ["--set", `log.retention.check.interval.ms=${retentionCheckMs}`] },
      async (broker) => {
        const seconds = quick ? Math.min(20, sustainedSeconds) : sustainedSeconds;
        const go = await benchProgram();
        const retention = `retention.bytes=${keptBytes / partitionCount}`;
        await finish(go, ["create", broker.address, "sustained", String(partitionCount), retention]);
        const produceArgs = (measureMs: number, perSecond: number): readonly string[] => [
          "produce",
          broker.address,
          "sustained",
          ...[partitionCount, recordBytes, warmupMs, measureMs, perSecond].map(String),
        ];
        const bursts: number[] = [];
        for (let time = 0; time < burstCount; time += 1) {
          const { stdout } = await finish(go, produceArgs(burstMs, 0));
          bursts.push(said(stdout).mbPerSecond);
          await sleep(sampleMs);
        }
        const burst = spreadOf(bursts).median;
        const perSecond = Math.round((burst * shareOfBurst * 1e6) / recordBytes);
        const cpuBefore = useOf(broker.pid()).cpuSeconds;
        const load = start(go, produceArgs(seconds * 1000, perSecond));
        const rssMb: number[] = [];
        let diskUsedMost = 0;
        const freeAtStart = freeBytes(broker.directory);
        while (load.isRunning()) {
          await sleep(sampleMs);
          rssMb.push(useOf(broker.pid()).rssBytes / 1e6);
          const free = freeBytes(broker.directory);
          diskUsedMost = Math.max(diskUsedMost, freeAtStart - free);
          if (free < diskFreeBytesMin) load.signal("SIGKILL");
        }
        const ended = await load.ended;
        if (ended.code !== 0)
          return {
            sentence: `the load ended early (${ended.signal ?? ended.code}) after ${rssMb.length} s with ${(diskUsedMost / 1e9).toFixed(1)} GB more on disk: ${ended.stderr.slice(-300)}`,
            verdict: "missed",
            values: rssMb,
          };
        const reached = said(ended.stdout);
        const quarter = Math.floor(rssMb.length / 4);
        const early = spreadOf(rssMb.slice(quarter, 2 * quarter));
        const late = spreadOf(rssMb.slice(3 * quarter));
        const growth = late.median / early.median;
        const share = reached.mbPerSecond / burst;
        const cpu = (useOf(broker.pid()).cpuSeconds - cpuBefore) / (reached.mbPerSecond * seconds * 1e-3);
        const isFlat = growth <= growthMax;
        return {
          sentence: [
            `${seconds} s at ${reached.mbPerSecond.toFixed(0)} MB/s = ${share.toFixed(2)}× the burst of ${burst.toFixed(0)} (asked ${shareOfBurst}, at least ${goalShare})`,
            `p99 ${reached.p99Ms.toFixed(0)} ms`,
            `RSS ${early.median.toFixed(0)} MB in the second quarter, ${late.median.toFixed(0)} in the last: ${growth.toFixed(2)}×, at most ${growthMax}; peak ${Math.max(...rssMb).toFixed(0)} MB`,
            `disk at most ${(diskUsedMost / 1e9).toFixed(1)} GB`,
            `CPU ${cpu.toFixed(2)} s/GB`,
          ].join("; "),
          verdict: share >= goalShare && isFlat ? "reached" : "missed",
          values: [burst, reached.mbPerSecond, early.median, late.median],
        };
      },
    ),
};

function said(stdout: string): ClientSaid {
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as ClientSaid;
}

function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}
