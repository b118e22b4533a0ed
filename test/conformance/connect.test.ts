/**
 * Kafka Connect in distributed mode: Kafka's file source reads a file that grows, into a topic, and a sink writes
 * the topic into another file, while the worker is killed (`kill -9`) or asked to end and started again, and the
 * broker is killed. See framework.ts for the environment.
 *
 * Kafka's own file sink says of itself that it may write lines twice; the sink here ([LineSinkTask]) keeps its
 * offset in its file, which is how Connect expects a sink to be exact. So the files tell what source and broker do.
 */
import { appendFileSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connectWorker, type Worker } from "./connect-worker.ts";
import {
  conforms,
  eventually,
  expectSame,
  full,
  readCommitted,
  type Scene,
  type SourceSupport,
  sourceSupports,
} from "./framework.ts";

const restarts = full ? 16 : 3;
const brokerEvery = full ? 4 : 3;
const linesPerLot = 20;
const lotEveryMs = 50;
const readyMs = 120_000;
const catchUpMs = 120_000;

for (const source of sourceSupports) {
  const what =
    source === "enabled"
      ? "from file to file, every line exactly once (exactly.once.source.support)"
      : "from file to file, every line at least once";
  conforms("Kafka Connect", what, full ? 1_800_000 : 300_000, (scene) => fromFileToFile(scene, source));
}

async function fromFileToFile(scene: Scene, exactlyOnce: SourceSupport) {
  const { random, directory } = scene;
  const broker = await scene.broker("broker");
  const [input, output] = [join(directory, "input.txt"), join(directory, "output.txt")];
  writeFileSync(input, "");
  const worker = await connectWorker(broker, directory, { exactlyOnce });
  await worker.start();
  await worker.configure("source", {
    "connector.class": "FileStreamSource",
    "tasks.max": "1",
    file: input,
    topic: "lines",
    "topic.creation.default.partitions": "1",
    "topic.creation.default.replication.factor": "1",
    ...(exactlyOnce === "enabled" ? { "exactly.once.support": "required" } : {}),
  });
  await worker.configure("sink", {
    "connector.class": "LineSink",
    "tasks.max": "1",
    topics: "lines",
    file: output,
  });
  const lines = growing(input);
  for (let times = 0; times < restarts; times++) {
    // Some ends hit the start: the reading of configurations, the fencing of older producers.
    if (random.below(4) > 0) await grown(worker, output);
    await sleep(500 + random.below(3_000));
    if (times % brokerEvery === brokerEvery - 1) {
      await broker.kill();
      await broker.start();
      await sleep(random.below(1_000));
    }
    await worker.end(times % 2 === 0 ? "SIGKILL" : "SIGTERM");
    await worker.start();
  }
  await grown(worker, output);
  const written = lines.end();
  const read = await eventually("the last line comes out", catchUpMs, () => {
    worker.expectRunning();
    const copied = linesOf(output);
    return copied.at(-1)?.line === written.at(-1) ? copied : undefined;
  });
  await worker.end("SIGTERM");
  const topic = await readCommitted(broker.address, "lines");
  expectSame(
    "what the sink wrote, and what is committed",
    read.map(({ offset, line }) => `${offset} ${line}`),
    topic.map(({ offset, value }) => `${offset} ${value}`),
  );
  const copied = read.map(({ line }) => line);
  expectSame("lines", exactlyOnce === "enabled" ? copied : [...new Set(copied)], written);
  return { recordCount: written.length, copied: copied.length, restarts };
}

/** Waits until lines come out again. */
async function grown(worker: Worker, output: string): Promise<void> {
  const before = sizeOf(output);
  await eventually("a line comes out", readyMs, async () => {
    await worker.expectNoFailure();
    return sizeOf(output) > before || undefined;
  });
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/** A file that somebody writes, also half a line at a time. */
function growing(path: string): { end(): readonly string[] } {
  const written: string[] = [];
  let half = "";
  const grow = setInterval(() => {
    const lot = Array.from({ length: linesPerLot }, (_, index) => `line ${written.length + index}`);
    written.push(...lot);
    const text = `${half}${lot.join("\n")}\n`;
    const cut = text.length - 7;
    half = text.slice(cut);
    appendFileSync(path, text.slice(0, cut));
  }, lotEveryMs);
  return {
    end: () => {
      clearInterval(grow);
      appendFileSync(path, half);
      return written;
    },
  };
}

function linesOf(path: string): { readonly offset: number; readonly line: string }[] {
  if (!existsSync(path)) return [];
  const whole = readFileSync(path, "utf8").split("\n").slice(0, -1);
  return whole.map((text) => {
    const [offset, line = ""] = text.split("\t");
    return { offset: Number(offset), line };
  });
}
