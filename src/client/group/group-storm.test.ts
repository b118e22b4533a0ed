/**
 * A sample by default. `GROUP_STORMS=50 node --test src/client/group/group-storm.test.ts` plays fifty longer
 * ones with each protocol.
 */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { counted, runFor, sleep } from "../../../test/consumer-fixture.ts";
import { committed, Process, text } from "../../../test/group-fixture.ts";
import { SimulatedBroker } from "../../../test/simulated-broker.ts";
import { SimRandom } from "../../sim/random.ts";
import type { IncomingRecord } from "../incoming-record.ts";
import { CommitError } from "./errors.ts";
import type { GroupConsumerOptions } from "./options.ts";

const seeds = Number(process.env["GROUP_STORMS"] ?? 1);
const steps = seeds === 1 ? 10 : 25;

/** Members come, go, die and stop at random while a topic is written to. */
async function storm(test: TestContext, seed: number, options: Partial<GroupConsumerOptions>): Promise<void> {
  const broker = await SimulatedBroker.start({ "group.initial.rebalance.delay.ms": "0" }, seed);
  test.after(() => broker.stop());
  const random = new SimRandom(seed);
  const partitions = 6;
  await broker.createTopic("t", partitions);
  const handled = new Set<string>();
  const written: string[] = [];
  /** The highest offset that anybody finished with all before it, against what was committed. */
  const finishedBy = Array.from({ length: partitions }, () => new Set<number>());
  const alive: Process[] = [];
  const violations: string[] = [];
  const add = (): void => {
    const process = new Process(test, broker);
    alive.push(process);
    const member = process.member({ ...options, commitIntervalMs: 200 });
    const handle = async (record: IncomingRecord): Promise<void> => {
      await sleep(broker, random.u32() % 300);
      if (!process.isAlive) return new Promise<void>(() => undefined);
      finishedBy[record.partition]?.add(record.offset);
      handled.add(text(record));
      return undefined;
    };
    const order = random.u32() % 2 === 0 ? "partition" : "none";
    const run = async (): Promise<void> => {
      while (process.isAlive && !closed.has(process)) {
        // A broker that is away when the member begins is an error; a program tries again.
        await member.run({ handle, concurrency: 4, order }).catch(() => sleep(broker, 1_000));
      }
    };
    void run();
    closers.set(process, () => {
      closed.add(process);
      // What it could not commit is handled again.
      return member.close().catch((cause: unknown) => assert(cause instanceof CommitError));
    });
  };
  const closed = new Set<Process>();
  const closers = new Map<Process, () => Promise<void>>();
  const check = async (): Promise<void> => {
    for (const [name, offset] of Object.entries(await committed(broker))) {
      const finished = finishedBy[Number(name.split("/")[1])];
      for (let at = 0; at < offset; at++) {
        if (finished?.has(at) !== true)
          violations.push(`${name}: ${offset} is committed, ${at} is not finished`);
      }
    }
  };
  add();
  for (let step = 0; step < steps; step++) {
    const partition = random.u32() % partitions;
    const values = counted(written.length, written.length + 5);
    written.push(...values);
    await broker.write("t", values, { partition });
    const victim = alive[random.u32() % alive.length];
    switch (random.u32() % 6) {
      case 0:
      case 1:
        if (alive.length < 5) add();
        break;
      case 2:
        victim?.kill();
        alive.splice(alive.indexOf(victim as Process), 1);
        break;
      case 3: {
        void closers
          .get(victim as Process)?.()
          .then(
            () => victim?.kill(),
            () => undefined,
          );
        alive.splice(alive.indexOf(victim as Process), 1);
        break;
      }
      case 4:
        victim?.stop();
        broker.scheduler.schedule(random.u32() % 90_000, () => victim?.cont());
        break;
      default:
        broker.crash();
        await broker.boot();
    }
    if (alive.length === 0) add();
    await runFor(broker, random.u32() % 20_000);
    await check();
  }
  await runFor(broker, 400_000);
  await check();
  const missing = written.filter((value) => !handled.has(value));
  assert.deepEqual({ violations, missing }, { violations: [], missing: [] }, `seed ${seed}`);
}

describe("a storm of joins, leaves, kills, stops and broker crashes", () => {
  for (const [name, options] of [
    ["the new protocol", { protocol: "consumer" }],
    ["cooperative-sticky", { protocol: "classic" }],
    ["range", { assignors: ["range"] }],
  ] as const) {
    it(`with ${name} every record is handled at least once, and no commit is ahead of what was handled (C01–C06)`, async (test) => {
      for (let seed = 1; seed <= seeds; seed++) await storm(test, seed, options);
    });
  }
});
