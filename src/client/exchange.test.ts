/** Producer and consumer of one client, in a world whose connections are cut and whose broker loses its power. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aBroker } from "../../test/simulated-broker.ts";
import { SimRandom } from "../sim/random.ts";
import { createClient } from "./client.ts";

/** More with HOLDFAST_SEEDS=200. */
const seedCount = Number(process.env["HOLDFAST_SEEDS"] ?? 2);
/** In the tenth a connection is cut while it is greeted, which once looked like a server that is not Kafka. */
const seeds = [10, ...Array.from({ length: seedCount }, (_, index) => 100 + index)];
const partitions = 3;
const recordCount = 600;

describe("through cuts and crashes", () => {
  for (const seed of seeds) {
    it(`what was acknowledged is handed out once and in order (seed ${seed})`, async (test) => {
      const random = new SimRandom(seed);
      const broker = await aBroker(test);
      const { scheduler } = broker;
      await broker.createTopic("t", partitions);
      const client = createClient({ bootstrap: broker.address }, broker.clientPorts());
      const producer = client.producer({ lingerMs: 2 });
      const consumer = client.consumer({
        topic: "t",
        maxWaitMs: 50 + random.below(500),
        prefetchBytesMax: 1_024 + random.below(20_000),
      });
      const acknowledged = new Map<string, string>();
      const pause = (ms: number): Promise<void> => new Promise((resolve) => scheduler.schedule(ms, resolve));

      const write = async (): Promise<void> => {
        const sent: Promise<void>[] = [];
        for (let number = 0; number < recordCount; number++) {
          const value = String(number);
          sent.push(
            producer.send({ topic: "t", partition: number % partitions, value }).then((where) => {
              acknowledged.set(`${where.partition}/${where.offset}`, value);
            }),
          );
          if (random.below(10) === 0) await pause(random.below(30));
        }
        await Promise.all(sent);
      };
      const found = new Map<string, string>();
      const lastNumber = new Map<number, number>();
      const read = async (): Promise<void> => {
        for await (const { partition, offset, value } of consumer) {
          const place = `${partition}/${offset}`;
          assert(!found.has(place), `${place} is handed out twice`);
          found.set(place, String(value));
          assert(Number(value) > (lastNumber.get(partition) ?? -1), `${place} is in order`);
          lastNumber.set(partition, Number(value));
          if (found.size === recordCount) return;
          if (random.below(20) === 0) await pause(random.below(40));
        }
      };
      let isOver = false;
      const disturb = async (): Promise<void> => {
        while (!isOver) {
          await pause(20 + random.below(300));
          if (isOver) return;
          if (random.below(4) > 0) broker.network.cutOne();
          else {
            broker.crash();
            await pause(random.below(500));
            await broker.bootLater();
          }
        }
      };
      const exchange = Promise.all([write(), read()]).finally(() => {
        isOver = true;
      });
      await scheduler.runUntil(Promise.all([exchange, disturb()]));
      assert.deepEqual(found, new Map([...found].map(([place]) => [place, acknowledged.get(place)])));
      assert.equal(acknowledged.size, recordCount);
      await scheduler.runUntil(client.close());
    });
  }
});
