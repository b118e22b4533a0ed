/**
 * Kafka Streams: a word count with a repartition topic and a store whose changelog is a compacted topic, killed
 * (`kill -9`) again and again while lines arrive, with and without the state that it has on disk; the broker is
 * killed as well. See framework.ts for the environment.
 */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Broker } from "../../tools/brokers.ts";
import type { Running } from "../../tools/processes.ts";
import { createTopic } from "../interop/admin.ts";
import {
  type CommittedRecord,
  conforms,
  eventually,
  endedWell,
  feed,
  full,
  kill,
  readCommitted,
  type Scene,
  startJava,
} from "./framework.ts";

type Guarantee = "at_least_once" | "exactly_once_v2";

const kills = full ? 20 : 3;
const brokerKills = full ? 4 : 1;
const partitionCount = 4;
const wordCount = 200;
const wordsPerLine = 5;
const linesPerLot = full ? 40 : 20;
const lotEveryMs = 100;
const runningMs = 120_000;
const catchUpMs = 240_000;

for (const guarantee of ["at_least_once", "exactly_once_v2"] as const) {
  const what =
    guarantee === "exactly_once_v2"
      ? "counts every word exactly once (exactly_once_v2)"
      : "counts every word at least once (at_least_once)";
  conforms("Kafka Streams", what, full ? 1_800_000 : 300_000, (scene) => wordCountOver(scene, guarantee));
}

async function wordCountOver(scene: Scene, guarantee: Guarantee) {
  const { random } = scene;
  const broker = await scene.broker("broker");
  await createTopic(broker.address, "lines", partitionCount);
  await createTopic(broker.address, "counts", partitionCount);
  const expected = new Map<string, number>();
  const lines = await feed(broker.address, "lines", () => lot(random, expected), lotEveryMs);

  const application = new Application(broker, guarantee, join(scene.directory, "state"));
  for (let times = 0; times < kills; times++) {
    // Static members are taken back at once; others are missed for as long as their session lasts.
    await application.start(full && times % 2 === 1 ? "-" : "the-one");
    // Some kills hit the start: the restoration, the rebalance, the first transaction.
    if (random.below(4) > 0) await application.running();
    await sleep(300 + random.below(3_000));
    if (times % Math.ceil(kills / brokerKills) === 1) await broker.kill();
    await application.kill();
    if (!isUp(broker)) await broker.start();
    // The whole state comes from the changelog then.
    if (times % 3 === 2) rmSync(join(scene.directory, "state"), { recursive: true });
  }
  await application.start("the-one");
  const lineCount = await lines.end();
  const counts = await eventually("every word is counted", catchUpMs, async () => {
    application.expectRunning();
    const output = await readCommitted(broker.address, "counts");
    return isCounted(output, expected) ? output : undefined;
  });
  await application.stop();
  // Nothing follows.
  const output = await readCommitted(broker.address, "counts");
  if (guarantee === "exactly_once_v2") {
    assert.equal(output.length, counts.length, "the output did not grow after the last word");
    expectEachOnce(output, expected);
  }
  const words = lineCount * wordsPerLine;
  return { recordCount: words, outputs: output.length, kills, replacedThreads: application.replacedThreads };
}

function* lot(random: Scene["random"], expected: Map<string, number>): Generator<readonly [string, string]> {
  for (let line = 0; line < linesPerLot; line++) {
    const words = Array.from({ length: wordsPerLine }, () => `w${random.below(wordCount)}`);
    for (const word of words) expected.set(word, (expected.get(word) ?? 0) + 1);
    yield [`k${random.below(1_000)}`, words.join(" ")];
  }
}

const isUp = (broker: Broker): boolean => {
  try {
    return process.kill(broker.pid(), 0);
  } catch {
    return false;
  }
};

/** The application, one process at a time. */
class Application {
  readonly #broker: Broker;
  readonly #guarantee: Guarantee;
  readonly #state: string;
  #process: Running | undefined;
  #isRunning = false;
  #said: string[] = [];
  replacedThreads = 0;

  constructor(broker: Broker, guarantee: Guarantee, state: string) {
    this.#broker = broker;
    this.#guarantee = guarantee;
    this.#state = state;
  }

  async start(instance: string): Promise<void> {
    const args = [this.#broker.address, "words", this.#guarantee, this.#state, "lines", "counts", instance];
    this.#isRunning = false;
    this.#said = [];
    this.#process = await startJava("WordCount", args, {
      onLine: (line) => {
        this.#said.push(line);
        if (line === "RUNNING") this.#isRunning = true;
        if (line.startsWith("REPLACED")) this.replacedThreads += 1;
      },
    });
  }

  async running(): Promise<void> {
    await eventually("the application runs", runningMs, () => {
      this.expectRunning();
      return this.#isRunning || undefined;
    });
  }

  expectRunning(): void {
    assert.ok(this.#process?.isRunning(), `the application ended by itself: ${this.#said.join("\n")}`);
  }

  async kill(): Promise<void> {
    this.expectRunning();
    if (this.#process !== undefined) await kill(this.#process);
  }

  async stop(): Promise<void> {
    this.#process?.signal("SIGTERM");
    if (this.#process !== undefined) await endedWell("the application", this.#process);
  }
}

/** Whether the newest count of each word is not below that of the input; one that is too high is judged later. */
function isCounted(output: readonly CommittedRecord[], expected: ReadonlyMap<string, number>): boolean {
  const newest = new Map(output.map(({ key, value }) => [key, Number(value)] as const));
  return Array.from(expected).every(([word, count]) => (newest.get(word) ?? 0) >= count);
}

/** The output of a word is 1, 2, 3, … up to its count: none left out, none twice. */
function expectEachOnce(output: readonly CommittedRecord[], expected: ReadonlyMap<string, number>): void {
  const wrong: string[] = [];
  const counted = new Map<string, number>();
  for (const { partition, offset, key, value } of output) {
    const before = counted.get(key) ?? 0;
    if (Number(value) !== before + 1) wrong.push(`${partition}@${offset}: ${key} ${value} after ${before}`);
    counted.set(key, Number(value));
  }
  assert.deepEqual(wrong.slice(0, 10), []);
  assert.deepEqual(counted, expected);
}
