/**
 * What the runs of Kafka's frameworks share: the scale that the environment names, the Java programs beside
 * this file, a broker in a directory of its own, input that arrives while things are killed, and the record of
 * what came out for docs/compatibility.md.
 *
 *   HOLDFAST_CONFORMANCE   sample (a minute each, for .ci/run) or full; without it nothing runs
 *   HOLDFAST_TARGET        kafka instead of holdfast, which tells whose fault a failure is
 *   HOLDFAST_SEED          other moments
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { SimRandom } from "../../src/sim/random.ts";
import { type Broker, type BrokerKind, startBroker } from "../../tools/brokers.ts";
import { type InteropResult, keepNewest, testedCommit } from "../../tools/interop-results.ts";
import { type Running, start, type StartOptions } from "../../tools/processes.ts";
import { cacheDirectory, javaProgram, kafkaFrameworksClasspath } from "../../tools/toolbox.ts";

const scale = process.env["HOLDFAST_CONFORMANCE"];
const target = (process.env["HOLDFAST_TARGET"] ?? "holdfast") as BrokerKind;
const seed = Number(process.env["HOLDFAST_SEED"] ?? 1);
const skip = scale === undefined ? "set HOLDFAST_CONFORMANCE to sample or full" : false;

export const full: boolean = scale === "full";

/** Values of Connect's setting `exactly.once.source.support`; a sample has the one that asks for more. */
export type SourceSupport = "disabled" | "enabled";
export const sourceSupports: readonly SourceSupport[] = full ? ["disabled", "enabled"] : ["enabled"];
const frameworksVersion = "4.3.0";

/** Each runs beside a broker and a writer on few processors. */
const jvm = [
  "-Xmx256m",
  "-XX:+UseSerialGC",
  "-XX:TieredStopAtLevel=1",
  "-Dorg.slf4j.simpleLogger.logFile=System.err",
];

/** Of what a test counted, what the page of results shows. */
export interface Counts {
  readonly recordCount: number;
  readonly [what: string]: number;
}

export interface Scene {
  readonly random: SimRandom;
  /** Its own; removed when the scene ends well, kept as evidence when it does not. */
  readonly directory: string;
  broker(name: string): Promise<Broker>;
}

/** A test of one framework: plays the scene and keeps what came of it. Brokers that it started are ended. */
export function conforms(
  client: string,
  what: string,
  timeoutMs: number,
  play: (scene: Scene) => Promise<Counts>,
  version = frameworksVersion,
): void {
  test(`${client} ${version} ${what}`, { skip, timeout: timeoutMs }, async (context) => {
    const begun = performance.now();
    mkdirSync(join(cacheDirectory, "conformance"), { recursive: true });
    const directory = mkdtempSync(join(cacheDirectory, "conformance", "scene-"));
    const brokers: Broker[] = [];
    const outcome = { recordCount: 0, failure: "" };
    const late = new Promise<never>((_, reject) => {
      context.signal.addEventListener("abort", () => reject(new Error(`not done after ${timeoutMs} ms`)));
    });
    try {
      const playing = play({
        random: new SimRandom(seed),
        directory,
        broker: async (name) => {
          const settings = target === "holdfast" ? ["--set", "group.initial.rebalance.delay.ms=0"] : [];
          const broker = await startBroker(target, { directory: join(directory, name), settings });
          brokers.push(broker);
          return broker;
        },
      });
      const { recordCount, ...counts } = await Promise.race([playing, late]);
      outcome.recordCount = recordCount;
      const told = Object.entries(counts).map(([name, count]) => `, ${name} ${count}`);
      context.diagnostic(`seed ${seed}: records ${recordCount}${told.join("")}`);
    } catch (error) {
      outcome.failure = error instanceof Error ? error.message.slice(0, 2000) : String(error);
      throw new Error(`seed ${seed}, ${directory}`, { cause: error });
    } finally {
      await Promise.allSettled([...processes].map(kill));
      await Promise.allSettled(brokers.map((broker) => broker.stop()));
      keep({ client, version }, what, Math.round(performance.now() - begun) / 1000, outcome);
    }
    rmSync(directory, { recursive: true, force: true });
  });
}

function keep(
  { client, version }: { readonly client: string; readonly version: string },
  what: string,
  seconds: number,
  { recordCount, failure }: { readonly recordCount: number; readonly failure: string },
): void {
  if (scale === undefined) return;
  const result: InteropResult = {
    client,
    version,
    language: "Java",
    target,
    kind: "framework",
    what,
    killed: true,
    passed: failure === "",
    seconds,
    at: new Date().toISOString(),
    commit: testedCommit(),
    recordCount,
    ...(failure === "" ? {} : { failure }),
  };
  // Each in a file of its own: frameworks may run side by side.
  keepNewest(`conformance-${client.replaceAll(" ", "-")}-${target}-${scale}`, { scale, results: [result] });
}

async function classpath(): Promise<string> {
  const sources = join(import.meta.dirname, "java");
  // The directory itself has META-INF, by which Connect finds the sink.
  return [sources, await javaProgram(sources, await kafkaFrameworksClasspath())].join(delimiter);
}

const processes = new Set<Running>();

/**
 * Starts a Java program: one of those beside this file, or one of Kafka's by its full name; `jars` are added to the
 * class path. A scene ends it.
 */
export async function startJava(
  name: string,
  args: readonly string[],
  { jars = "", ...options }: StartOptions & { readonly jars?: string } = {},
): Promise<Running> {
  const level = process.env["HOLDFAST_JAVA_LOG"] ?? "error";
  const quiet = `-Dorg.slf4j.simpleLogger.defaultLogLevel=${level}`;
  const path = `${await classpath()}${delimiter}${jars}`;
  const running = start("java", [...jvm, quiet, "-cp", path, name, ...args], options);
  processes.add(running);
  void running.ended.catch(() => undefined).then(() => processes.delete(running));
  return running;
}

/** Waits for the end of a process; anything but exit code 0 is an error that carries what it said. */
export async function endedWell(what: string, process: Running): Promise<void> {
  const { code, signal, stdout, stderr } = await process.ended;
  // A JVM that is asked to end does so with 128 + SIGTERM.
  if (code === 0 || code === 143) return;
  throw new Error(`${what} ended with ${code ?? signal}: ${stdout.slice(-2000)}\n${stderr.slice(-6000)}`);
}

export async function kill(process: Running): Promise<void> {
  process.signal("SIGKILL");
  await process.ended;
}

/** Writes keyed records, a lot at a time, until told to end, over whatever happens to the broker. */
export interface Feed {
  /** Ends it; resolves when all is acknowledged, with how many records that are. */
  end(): Promise<number>;
}

export async function feed(
  address: string,
  topic: string,
  lot: () => Iterable<readonly [key: string, value: string]>,
  everyMs: number,
): Promise<Feed> {
  let ending = false;
  let count = 0;
  async function* lines(): AsyncGenerator<Uint8Array> {
    while (!ending) {
      const text = Array.from(lot(), ([key, value]) => {
        count += 1;
        return `${key}\t${value}\n`;
      });
      yield Buffer.from(text.join(""));
      await sleep(everyMs);
    }
  }
  const writer = await startJava("Records", ["write", address, topic], { input: lines() });
  return {
    end: async () => {
      ending = true;
      await endedWell(`the writer of ${topic}`, writer);
      return count;
    },
  };
}

export interface CommittedRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: string;
  readonly value: string;
}

/** Everything that a reader of committed records sees, and that nothing keeps it from the end. */
export async function readCommitted(
  address: string,
  topic: string,
  starts: readonly number[] = [],
): Promise<CommittedRecord[]> {
  const records: CommittedRecord[] = [];
  const from = starts.map((offset, partition) => `${partition}:${offset}`).join(",");
  const reader = await startJava("Records", ["read", address, topic, "90000", from], {
    timeoutMs: 300_000,
    onLine: (line) => {
      const [partition, offset, timestampMs, key = "", value = ""] = line.split("\t");
      if (offset === undefined) return;
      records.push({
        partition: Number(partition),
        offset: Number(offset),
        timestampMs: Number(timestampMs),
        key,
        value,
      });
    },
  });
  await endedWell(`the reader of ${topic}`, reader);
  return records;
}

/** Commits an offset for each partition from 0 on, as a group without members. */
export async function commitOffsets(
  address: string,
  group: string,
  topic: string,
  offsets: readonly number[],
): Promise<void> {
  const process = await startJava("Records", ["commit", address, group, topic, ...offsets.map(String)]);
  await endedWell("the commit", process);
}

/** The committed offset of each partition; a partition without one is a hole. */
export async function committedOffsets(address: string, group: string, topic: string): Promise<number[]> {
  const offsets: number[] = [];
  const process = await startJava("Records", ["committed", address, group, topic], {
    onLine: (line) => {
      const [, partition, offset] = line.split(" ");
      offsets[Number(partition)] = Number(offset);
    },
  });
  await endedWell("the question for offsets", process);
  return offsets;
}

/** Asks again and again until the answer is not undefined. */
export async function eventually<Answer>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<Answer | undefined> | Answer | undefined,
): Promise<Answer> {
  const deadline = performance.now() + timeoutMs;
  while (performance.now() < deadline) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await sleep(250);
  }
  throw new Error(`${what}: not within ${timeoutMs} ms`);
}

/** The same lines in the same order. Of a difference it shows the place: all of it would be too long to find. */
export function expectSame(what: string, actual: readonly string[], expected: readonly string[]): void {
  const longer = actual.length > expected.length ? actual : expected;
  const at = longer.findIndex((_, index) => actual[index] !== expected[index]);
  if (at === -1) return;
  const near = (lines: readonly string[]): string => lines.slice(Math.max(0, at - 2), at + 3).join(" | ");
  throw new Error(
    `${what}: ${actual.length} instead of ${expected.length}; from ${at} on, … ${near(actual)} … instead of … ${near(expected)} …`,
  );
}
