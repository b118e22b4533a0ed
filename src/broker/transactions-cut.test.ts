/** Power cuts in the middle of transactions: what is acknowledged stays, what was not is whole or not there at all. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SimulatedBroker } from "../../test/simulated-broker.ts";
import {
  committedIn,
  place,
  type Speech,
  stableOffset,
  WireProducer,
} from "../../test/transaction-fixture.ts";
import { ErrorCode } from "../protocol/errors.ts";
import { Disconnected, type SimClient } from "../sim/client.ts";

const settings = { "transaction.state.log.num.partitions": "2", "offsets.topic.num.partitions": "1" };
const MiB = 1_048_576;
/** One marker a step, so that cuts come between any two. */
const bounds = {
  walFileBytes: MiB,
  unflushedBytesMax: 8 * MiB,
  tailBytes: 16 * MiB,
  cacheBytes: MiB,
  flushAgeMs: 1_000,
  markersAtOnce: 1,
};
const places = [place("orders", 0), place("orders", 1), place("audit")];
const group = "g";
/** Every one at another place of a transaction's way from its first request to behind its last answer. */
const cuts = Number(process.env["TRANSACTION_CUTS"] ?? 60);

/** What the client heard. */
interface Heard {
  isCommitted: boolean;
}

/** One transaction that reads, writes and says how far it has read. */
async function transact(client: SimClient, speech: Speech, round: number, heard: Heard): Promise<void> {
  const producer = new WireProducer(client, speech);
  let told = await producer.init();
  while (told.errorCode === ErrorCode.CONCURRENT_TRANSACTIONS) told = await producer.init();
  assert.equal(told.errorCode, ErrorCode.NONE);
  if (producer.isOld) {
    assert.deepEqual(new Set(await producer.add(places)), new Set([ErrorCode.NONE]));
    assert.equal(await producer.addOffsets(group), ErrorCode.NONE);
  }
  assert.deepEqual(new Set(await producer.write(places, `${round}`)), new Set([ErrorCode.NONE]));
  assert.equal(await producer.commitOffset(group, place("input"), round), ErrorCode.NONE);
  assert.equal((await producer.end(true)).errorCode, ErrorCode.NONE);
  heard.isCommitted = true;
}

/** Runs the world until `isOver`, asked after each event; returns how many there were. */
async function runUntil(broker: SimulatedBroker, isOver: (events: number) => boolean): Promise<number> {
  const { scheduler } = broker;
  let events = 0;
  await scheduler.runUntil(
    new Promise<void>((resolve) => {
      scheduler.afterEvent = () => {
        if (isOver(++events)) resolve();
      };
    }),
  );
  scheduler.afterEvent = null;
  return events;
}

/** What is acknowledged is seen again without anybody's asking: the start drives it to its end. */
async function settled(broker: SimulatedBroker): Promise<boolean> {
  const client = broker.connect();
  const { clock } = broker.clientPorts();
  for (let patience = 100; patience > 0; patience--) {
    const views = await Promise.all(places.map((each) => committedIn(client, each)));
    if (views.every(({ lastStable, highWatermark }) => lastStable === highWatermark)) return true;
    await new Promise<void>((resolve) => void clock.schedule(10, resolve));
  }
  return false;
}

/** Whatever is open ends, because a producer comes after it; then what readers of committed records see. */
async function look(client: SimClient, speech: Speech) {
  const next = new WireProducer(client, speech);
  while ((await next.init()).errorCode !== ErrorCode.NONE);
  const views = await Promise.all(places.map((each) => committedIn(client, each)));
  return { views, stands: await stableOffset(client, group, place("input")) };
}

for (const speech of ["new", "old"] as const) {
  describe(`a transaction of a client that is ${speech}`, () => {
    test("is in all of its partitions and offsets or in none, wherever the power fails", async (t) => {
      const broker = await SimulatedBroker.start(settings, 7, bounds);
      t.after(() => broker.stop());
      await broker.createTopic("orders", 2);
      await broker.createTopic("audit");
      await broker.createTopic("input");
      const expected: string[] = [];
      const fates = { acknowledged: 0, unheard: 0, none: 0 };
      let length = 0;
      for (let round = 0; round <= cuts; round++) {
        const heard = { isCommitted: false };
        const story = transact(broker.connect(), speech, round, heard).catch((cause: unknown) => {
          if (!(cause instanceof Disconnected)) throw cause;
        });
        // The first one is not cut, and tells how long the way is.
        const at = 1 + (round % length);
        const events = await runUntil(broker, (count) => (round === 0 ? heard.isCommitted : count === at));
        if (round === 0) length = events;
        broker.crash();
        await broker.boot();
        await story;
        if (heard.isCommitted) assert.ok(await broker.scheduler.runUntil(settled(broker)), "nothing hangs");
        const { views, stands } = await broker.scheduler.runUntil(look(broker.connect(), speech));
        const isThere = views[0]?.values.at(-1) === `${round}`;
        if (isThere) expected.push(`${round}`);
        if (heard.isCommitted) assert.ok(isThere, "what is acknowledged stays");
        for (const { values, lastStable, highWatermark } of views) {
          assert.deepEqual(values, expected, "all or nothing, in every partition");
          assert.equal(lastStable, highWatermark, "nothing hangs");
        }
        assert.equal(stands, Number(expected.at(-1)), "and so are its offsets");
        fates[heard.isCommitted ? "acknowledged" : isThere ? "unheard" : "none"]++;
      }
      // Else the cuts came all too early or all too late.
      for (const [fate, count] of Object.entries(fates)) assert.ok(count > 0, `${fate}: ${count}`);
    });
  });
}
