/** Drives one broker with one cell's load and tells what came out: rates, latencies, and what the broker used. */
import { join } from "node:path";
import type { Broker } from "../tools/brokers.ts";
import { finish, useOf } from "../tools/processes.ts";
import { goProgram, javaProgram, kafkaClasspath } from "../tools/toolbox.ts";
import type { Cell } from "./cells.ts";

export interface Measured {
  readonly mbPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Of the broker, over the whole run with its warm-up, per 10^9 bytes of payload. */
  readonly cpuSecondsPerGb: number;
  readonly rssMb: number;
  readonly rssPeakMb: number;
}

interface ClientSaid {
  readonly mbPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const runMs = 200_000;
const latencyPerSecond = 1000;

/** Runs a cell once on a topic of its own, which is made before and deleted afterwards. */
export async function measure(
  broker: Broker,
  cell: Cell,
  topic: string,
  recordCount: number,
): Promise<Measured> {
  const go = await goProgram(join(import.meta.dirname, "go"));
  const { address } = broker;
  const { partitionCount, recordBytes } = cell;
  await finish(go, ["create", address, topic, String(partitionCount)], { timeoutMs: runMs });
  if (cell.load === "read") {
    // "produce" writes a tenth more for its own warm-up; only what it timed is read.
    await finish(
      go,
      ["produce", address, topic, String(partitionCount), String(recordCount), String(recordBytes)],
      { timeoutMs: runMs },
    );
  }
  const before = useOf(broker.pid());
  const said = await runClient(cell, go, address, topic, recordCount);
  const after = useOf(broker.pid());
  await finish(go, ["delete", address, topic], { timeoutMs: runMs });
  const payloadGb = (recordCount * (1 + warmupShare(cell)) * recordBytes) / 1e9;
  return {
    ...said,
    cpuSecondsPerGb: (after.cpuSeconds - before.cpuSeconds) / payloadGb,
    rssMb: after.rssBytes / 1e6,
    rssPeakMb: after.rssPeakBytes / 1e6,
  };
}

/** What the client sends before its clock starts, as a share of what it sends after. */
function warmupShare(cell: Cell): number {
  if (cell.load !== "produce") return 0;
  return cell.client === "go" ? 0.1 : 0.2;
}

async function runClient(
  cell: Cell,
  go: string,
  address: string,
  topic: string,
  recordCount: number,
): Promise<ClientSaid> {
  const { client, load } = cell;
  const numbers = [cell.partitionCount, recordCount, cell.recordBytes].map(String);
  if (client === "go") {
    if (load === "latency")
      return lastJson(go, ["paced", address, topic, ...numbers, String(latencyPerSecond)]);
    return lastJson(go, [load === "read" ? "consume" : "produce", address, topic, ...numbers]);
  }
  if (load === "read") {
    const classpath = await javaProgram(join(import.meta.dirname, "java"), await kafkaClasspath());
    return lastJson("java", [...javaOptions, "-cp", classpath, "AssignReader", address, topic, ...numbers]);
  }
  return load === "latency"
    ? endToEnd(cell, address, topic, recordCount)
    : producerPerformance(cell, address, topic, recordCount);
}

const javaOptions = ["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"];

async function lastJson(program: string, args: readonly string[]): Promise<ClientSaid> {
  const { stdout } = await finish(program, args, { timeoutMs: runMs });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as ClientSaid;
}

async function producerPerformance(
  cell: Cell,
  address: string,
  topic: string,
  recordCount: number,
): Promise<ClientSaid> {
  const warmup = Math.round(recordCount * warmupShare(cell));
  const what = [
    "--topic",
    topic,
    "--num-records",
    String(recordCount + warmup),
    "--warmup-records",
    String(warmup),
  ];
  const how = ["--record-size", String(cell.recordBytes), "--throughput", "-1"];
  const settings = [
    "--command-property",
    `bootstrap.servers=${address}`,
    "acks=all",
    "enable.idempotence=true",
  ];
  const command = [
    ...javaOptions,
    "-cp",
    await kafkaClasspath(),
    "org.apache.kafka.tools.ProducerPerformance",
  ];
  const { stdout } = await finish("java", [...command, ...what, ...how, ...settings], { timeoutMs: runMs });
  // The last summary leaves out the warm-up.
  const summaries = [
    ...stdout.matchAll(/records sent, ([\d.]+) records\/sec .* (\d+) ms 50th, \d+ ms 95th, (\d+) ms 99th/g),
  ];
  const last = summaries.at(-1);
  if (last === undefined) throw new Error(`ProducerPerformance gave no summary:\n${stdout}`);
  return {
    mbPerSecond: (Number(last[1]) * cell.recordBytes) / 1e6,
    p50Ms: Number(last[2]),
    p99Ms: Number(last[3]),
  };
}

async function endToEnd(
  cell: Cell,
  address: string,
  topic: string,
  recordCount: number,
): Promise<ClientSaid> {
  const args = [address, topic, String(recordCount), "all", String(cell.recordBytes)];
  const command = [
    ...javaOptions,
    "-cp",
    await kafkaClasspath(),
    "org.apache.kafka.tools.EndToEndLatency",
    ...args,
  ];
  const { stdout } = await finish("java", command, { timeoutMs: runMs });
  const average = /Avg latency: ([\d.]+) ms/.exec(stdout)?.[1];
  const p99 = /99th = (\d+)/.exec(stdout)?.[1];
  if (average === undefined || p99 === undefined)
    throw new Error(`EndToEndLatency gave no summary:\n${stdout}`);
  // The tool prints whole milliseconds for its percentiles; only its mean is fine enough to compare.
  return { mbPerSecond: 0, p50Ms: Number(average), p99Ms: Number(p99) };
}
