import assert from "node:assert/strict";
import { test } from "node:test";
import { aClusterState, type BrokerFacts } from "../../test/proof/garbage-view.ts";
import { anEnv, ManualClock, MemoryStore } from "../../test/proof/segment-world.ts";
import { brokerEpoch } from "../base/ids.ts";
import { parseSlotKey, slotKey } from "../log/object-wal-format.ts";
import type { ClusterState } from "../metadata/state.ts";
import { OutcomeUnknownError } from "../store/errors.ts";
import { ReleasedSlots } from "./released-slots.ts";

const hourMs = 3_600_000;

/** A store that counts listings. */
class CountingStore extends MemoryStore {
  readonly listed: string[] = [];
  override list(prefix: string) {
    this.listed.push(prefix);
    return super.list(prefix);
  }
  fill(epoch: number, slots: number, from = 0): void {
    for (let slot = from; slot < from + slots; slot++) {
      this.objects.set(slotKey(brokerEpoch(epoch), slot), new Uint8Array(1));
    }
  }
  /** Slots of an epoch that are there. */
  slots(epoch: number): number[] {
    return [...this.objects.keys()]
      .map((key) => parseSlotKey(key))
      .filter((name) => name?.epoch === epoch)
      .map((name) => (name as { slot: number }).slot)
      .sort((a, b) => a - b);
  }
}

function aWorld(brokers: { readonly [epoch: number]: BrokerFacts }) {
  const store = new CountingStore();
  const clock = new ManualClock();
  const env = anEnv(clock);
  /** Each broker may have a view of its own. */
  const sweeper = (own: number, view: () => ClusterState) =>
    new ReleasedSlots({
      store,
      clock,
      log: env.log,
      journal: {
        epoch: brokerEpoch(own),
        get state() {
          return view();
        },
      },
    });
  return { store, clock, sweeper, state: aClusterState({ brokers }) };
}

test("a broker deletes its own released slots by their numbers, and lists nothing", async () => {
  const world = aWorld({ 1: { status: "live", released: 40 } });
  world.store.fill(1, 50);
  const sweeper = world.sweeper(1, () => world.state);
  await sweeper.sweep();
  assert.deepEqual(world.store.slots(1), [40, 41, 42, 43, 44, 45, 46, 47, 48, 49]);
  world.state = aClusterState({
    brokers: { 1: { status: "live", released: 45 } },
    dependencies: [[1, 43, 50]],
  });
  await sweeper.sweep();
  assert.equal(world.store.slots(1)[0], 43, "a partition that moved away needs the rest");
  assert.deepEqual(world.store.listed, []);
});

test("what an ended broker left goes after one listing, its seal never; no second listing follows", async () => {
  const world = aWorld({ 1: { status: "live" }, 2: { status: "live" } });
  const sweeper = world.sweeper(1, () => world.state);
  await sweeper.sweep();
  world.store.fill(2, 31);
  const brokers = { 1: { status: "live" }, 2: { status: "sealed", released: 3, end: 20 } } as const;
  world.state = aClusterState({ brokers, dependencies: [[2, 3, 20]] });
  await world.clock.advance(2 * 60_000);
  await sweeper.sweep();
  assert.equal(world.store.slots(2).length, 31, "somebody depends on it");
  world.state = aClusterState({ brokers });
  for (let i = 0; i < 30; i++) {
    await sweeper.sweep();
    await world.clock.advance(5_000);
  }
  assert.deepEqual(world.store.slots(2), [20]);
  assert.deepEqual(world.store.listed, ["wal/000000000002/"]);
});

test("idle brokers list nothing for an hour, then one of them lists everything, and once a day", async () => {
  const world = aWorld({ 1: { status: "live" }, 2: { status: "live" }, 0: { status: "sealed", end: 4 } });
  const sweepers = [1, 2].map((own) => world.sweeper(own, () => world.state));
  const pass = async (hours: number) => {
    for (let i = 0; i < hours * 4; i++) {
      for (const sweeper of sweepers) await sweeper.sweep();
      await world.clock.advance(hourMs / 4);
    }
  };
  await pass(1);
  assert.deepEqual(world.store.listed, []);
  await pass(1);
  assert.deepEqual(world.store.listed, ["wal/"]);
  world.store.fill(0, 7);
  await pass(25);
  assert.deepEqual(world.store.listed, ["wal/", "wal/"]);
  assert.deepEqual(world.store.slots(0), [4], "what landed late goes with the daily listing");
});

test("the next one sweeps when the broker that swept is gone, and an epoch that nobody knows is left alone", async () => {
  const world = aWorld({ 1: { status: "live" }, 2: { status: "live" } });
  const next = world.sweeper(2, () => world.state);
  await next.sweep();
  world.store.fill(1, 9);
  world.store.fill(7, 3);
  world.state = aClusterState({ brokers: { 1: { status: "fenced" }, 2: { status: "live" } } });
  await next.sweep();
  world.state = aClusterState({ brokers: { 1: { status: "sealed", end: 8 }, 2: { status: "live" } } });
  for (let i = 0; i < 5; i++) {
    await next.sweep();
    await world.clock.advance(hourMs / 4);
  }
  assert.deepEqual(world.store.slots(1), [8]);
  await next.sweep();
  assert.deepEqual(world.store.slots(7), [0, 1, 2]);
});

test("a store that does not answer leaves everything to the next sweep; one that failed ends it", async () => {
  const world = aWorld({ 1: { status: "live", released: 20 } });
  world.store.fill(1, 30);
  const sweeper = world.sweeper(1, () => world.state);
  world.store.beforeDelete = (key) => {
    if (key.endsWith("7")) throw new OutcomeUnknownError("no answer");
  };
  await sweeper.sweep();
  world.store.beforeDelete = () => {
    throw new Error("credentials expired");
  };
  await assert.rejects(sweeper.sweep(), /credentials/);
  world.store.beforeDelete = () => undefined;
  await sweeper.sweep();
  assert.equal(world.store.slots(1)[0], 20);
});

test("whatever views brokers have, no slot goes that a partition depends on, and no seal", async () => {
  // Views as the journal had them one after the other; each broker may have any of them, and never goes back.
  const histories = [
    { brokers: { 1: { status: "live" }, 2: { status: "live" } } },
    { brokers: { 1: { status: "live", released: 5 }, 2: { status: "live" } } },
    { brokers: { 1: { status: "fenced", released: 5 }, 2: { status: "live" } } },
    {
      brokers: {
        1: { status: "sealed", released: 5, end: 20 },
        2: { status: "live" },
        3: { status: "live" },
      },
      dependencies: [[1, 5, 20]],
    },
  ] as const;
  const views = histories.map((facts) => aClusterState(facts));
  for (let first = 0; first < views.length; first++) {
    for (let second = 0; second < views.length; second++) {
      const world = aWorld({});
      world.store.fill(1, 26);
      const sweepers = [
        world.sweeper(1, () => views[first] as ClusterState),
        world.sweeper(2, () => views[second] as ClusterState),
      ];
      for (let i = 0; i < 5; i++) {
        for (const sweeper of sweepers) await sweeper.sweep();
        await world.clock.advance(hourMs / 2);
      }
      const left = world.store.slots(1);
      for (let slot = 5; slot <= 20; slot++) assert.ok(left.includes(slot), `slot ${slot} is needed`);
    }
  }
});
