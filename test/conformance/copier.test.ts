/**
 * Kafka's TransactionalMessageCopier, from its system tests: it reads a partition, and writes what it read and its
 * offsets in one transaction, of which it aborts some at random; it is killed (`kill -9`) and started again under
 * the same transactional id, and so is the broker. Every record must be in the output once, and in order. See
 * framework.ts for the environment.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Broker } from "../../tools/brokers.ts";
import type { Running } from "../../tools/processes.ts";
import { createTopic } from "../interop/admin.ts";
import {
  type CommittedRecord,
  conforms,
  endedWell,
  eventually,
  expectSame,
  feed,
  full,
  kill,
  readCommitted,
  type Scene,
  startJava,
} from "./framework.ts";

const partitionCount = 2;
const recordCount = full ? 100_000 : 6_000;
const recordsPerTransaction = 100;
const brokerKills = full ? 4 : 1;
const copyMs = full ? 900_000 : 150_000;

/** How the copier comes by its partitions. */
const modes = [
  { name: "of an assigned partition", kills: full ? 12 : 2, args: [] },
  // A member that was killed is missed for as long as its session lasts.
  { name: "as members of a group", kills: full ? 12 : 1, args: ["--group-mode", "--use-group-metadata"] },
] as const;

for (const { name, kills, args } of modes) {
  conforms(
    "TransactionalMessageCopier",
    `copies exactly with random aborts, ${name}`,
    full ? 1_800_000 : 300_000,
    (scene) => copied(scene, kills, args),
  );
}

async function copied(scene: Scene, kills: number, mode: readonly string[]) {
  const { random } = scene;
  const broker = await scene.broker("broker");
  await createTopic(broker.address, "input", partitionCount);
  await createTopic(broker.address, "output", partitionCount);
  await fill(broker);
  const copiers = Array.from(
    { length: partitionCount },
    (_, partition) => new Copier(broker, partition, mode),
  );
  for (const copier of copiers) await copier.start();
  for (let times = 0; times < kills; times++) {
    const copier = copiers[times % partitionCount];
    assert.ok(copier !== undefined);
    if (random.below(4) > 0) await copier.copying();
    await sleep(random.below(1_500));
    if (times % Math.ceil(kills / brokerKills) === 0) {
      await broker.kill();
      await broker.start();
      await sleep(random.below(1_000));
    }
    await copier.kill();
    await copier.start();
  }
  await eventually("everything is copied", copyMs, async () => {
    await Promise.all(copiers.map((copier) => copier.ended()));
    const { length } = await readCommitted(broker.address, "output");
    if (length >= recordCount) return length;
    // A member of a group ends when it has no partition, also while one that was killed seems to hold it.
    await Promise.all(copiers.map((copier) => copier.start()));
    return undefined;
  });
  const input = await readCommitted(broker.address, "input");
  const output = await readCommitted(broker.address, "output");
  for (let partition = 0; partition < partitionCount; partition++) {
    expectSame(`partition ${partition}`, contentOf(output, partition), contentOf(input, partition));
  }
  const last = Math.max(...output.map(({ offset }) => offset));
  assert.ok(last > output.length / partitionCount, "markers, and what was aborted, have offsets as well");
  const killed = copiers.reduce((sum, copier) => sum + copier.kills, 0);
  return { recordCount: output.length, kills: killed, lastOffset: last };
}

async function fill(broker: Broker): Promise<void> {
  let written = 0;
  let full = (): void => undefined;
  const filled = new Promise<void>((resolve) => {
    full = resolve;
  });
  const lot = (): (readonly [string, string])[] => {
    const count = Math.min(1_000, recordCount - written);
    if (count === 0) full();
    return Array.from({ length: count }, () => [`k${written % 97}`, `value ${written++}`] as const);
  };
  const writer = await feed(broker.address, "input", lot, 1);
  await filled;
  assert.equal(await writer.end(), recordCount);
}

function contentOf(records: readonly CommittedRecord[], wanted: number): string[] {
  return records.filter(({ partition }) => partition === wanted).map(({ key, value }) => `${key} ${value}`);
}

/** One of them, with a transactional id of its own; it ends by itself when nothing is left to copy. */
class Copier {
  readonly #args: readonly string[];
  #process: Running | undefined;
  #copied = 0;
  /** How often it was killed while it ran. */
  kills = 0;

  constructor(broker: Broker, partition: number, mode: readonly string[]) {
    this.#args = [
      ["--broker-list", broker.address],
      ["--input-topic", "input"],
      ["--input-partition", `${partition}`],
      ["--output-topic", "output"],
      ["--consumer-group", "copiers"],
      ["--transactional-id", `copier-${partition}`],
      ["--transaction-size", `${recordsPerTransaction}`],
      ["--transaction-timeout", "20000"],
      ["--enable-random-aborts"],
      mode,
    ].flat();
  }

  async start(): Promise<void> {
    this.#copied = 0;
    this.#process = await startJava("org.apache.kafka.tools.TransactionalMessageCopier", this.#args, {
      timeoutMs: copyMs,
      onLine: (line) => {
        const [, copied] = /"totalProcessed":(\d+)/.exec(line) ?? [];
        if (copied !== undefined) this.#copied = Number(copied);
      },
    });
  }

  /** Waits until it has copied something, or ended. */
  async copying(): Promise<void> {
    await eventually(
      "something is copied",
      copyMs,
      () => this.#copied > 0 || this.#process?.isRunning() === false || undefined,
    );
  }

  async kill(): Promise<void> {
    if (this.#process?.isRunning() !== true) return;
    this.kills += 1;
    await kill(this.#process);
  }

  async ended(): Promise<void> {
    if (this.#process !== undefined) await endedWell("a copier", this.#process);
  }
}
