/** Holdfast at rest and at its start: time until ready, memory of the process and of a connection, opening again. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Broker } from "../../tools/brokers.ts";
import { start, useOf } from "../../tools/processes.ts";
import { benchProgram, createTopic, fill } from "../loads.ts";
import { spreadOf, verdictAtMost } from "../stats.ts";
import { type Probe, type ProbeOutcome, withHoldfast } from "./probe.ts";

const readyBuiltMsMax = 150;
const readySourceMsMax = 500;
const idleRssMbMax = 80;
const connectionKbMax = 20;
const connectionCount = 2000;
const reopenMsMax = 1000;
/** The WAL's bound (128 MiB not yet flushed) and a little more. */
const walBoundRecords = 150_000;
const recordBytes = 1000;
/** After this time a new process has done what it does at its start. */
const restMs = 3000;
const connectMs = 60_000;

export const readyBuilt: Probe = {
  name: "ready-built",
  run: async ({ quick }) => ready(true, quick ? 3 : 11, readyBuiltMsMax),
};

export const readySource: Probe = {
  name: "ready-source",
  run: async ({ quick }) => ready(false, quick ? 3 : 11, readySourceMsMax),
};

/** From the start of the process, with Node's own start in it, to the line `Ready`. */
async function ready(built: boolean, count: number, msMax: number): Promise<ProbeOutcome> {
  const values = await withHoldfast({ built }, async (broker) => {
    const times: number[] = [];
    for (let time = 0; time < count; time += 1) {
      await broker.stop();
      times.push(await broker.start());
    }
    return times;
  });
  const spread = spreadOf(values);
  const form = built ? "built" : "from source";
  return {
    sentence: `ready ${spread.median.toFixed(0)} ms after the start of the process, ${form}, at most ${msMax}`,
    verdict: verdictAtMost(spread, msMax),
    values,
  };
}

export const idleRss: Probe = {
  name: "idle-rss",
  run: async ({ quick }) => {
    const values: number[] = [];
    for (let time = 0; time < (quick ? 2 : 5); time += 1) {
      await withHoldfast({}, async (broker) => {
        await sleep(restMs);
        values.push(useOf(broker.pid()).rssBytes / 1e6);
      });
    }
    const spread = spreadOf(values);
    return {
      sentence: `${spread.median.toFixed(0)} MB resident at rest, at most ${idleRssMbMax}`,
      verdict: verdictAtMost(spread, idleRssMbMax),
      values,
    };
  },
};

export const connections: Probe = {
  name: "connections",
  run: async ({ quick }) => {
    const values: number[] = [];
    for (let time = 0; time < (quick ? 1 : 5); time += 1)
      values.push(await withHoldfast({}, kilobytesPerConnection));
    const spread = spreadOf(values);
    return {
      sentence: `${spread.median.toFixed(1)} KB for each of ${connectionCount} idle connections, at most ${connectionKbMax}`,
      verdict: verdictAtMost(spread, connectionKbMax),
      values,
    };
  },
};

async function kilobytesPerConnection(broker: Broker): Promise<number> {
  await sleep(restMs);
  const before = useOf(broker.pid()).rssBytes;
  let isReady = (): void => undefined;
  const connected = new Promise<void>((resolve) => {
    isReady = resolve;
  });
  const client = start(await benchProgram(), ["connect", broker.address, String(connectionCount)], {
    onLine: () => isReady(),
    timeoutMs: connectMs,
  });
  const first = await Promise.race([connected, client.ended]);
  if (first !== undefined) throw new Error(`The connections were not made: ${first.stderr}`);
  await sleep(restMs);
  const after = useOf(broker.pid()).rssBytes;
  client.signal("SIGKILL");
  await client.ended;
  return (after - before) / connectionCount / 1000;
}

export const reopen: Probe = {
  name: "reopen",
  run: async ({ quick }) => {
    const values: number[] = [];
    await withHoldfast({}, async (broker) => {
      await createTopic(broker, "reopen", 100);
      for (let time = 0; time < (quick ? 3 : 9); time += 1) {
        await fill(broker, "reopen", 100, walBoundRecords, recordBytes);
        await broker.kill();
        values.push(await broker.start());
      }
    });
    const spread = spreadOf(values);
    const worst = Math.max(...values).toFixed(0);
    return {
      sentence: `ready ${spread.median.toFixed(0)} ms after a kill with the WAL at its bound (worst ${worst}), at most ${reopenMsMax}`,
      verdict: verdictAtMost(spread, reopenMsMax),
      values,
    };
  },
};
