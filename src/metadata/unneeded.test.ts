import assert from "node:assert/strict";
import { test } from "node:test";
import { aClusterState } from "../../test/proof/garbage-view.ts";
import { brokerEpoch } from "../base/ids.ts";
import type { ClusterState } from "./state.ts";
import { garbageView, isSweeper, unneededSlots } from "./unneeded.ts";

const of = (state: ClusterState, epoch: number) => unneededSlots(state).get(brokerEpoch(epoch));

test("of a broker that lives, or is fenced and not ended, only what it released is unneeded", () => {
  const state = aClusterState({
    brokers: { 1: { status: "live", released: 7 }, 2: { status: "fenced", released: 9 } },
  });
  assert.deepEqual(of(state, 1), { below: 7, sealedAt: null });
  assert.deepEqual(of(state, 2), { below: 9, sealedAt: null });
});

test("a partition that moved away still needs what its former owner released for itself", () => {
  const state = aClusterState({
    brokers: { 1: { status: "live", released: 20 } },
    dependencies: [
      [1, 12, 18],
      [1, 5, 11],
    ],
  });
  assert.deepEqual(of(state, 1), { below: 5, sealedAt: null });
});

test("of an ended WAL everything but the seal is unneeded once no partition depends on it", () => {
  const brokers = { 1: { status: "sealed", released: 3, end: 30 } } as const;
  const needed = aClusterState({ brokers, dependencies: [[1, 3, 30]] });
  assert.deepEqual(of(needed, 1), { below: 3, sealedAt: 30 });
  assert.deepEqual(of(aClusterState({ brokers }), 1), { below: 30, sealedAt: 30 });
});

test("an epoch that the journal does not know says nothing about what may go", () => {
  assert.equal(of(aClusterState({ brokers: {} }), 1), undefined);
});

test("the broker that lives longest sweeps, and nobody who is fenced", () => {
  const state = aClusterState({
    brokers: { 1: { status: "fenced" }, 4: { status: "live" }, 6: { status: "live" } },
  });
  const sweepers = [1, 4, 6, 9].filter((epoch) => isSweeper(state, brokerEpoch(epoch)));
  assert.deepEqual(sweepers, [4]);
});

test("an author's objects can be garbage once it said so, or is no longer live; of one that nobody knows, never", () => {
  const state = aClusterState({ brokers: { 2: { status: "fenced" }, 5: { status: "live", below: 10 } } });
  const view = garbageView(state);
  const settled = [
    [2, 1_000],
    [5, 9],
    [5, 10],
    [9, 0],
  ].filter(([author, counter]) => view.isSettled(author as number, counter as number));
  assert.deepEqual(settled, [
    [2, 1_000],
    [5, 9],
  ]);
});
