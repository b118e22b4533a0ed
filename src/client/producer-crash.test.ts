import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { readBack } from "../../test/read-back.ts";
import { SimulatedBroker } from "../../test/simulated-broker.ts";
import { sleep } from "../base/ports.ts";
import { SimRandom } from "../sim/random.ts";
import { createClient } from "./client.ts";
import { DeliveryError } from "./errors.ts";

/** One world: a producer that sends all the time, and a broker that loses power, or its connections, again and again. */
async function judge(seed: number): Promise<{ acknowledged: number; unknown: number; crashes: number }> {
  const draw = new SimRandom(seed);
  const broker = await SimulatedBroker.start({}, seed);
  const partitions = draw.between(1, 3);
  await broker.createTopic("orders", partitions);
  const ports = broker.clientPorts();
  const client = createClient({ bootstrap: broker.address, requestTimeoutMs: 5_000 }, ports);
  const producer = client.producer({
    deliveryTimeoutMs: draw.pick([300, 2_000, 60_000]),
    batchBytes: draw.pick([200, 2_000, 100_000]),
    bufferBytes: draw.pick([5_000, 1_000_000]),
    inFlightMax: draw.pick([1, 2, 5]),
    lingerMs: draw.pick([0, 0, 5]),
    compression: draw.pick(["none", "lz4"]),
  });
  const fates = new Map<string, { partition: number; offset: number } | "unknown" | "not-written">();
  let given = 0;
  let crashes = 0;
  const story = async (): Promise<void> => {
    const flying: Promise<unknown>[] = [];
    for (let round = 0; round < 150; round++) {
      for (let left = draw.below(6); left > 0; left--) {
        const value = `${given++}-${"x".repeat(draw.below(100))}`;
        const partition = draw.below(partitions);
        flying.push(
          producer.send({ topic: "orders", partition, value }).then(
            ({ offset }) => fates.set(value, { partition, offset }),
            (cause: unknown) => {
              assert(cause instanceof DeliveryError, String(cause));
              fates.set(value, cause.fate);
            },
          ),
        );
      }
      await sleep(ports.clock, draw.fraction() * 10);
      if (draw.chance(0.03)) broker.network.cutOne();
      if (draw.chance(0.02)) {
        crashes++;
        broker.crash();
        await sleep(ports.clock, draw.pick([1, 50, 1_500]));
        await broker.bootLater();
      }
    }
    await Promise.all(flying);
    await client.close();
  };
  await broker.scheduler.runUntil(story());
  assert.equal(fates.size, given, "every promise settles");
  const seen = new Map<string, { partition: number; offset: number }>();
  for (let partition = 0; partition < partitions; partition++) {
    let newest = -1;
    for (const { offset, value } of await readBack(broker, "orders", partition)) {
      const text = Buffer.from(value ?? []).toString();
      assert(fates.has(text), `phantom ${text}`);
      assert(!seen.has(text), `${text} is there twice`);
      seen.set(text, { partition, offset });
      const number = Number.parseInt(text, 10);
      assert(number > newest, `${number} came after ${newest} in partition ${partition}`);
      newest = number;
    }
  }
  let acknowledged = 0;
  let unknown = 0;
  for (const [value, fate] of fates) {
    const place = seen.get(value);
    if (fate === "unknown") unknown++;
    else if (fate === "not-written") assert.equal(place, undefined, `${value} was said not to be written`);
    else {
      acknowledged++;
      assert.deepEqual(place, fate, `${value} lies where its promise said`);
    }
  }
  await broker.stop();
  return { acknowledged, unknown, crashes };
}

/** `HOLDFAST_SEEDS=500` for a long run. */
const seeds = Number(process.env["HOLDFAST_SEEDS"] ?? 12);

describe("a producer and a broker that crashes", () => {
  it("loses nothing that was acknowledged, doubles nothing, keeps the order, and settles every promise", async () => {
    const sum = { acknowledged: 0, unknown: 0, crashes: 0 };
    for (let seed = 1; seed <= seeds; seed++) {
      try {
        const { acknowledged, unknown, crashes } = await judge(seed);
        sum.acknowledged += acknowledged;
        sum.unknown += unknown;
        sum.crashes += crashes;
      } catch (cause) {
        throw new Error(`seed ${seed}: ${String(cause)}`, { cause });
      }
    }
    assert(sum.acknowledged > seeds * 50 && sum.crashes > 0, JSON.stringify(sum));
    if (seeds > 12) console.log(JSON.stringify(sum));
  });
});
