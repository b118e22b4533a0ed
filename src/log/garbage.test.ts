import assert from "node:assert/strict";
import { test } from "node:test";
import {
  anEnv,
  aRef,
  aSource,
  ManualClock,
  MemoryStore,
  orders,
  origin,
} from "../../test/proof/segment-world.ts";
import { Garbage, type GarbageView } from "./garbage.ts";
import { objectKey } from "./segment-format.ts";
import { SegmentIndex } from "./segment-index.ts";
import { encodeList } from "./segment-list.ts";
import { brokerEpoch } from "../base/ids.ts";
import { OutcomeUnknownError } from "../store/errors.ts";

const key = (counter: number, epoch = 7): string => objectKey(brokerEpoch(epoch), counter);

async function aWorld() {
  const store = new MemoryStore();
  const clock = new ManualClock();
  const env = anEnv(clock);
  const source = aSource([]);
  /** Epoch 7 lives and is done with its numbers below 100; epoch 3 is fenced. */
  const view = (): GarbageView => ({
    partitions: [{ ...orders, folded: source.folded, recent: source.recent }],
    isSettled: (author, counter) => author === 3 || (author === 7 && counter < 100),
  });
  const put = (name: string) => store.putIfAbsent(name, [new Uint8Array(3)], 3);
  const index = new SegmentIndex(store, 1 << 20);
  const urgency = { isUrgent: false };
  const garbage = new Garbage({
    env,
    store,
    view,
    index,
    graceMs: 60_000,
    isUrgent: () => urgency.isUrgent,
    intervalMs: 10_000,
    onFailure: () => assert.fail(),
  });
  return { store, clock, env, source, put, garbage, index, urgency };
}

test("only what is unreferenced and settled goes, after its delay: orphans of dead epochs too", async () => {
  const { store, clock, source, put, garbage } = await aWorld();
  const list = encodeList(origin(5), orders, { previous: null, segments: [aRef(1, 2)] });
  const older = list.pointer;
  const next = encodeList(origin(6), orders, { previous: older, segments: [aRef(2, 3)] });
  await store.putIfAbsent(older.object, list.chunks, list.length);
  await store.putIfAbsent(next.pointer.object, next.chunks, next.length);
  source.folded = next.pointer;
  source.recent = [aRef(3, 4)];
  const needed = [key(1), key(2), key(3), key(5), key(6)];
  const unsettled = [key(100), key(5000), key(1, 8), "seg/notes.txt", "seg/000000000003/x"];
  for (const name of [...needed, ...unsettled, key(4), key(99), key(0, 3), key(1 << 20, 3)]) await put(name);
  const before = store.objects.size;
  assert.equal(await garbage.round(), 0);
  assert.equal(garbage.tombstones, 4);
  await clock.advance(59_999);
  assert.equal(await garbage.round(), 0);
  assert.equal(store.objects.size, before);
  await clock.advance(1);
  assert.equal(await garbage.round(), 4);
  assert.deepEqual([...store.objects.keys()].sort(), [...needed, ...unsettled].sort());
});

test("an unreadable list deletes nothing, and the delay begins again", async () => {
  const { store, clock, env, source, put, garbage } = await aWorld();
  await put(key(4));
  await garbage.round();
  await clock.advance(60_000);
  const { pointer } = encodeList(origin(5), orders, { previous: null, segments: [aRef(1, 2)] });
  source.folded = pointer;
  assert.equal(await garbage.round(), 0);
  assert.deepEqual(env.lines, ["garbage.stopped"]);
  assert.equal(garbage.tombstones, 0);
  assert.ok(store.objects.has(key(4)));
  source.folded = null;
  assert.equal(await garbage.round(), 0);
});

test("what is referenced again before its delay is over stays", async () => {
  const { store, clock, source, put, garbage } = await aWorld();
  await put(key(4));
  await garbage.round();
  source.recent = [aRef(4, 5)];
  await clock.advance(60_000);
  assert.equal(await garbage.round(), 0);
  source.recent = [];
  assert.equal(await garbage.round(), 0, "its delay began anew");
  assert.ok(store.objects.has(key(4)));
});

test("sweeps come by themselves until the collector is closed", async () => {
  const { store, clock, put, garbage } = await aWorld();
  await put(key(4));
  garbage.start();
  for (let i = 0; i < 8; i++) await clock.advance(10_000);
  assert.equal(store.objects.size, 0);
  await garbage.close();
  await put(key(5));
  for (let i = 0; i < 8; i++) await clock.advance(10_000);
  assert.equal(store.objects.size, 1);
});

test("what somebody reads goes only when the last who reads it is done, however long its delay is over", async () => {
  const { store, clock, put, garbage, index } = await aWorld();
  await put(key(4));
  await put(key(5));
  await garbage.round();
  const done = [index.inUse.hold(key(4)), index.inUse.hold(key(4))];
  await clock.advance(60_000);
  assert.equal(await garbage.round(), 1);
  for (const end of done) {
    assert.deepEqual([...store.objects.keys()], [key(4)]);
    assert.equal(await garbage.round(), 0);
    end();
  }
  assert.equal(await garbage.round(), 1);
  assert.equal(store.objects.size, 0);
});

test("when space is short nothing waits for its delay, nor for the next round", async () => {
  const { store, clock, put, garbage, urgency } = await aWorld();
  await put(key(4));
  await garbage.round();
  garbage.start();
  await clock.advance(4_000);
  assert.equal(store.objects.size, 1);
  urgency.isUrgent = true;
  await clock.advance(2_000);
  assert.equal(store.objects.size, 0);
  urgency.isUrgent = false;
  await put(key(5));
  for (let i = 0; i < 40; i++) await clock.advance(2_000);
  assert.equal(store.objects.size, 0);
  await garbage.close();
});

/** A world whose store counts listings, which are due when a test says so. */
async function aSharedWorld() {
  const world = await aWorld();
  let isDue = true;
  let lists = 0;
  const { store } = world;
  const list = store.list.bind(store);
  store.list = (prefix) => {
    lists++;
    return list(prefix);
  };
  const refreshed: (() => void)[] = [];
  const garbage = new Garbage({
    env: world.env,
    store,
    index: world.index,
    view: () => ({
      partitions: [{ ...orders, folded: world.source.folded, recent: world.source.recent }],
      isSettled: (author) => author === 7,
    }),
    graceMs: 60_000,
    isUrgent: () => false,
    intervalMs: 10_000,
    listings: { isDue: () => isDue, done: () => void (isDue = false) },
    refresh: () => Promise.resolve(refreshed.shift()?.()),
    onFailure: (cause) => assert.fail(cause),
  });
  return { ...world, garbage, refreshed, lists: () => lists };
}

test("in a shared store what one listing found goes without another, and nothing new is looked for", async () => {
  const { store, clock, put, garbage, lists } = await aSharedWorld();
  await put(key(4));
  await put(key(5));
  await garbage.round();
  await put(key(6));
  await clock.advance(60_000);
  assert.equal(await garbage.round(), 2);
  assert.equal(await garbage.round(), 0);
  assert.deepEqual([...store.objects.keys()], [key(6)]);
  assert.equal(lists(), 1);
});

test("a list that is gone by an old view stops nothing when the fresh one names another", async () => {
  const { env, source, put, garbage, refreshed } = await aSharedWorld();
  await put(key(4));
  const { pointer } = encodeList(origin(5), orders, { previous: null, segments: [aRef(1, 2)] });
  source.folded = pointer;
  refreshed.push(() => {
    source.folded = null;
  });
  await garbage.round();
  assert.equal(garbage.tombstones, 1);
  assert.deepEqual(env.lines, []);
});

test("a store that does not answer for a while ends nothing: the next sweep does it", async () => {
  const { store, clock, put, garbage } = await aSharedWorld();
  await put(key(4));
  let failures = 3;
  store.beforeDelete = () => {
    if (failures-- > 0) throw new OutcomeUnknownError("no answer");
  };
  garbage.start();
  for (let i = 0; i < 20; i++) await clock.advance(10_000);
  assert.equal(store.objects.size, 0);
  await garbage.close();
});
