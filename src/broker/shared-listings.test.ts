import assert from "node:assert/strict";
import { test } from "node:test";
import { aClusterState } from "../../test/proof/garbage-view.ts";
import { ManualClock } from "../../test/proof/segment-world.ts";
import { brokerEpoch, offset } from "../base/ids.ts";
import type { Command } from "../metadata/commands.ts";
import type { JournalEvent } from "../metadata/outcomes.ts";
import type { ClusterState } from "../metadata/state.ts";
import { SharedListings } from "./shared-listings.ts";

const minuteMs = 60_000;

function aWorld(own: number) {
  const clock = new ManualClock();
  let tell: (event: JournalEvent) => void = () => undefined;
  const journal = {
    state: aClusterState({ brokers: { 1: { status: "live" }, 2: { status: "live" } } }) as ClusterState,
    epoch: brokerEpoch(own),
    onApplied: (listener: (event: JournalEvent) => void) => {
      tell = listener;
      return () => undefined;
    },
  };
  const listings = new SharedListings({ clock, journal, intervalMs: 5 * minuteMs });
  const command = (facts: object): void => {
    const commands = [
      { command: facts as Command, outcome: { kind: "applied", effect: { kind: "none" } } },
    ] as const;
    tell({ kind: "slot", slot: 9, author: brokerEpoch(2), commands });
  };
  return { clock, journal, listings, command };
}

test("in a cluster where nothing becomes garbage the store is listed after an hour, and then once a day", async () => {
  const { clock, listings } = aWorld(1);
  const listedAt: number[] = [];
  for (let minutes = 0; minutes <= 26 * 60; minutes += 5) {
    if (listings.isDue(false)) {
      listedAt.push(minutes);
      listings.done(10);
    }
    await clock.advance(5 * minuteMs);
  }
  assert.deepEqual(listedAt, [60, 25 * 60]);
});

test("what drops references makes a listing due, at the interval, and later where there are many objects", async () => {
  const { clock, listings, command } = aWorld(1);
  assert.equal(listings.isDue(false), false);
  command({ kind: "flush", rows: [{ start: offset(-1) }] });
  await clock.advance(5 * minuteMs);
  assert.equal(listings.isDue(false), false, "a flush takes no reference away");
  command({ kind: "trim" });
  assert.equal(listings.isDue(false), true);
  listings.done(100_000);
  command({ kind: "replace" });
  await clock.advance(9 * minuteMs);
  assert.equal(listings.isDue(false), false, "100,000 objects are listed every ten minutes at most");
  await clock.advance(minuteMs);
  assert.equal(listings.isDue(false), true);
});

test("the death of an author makes a listing due, by the one that lives longest", async () => {
  const { clock, listings, command, journal } = aWorld(2);
  command({ kind: "recover" });
  await clock.advance(60 * minuteMs);
  assert.equal(listings.isDue(false), false, "broker 1 does it");
  assert.equal(listings.isDue(true), false, "also when space is short");
  journal.state = aClusterState({ brokers: { 1: { status: "sealed", end: 3 }, 2: { status: "live" } } });
  assert.equal(listings.isDue(false), false);
  assert.equal(listings.isDue(true), true, "when space is short nothing is waited for");
  await clock.advance(5 * minuteMs);
  assert.equal(listings.isDue(false), true);
});
