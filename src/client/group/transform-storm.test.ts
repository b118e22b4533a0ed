/**
 * A sample by default. `TRANSFORM_STORMS=100 node --test src/client/group/transform-storm.test.ts` plays a
 * hundred with each protocol of groups and of transactions.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { all, counted, runFor, sleep, values } from "../../../test/consumer-fixture.ts";
import { Door, type Treatment } from "../../../test/door.ts";
import { committed, Process } from "../../../test/group-fixture.ts";
import { SimulatedBroker } from "../../../test/simulated-broker.ts";
import type { AnyApi, Api } from "../../protocol/api.ts";
import { AddOffsetsToTxn } from "../../protocol/messages/add-offsets-to-txn.ts";
import { AddPartitionsToTxn } from "../../protocol/messages/add-partitions-to-txn.ts";
import { ApiVersions, type ApiVersionsResponse } from "../../protocol/messages/api-versions.ts";
import { EndTxn } from "../../protocol/messages/end-txn.ts";
import { FindCoordinator } from "../../protocol/messages/find-coordinator.ts";
import { InitProducerId } from "../../protocol/messages/init-producer-id.ts";
import { OffsetFetch } from "../../protocol/messages/offset-fetch.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { TxnOffsetCommit } from "../../protocol/messages/txn-offset-commit.ts";
import { SimRandom } from "../../sim/random.ts";
import { createClient } from "../client.ts";
import { ProducerFencedError } from "../transaction-errors.ts";

const seeds = Number(process.env["TRANSFORM_STORMS"] ?? 1);
const steps = 12;
const partitions = 4;
const slots = 3;

const requests = [
  FindCoordinator,
  InitProducerId,
  AddPartitionsToTxn,
  AddOffsetsToTxn,
  OffsetFetch,
  Produce,
  TxnOffsetCommit,
  EndTxn,
] as readonly AnyApi[];

/** Copiers come, die and stop, the broker loses power, and requests are lost, late and doubled while a topic is copied. */
async function storm(seed: number, protocol: "classic" | "consumer", version: 1 | 2): Promise<void> {
  const broker = await SimulatedBroker.start({ "group.initial.rebalance.delay.ms": "0" }, seed);
  const random = new SimRandom(seed);
  const chance = (of: number): boolean => random.u32() % 1_000 < of * 1_000;
  await broker.createTopic("t", partitions);
  await broker.createTopic("out", 2);
  const door = await Door.before(broker);
  let isRough = true;
  if (version === 1) {
    door.on(ApiVersions, () => ({
      rewrite: (answer: ApiVersionsResponse) => ({ ...answer, finalizedFeatures: [] }),
    }));
  }
  for (const api of requests) {
    door.on(api as Api<unknown, unknown>, (): Treatment => {
      if (!isRough || !chance(0.06)) return "pass";
      const ms = random.u32() % 4_000;
      const treatments: readonly Treatment[] = ["cut-before", "cut-after", { heldMs: ms }, { echoMs: ms }];
      const treatment = treatments[random.u32() % treatments.length] as Treatment;
      // The old protocol cannot tell what comes once more from what belongs to the next transaction (P19).
      return version === 1 && typeof treatment === "object" && "echoMs" in treatment ? "pass" : treatment;
    });
  }
  const alive = new Map<number, Process>();
  const begin = (slot: number): void => {
    const process = new Process({ after: () => undefined } as never, broker, door.bootstrap);
    alive.set(slot, process);
    const consumer = process.member({ protocol, sessionTimeoutMs: 10_000 });
    const producer = process.client.producer({
      transactionalId: `copier-${slot}`,
      transactionTimeoutMs: 10_000,
      deliveryTimeoutMs: 15_000,
    });
    const copy = async (): Promise<void> => {
      while (process.isAlive) {
        await consumer
          .transform(producer, {
            recordsMax: 1 + (random.u32() % 10),
            handle: async (record, { send }) => {
              if (chance(0.2)) await sleep(broker, random.u32() % 200);
              void send({ topic: "out", key: record.value, value: record.value });
            },
          })
          .catch(async (cause: unknown) => {
            // A broker that is away when it begins is an error; a program tries again.
            await sleep(broker, 1_000);
            // A registration that came once more looks like another producer; a program is started again.
            if (!(cause instanceof ProducerFencedError) || alive.get(slot) !== process) return;
            process.kill();
            begin(slot);
          });
      }
    };
    void copy();
  };
  for (let slot = 0; slot < slots; slot++) begin(slot);
  let written = 0;
  for (let step = 0; step < steps; step++) {
    const fresh = counted(written, written + 10);
    written += fresh.length;
    await broker.write("t", fresh, { partition: step % partitions });
    const slot = random.u32() % slots;
    const victim = alive.get(slot);
    switch (random.u32() % 4) {
      case 0:
      case 1:
        victim?.kill();
        begin(slot);
        break;
      case 2:
        victim?.stop();
        broker.scheduler.schedule(random.u32() % 30_000, () => victim?.cont());
        break;
      default:
        broker.crash();
        await runFor(broker, random.u32() % 500);
        await broker.boot();
    }
    await runFor(broker, random.u32() % 6_000);
  }
  isRough = false;
  const isDone = async (): Promise<boolean> => {
    const at = Object.values(await committed(broker));
    return at.reduce((sum, offset) => sum + offset, 0) === written;
  };
  for (let waits = 0; waits < 100 && !(await isDone()); waits++) await runFor(broker, 5_000);
  const reader = createClient({ bootstrap: broker.address }, broker.clientPorts());
  const seen = values(
    await broker.scheduler.runUntil(all(reader.consumer({ topic: "out", until: "end" }))),
  ).toSorted((a, b) => Number(a) - Number(b));
  const standing = JSON.stringify(await committed(broker));
  assert.deepEqual(seen, counted(0, written), `seed ${seed}, the group at ${standing}`);
  for (const process of alive.values()) process.kill();
  await broker.stop();
}

describe("a storm of kills, stops, power cuts and troubled requests", () => {
  for (const protocol of ["classic", "consumer"] as const) {
    for (const version of [1, 2] as const) {
      it(`copies each record exactly once (${protocol} protocol, transaction.version ${version})`, async () => {
        for (let seed = 1; seed <= seeds; seed++) await storm(seed, protocol, version);
      });
    }
  }
});
