/** Drives one broker with one cell's load and tells what came out: rates, latencies, and what the broker used. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Broker } from "../tools/brokers.ts";
import { finish, start, useOf } from "../tools/processes.ts";
import { goProgram, javaProgram, kafkaClasspath } from "../tools/toolbox.ts";
import type { Cell, EndToEndCell, LatencyCell, ProduceCell, ReadCell } from "./cells.ts";
import { type ClientSaid, runTimed, type TimedRun } from "./timed.ts";

export interface Measured {
  readonly mbPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly batchKb: number;
  /** Of the broker, within the measured window, per 10^9 bytes of payload. */
  readonly cpuSecondsPerGb: number;
  readonly rssMb: number;
  readonly rssPeakMb: number;
  /** The broker acknowledged nothing for so long that the run was ended; the rate is of what it did acknowledge. */
  readonly wasCut: boolean;
}

/** How long a run of each kind lasts. */
export interface Lengths {
  /** A client's first records, which start its own machinery, before its clock starts. */
  readonly goWarmupMs: number;
  readonly javaWarmupMs: number;
  readonly measureMs: number;
  /** A share of the records where a run is bounded by number. */
  readonly recordShare: number;
}

export const fullLengths: Lengths = {
  goWarmupMs: 700,
  javaWarmupMs: 2000,
  measureMs: 3200,
  recordShare: 1,
};
export const quickLengths: Lengths = {
  goWarmupMs: 300,
  javaWarmupMs: 800,
  measureMs: 1000,
  recordShare: 0.2,
};

const runMs = 200_000;
/** A run that gives nothing for so long after its window is over is cut. */
const stallMs = 15_000;
const latencySeconds = 5;
/** The rate for the Go program that stands for "as fast as you can". */
const unpaced = 0;

export async function benchProgram(): Promise<string> {
  return goProgram(join(import.meta.dirname, "go"));
}

/** What a run will write or read, as far as that is known before. */
export function payloadBytesOf(cell: Cell, lengths: Lengths, lastMbPerSecond: number): number {
  switch (cell.load) {
    case "produce":
      return (lastMbPerSecond * 1e6 * (lengths.measureMs + lengths.javaWarmupMs)) / 1000;
    case "read":
      return cell.recordCount * lengths.recordShare * cell.recordBytes;
    case "latency":
      return cell.perSecond * latencySeconds * cell.recordBytes;
    case "end-to-end":
      return cell.recordCount * cell.recordBytes;
  }
}

export async function createTopic(broker: Pick<Broker, "address">, topic: string, partitions: number) {
  await finish(await benchProgram(), ["create", broker.address, topic, String(partitions)], {
    timeoutMs: runMs,
  });
}

export async function deleteTopic(broker: Pick<Broker, "address">, topic: string) {
  await finish(await benchProgram(), ["delete", broker.address, topic], { timeoutMs: runMs });
}

/** Writes what the runs of a reading cell read. */
export async function fill(
  broker: Pick<Broker, "address">,
  topic: string,
  partitions: number,
  records: number,
  recordBytes: number,
): Promise<ClientSaid> {
  const args = ["fill", broker.address, topic, ...[partitions, records, recordBytes].map(String)];
  return lastJson(await benchProgram(), args);
}

/** Runs a cell once on a topic that is there. */
export async function measure(
  broker: Broker,
  cell: Cell,
  topic: string,
  lengths: Lengths,
): Promise<Measured> {
  // Writing "5" makes the kernel count the greatest resident size anew.
  writeFileSync(`/proc/${broker.pid()}/clear_refs`, "5");
  const run = await runClients(broker, cell, topic, lengths);
  const { rssBytes, rssPeakBytes } = useOf(broker.pid());
  const sum = (what: "records" | "mbPerSecond"): number =>
    run.said.reduce((total, said) => total + said[what], 0);
  const most = (what: "p50Ms" | "p99Ms" | "batchKb"): number =>
    Math.max(...run.said.map((said) => said[what]));
  return {
    mbPerSecond: sum("mbPerSecond"),
    p50Ms: most("p50Ms"),
    p99Ms: most("p99Ms"),
    batchKb: most("batchKb"),
    cpuSecondsPerGb: run.cpuSeconds / ((Math.max(1, sum("records")) * cell.recordBytes) / 1e9),
    rssMb: rssBytes / 1e6,
    rssPeakMb: rssPeakBytes / 1e6,
    wasCut: run.wasCut,
  };
}

/** What a server that only answers gives to the same client: what no broker can be faster than. */
export async function measureEcho(address: string, cell: LatencyCell): Promise<ClientSaid> {
  return lastJson(await benchProgram(), pacedArgs(address, "echo", cell));
}

async function runClients(broker: Broker, cell: Cell, topic: string, lengths: Lengths): Promise<TimedRun> {
  const { address } = broker;
  switch (cell.load) {
    case "produce":
      if (cell.client === "java") return producerPerformance(broker, cell, topic, lengths);
      return runTimed(
        {
          command: await benchProgram(),
          args: [
            "produce",
            address,
            topic,
            ...[cell.partitionCount, cell.recordBytes, lengths.goWarmupMs, lengths.measureMs, unpaced].map(
              String,
            ),
          ],
        },
        cell.clientCount,
        broker.pid(),
        lengths.goWarmupMs + lengths.measureMs + stallMs,
      );
    case "read":
      return wholeRun(broker, () => read(address, cell, topic, lengths));
    case "latency":
      return wholeRun(broker, async () => lastJson(await benchProgram(), pacedArgs(address, topic, cell)));
    case "end-to-end":
      return wholeRun(broker, () => endToEnd(address, cell, topic));
  }
}

/** For clients whose clock starts with their first request. */
async function wholeRun(broker: Broker, work: () => Promise<ClientSaid>): Promise<TimedRun> {
  const before = useOf(broker.pid()).cpuSeconds;
  const said = await work();
  return { said: [said], cpuSeconds: useOf(broker.pid()).cpuSeconds - before, wasCut: false };
}

function pacedArgs(address: string, topic: string, cell: LatencyCell): readonly string[] {
  const numbers = [cell.partitionCount, cell.perSecond * latencySeconds, cell.recordBytes, cell.perSecond];
  return ["paced", address, topic, ...numbers.map(String)];
}

const javaOptions = ["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"];

async function lastJson(command: string, args: readonly string[]): Promise<ClientSaid> {
  const { stdout } = await finish(command, args, { timeoutMs: runMs });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as ClientSaid;
}

async function read(address: string, cell: ReadCell, topic: string, lengths: Lengths): Promise<ClientSaid> {
  const records = Math.round(cell.recordCount * lengths.recordShare);
  const numbers = [cell.partitionCount, records, cell.recordBytes].map(String);
  if (cell.client === "go") return lastJson(await benchProgram(), ["consume", address, topic, ...numbers]);
  const classpath = await javaProgram(join(import.meta.dirname, "java"), await kafkaClasspath());
  return lastJson("java", [...javaOptions, "-cp", classpath, "AssignReader", address, topic, ...numbers]);
}

const reportingMs = 200;
/** A broker opens its files for a partition's first records: that belongs to the warm-up. */
const warmupPerPartition = 10;

/**
 * ProducerPerformance ends after a number of records, which is not how long a run shall last: it gets more
 * than it can send, and is ended when the windows that it prints cover the time. A window's records are those
 * acknowledged in it.
 */
async function producerPerformance(
  broker: Broker,
  cell: ProduceCell,
  topic: string,
  lengths: Lengths,
): Promise<TimedRun> {
  const what = ["--topic", topic, "--num-records", "1000000000", "--record-size", String(cell.recordBytes)];
  const how = ["--throughput", "-1", "--reporting-interval", String(reportingMs)];
  const settings = [`bootstrap.servers=${broker.address}`, "acks=all", "enable.idempotence=true"];
  const program = ["-cp", await kafkaClasspath(), "org.apache.kafka.tools.ProducerPerformance"];
  let firstAt: number | undefined;
  let windowAt: number | undefined;
  let cpuBegun = useOf(broker.pid()).cpuSeconds;
  let cpuEnded = cpuBegun;
  let [records, warmupRecords, endedAt] = [0, 0, 0];
  const client = start(
    "java",
    [...javaOptions, ...program, ...what, ...how, "--command-property", ...settings],
    {
      onLine: (line) => {
        const match = /^(\d+) records sent, [\d.]+ records\/sec/.exec(line);
        if (match === null || endedAt - (windowAt ?? 0) >= lengths.measureMs) return;
        const now = performance.now();
        firstAt ??= now;
        if (windowAt === undefined) {
          warmupRecords += Number(match[1]);
          const isWarm = warmupRecords >= warmupPerPartition * cell.partitionCount;
          if (now - firstAt < lengths.javaWarmupMs || !isWarm) return;
          windowAt = now;
          endedAt = now;
          cpuBegun = useOf(broker.pid()).cpuSeconds;
          return;
        }
        records += Number(match[1]);
        endedAt = now;
        cpuEnded = useOf(broker.pid()).cpuSeconds;
        if (endedAt - windowAt >= lengths.measureMs) client.signal("SIGKILL");
      },
    },
  );
  // A broker that acknowledges nothing lets the tool print nothing.
  let wasCut = false;
  const late = setTimeout(
    () => {
      wasCut = true;
      endedAt = performance.now();
      client.signal("SIGKILL");
    },
    lengths.javaWarmupMs + lengths.measureMs + stallMs,
  );
  const ended = await client.ended;
  clearTimeout(late);
  if (ended.signal !== "SIGKILL")
    throw new Error(`ProducerPerformance ended:\n${ended.stdout}\n${ended.stderr}`);
  const seconds = windowAt === undefined ? stallMs / 1000 : Math.max(0.001, (endedAt - windowAt) / 1000);
  const mbPerSecond = (records * cell.recordBytes) / 1e6 / seconds;
  const said = { records, seconds, mbPerSecond, p50Ms: 0, p99Ms: 0, batchKb: 0 };
  return { said: [said], cpuSeconds: cpuEnded - cpuBegun, wasCut };
}

async function endToEnd(address: string, cell: EndToEndCell, topic: string): Promise<ClientSaid> {
  const args = [address, topic, String(cell.recordCount), "all", String(cell.recordBytes)];
  const program = ["-cp", await kafkaClasspath(), "org.apache.kafka.tools.EndToEndLatency"];
  const { stdout } = await finish("java", [...javaOptions, ...program, ...args], { timeoutMs: runMs });
  const average = /Avg latency: ([\d.]+) ms/.exec(stdout)?.[1];
  const p99 = /99th = (\d+)/.exec(stdout)?.[1];
  if (average === undefined || p99 === undefined)
    throw new Error(`EndToEndLatency gave no summary:\n${stdout}`);
  // The tool prints whole milliseconds for its percentiles; only its mean is fine enough to compare.
  const seconds = (cell.recordCount * Number(average)) / 1000;
  return {
    records: cell.recordCount,
    seconds,
    mbPerSecond: 0,
    p50Ms: Number(average),
    p99Ms: Number(p99),
    batchKb: 0,
  };
}
