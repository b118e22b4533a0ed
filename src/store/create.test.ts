import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aWorld, type World } from "../../test/proof/journal-world.ts";
import { DiskError } from "../base/errors.ts";
import type { ObjectStore } from "../base/ports.ts";
import { noFaults, type ObjectStoreFaults, SimObjectStore } from "../sim/object-store.ts";
import { backoffMs, create } from "./create.ts";
import { OutcomeUnknownError, StoreFailedError } from "./errors.ts";

const mine = new Uint8Array([1, 2, 3]);
const theirs = new Uint8Array([1, 2, 4]);

function aBucket(world: World, faults: Partial<ObjectStoreFaults> = {}): SimObjectStore {
  const { env, random } = world;
  return new SimObjectStore({ clock: env.clock, random, faults: { ...noFaults, ...faults } });
}

/** Answers of putIfAbsent in order; an error is thrown. What is there is `body`. */
function aScriptedStore(
  answers: ("created" | "exists" | Error)[],
  body: Uint8Array | null,
): ObjectStore & { readonly puts: Uint8Array[] } {
  const puts: Uint8Array[] = [];
  return {
    puts,
    get: () => Promise.resolve(body),
    putIfAbsent: (_key, [chunk]) => {
      puts.push((chunk as Uint8Array).slice());
      const answer = answers.shift();
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer ?? "exists");
    },
    list: () => Promise.resolve([]),
    delete: () => Promise.resolve(),
  };
}
const full = new DiskError({ errno: "ENOSPC", operation: "write", path: "x" });

describe("create", () => {
  const decide = (store: ObjectStore, world = aWorld()) =>
    world.scheduler.runUntil(create(store, "meta/1", mine, world.env));

  it("finds its own bytes behind an answer that got lost", async () => {
    let unanswered = 0;
    for (let seed = 0; seed < 20; seed++) {
      const world = aWorld(seed);
      const bucket = aBucket(world, { unanswered: 0.7 });
      assert.deepEqual(await decide(bucket.connect(), world), { kind: "mine" });
      unanswered += bucket.counts.get("unanswered") ?? 0;
    }
    assert.ok(unanswered > 10);
  });

  it("finds a rival by reading back, and gives his object", async () => {
    const world = aWorld();
    const bucket = aBucket(world);
    bucket.objects.set("meta/1", theirs);
    assert.deepEqual(await decide(bucket.connect(), world), { kind: "other", body: theirs });
  });

  it("decides through every fault a bucket has, and exactly one of two rivals wins", async () => {
    for (let seed = 0; seed < 100; seed++) {
      const world = aWorld(seed);
      const bucket = aBucket(world, { unanswered: 0.3, late: 0.3, twice: 0.3, refused: 0.3, lateMs: 500 });
      const [one, two] = await world.scheduler.runUntil(
        Promise.all([mine, theirs].map((bytes) => create(bucket.connect(), "meta/1", bytes, world.env))),
      );
      assert.equal([one, two].filter((outcome) => outcome?.kind === "mine").length, 1, `seed ${seed}`);
      assert.deepEqual(bucket.objects.get("meta/1"), one?.kind === "mine" ? mine : theirs);
    }
  });

  it("sends the same bytes with every try", async () => {
    const unknown = new OutcomeUnknownError("503");
    const store = aScriptedStore([unknown, unknown, "created"], null);
    assert.deepEqual(await decide(store), { kind: "mine" });
    assert.deepEqual(store.puts, [mine, mine, mine]);
  });

  it("tries again when the object was deleted between the two looks", async () => {
    const store = aScriptedStore(["exists", "created"], null);
    assert.deepEqual(await decide(store), { kind: "mine" });
  });

  it("says that the disk is full only when nothing of it can exist", async () => {
    await assert.rejects(create(aScriptedStore([full], null), "meta/1", mine, aWorld().env), full);
    const store = aScriptedStore([new OutcomeUnknownError("reset"), full, "created"], null);
    assert.deepEqual(await decide(store), { kind: "mine" });
  });

  it("gives up when the store is broken", async () => {
    const broken = new StoreFailedError("sync failed");
    await assert.rejects(create(aScriptedStore([broken], null), "meta/1", mine, aWorld().env), broken);
  });

  it("waits longer from try to try, up to a bound", () => {
    const { random } = aWorld();
    const longest = (attempt: number) =>
      Math.max(...Array.from({ length: 200 }, () => backoffMs(attempt, random)));
    assert.ok(longest(0) <= 20 && longest(3) > 80 && longest(3) <= 160 && longest(1000) <= 1_000);
  });
});
