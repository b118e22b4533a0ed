import assert from "node:assert/strict";
import { test } from "node:test";
import { RefusedError } from "../base/errors.ts";
import type { ObjectStore } from "../base/ports.ts";
import { SimClock } from "../sim/clock.ts";
import { noFaults, type ObjectStoreFaults, SimObjectStore } from "../sim/object-store.ts";
import { SimRandom } from "../sim/random.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { probeStore, type ProbeVerdict, refuseUnsound } from "./probe.ts";

function world(
  faults: ObjectStoreFaults = noFaults,
  change: (store: ObjectStore) => Partial<ObjectStore> = () => ({}),
) {
  const random = new SimRandom(7);
  const scheduler = new Scheduler(random);
  const clock = new SimClock(scheduler);
  const objects = new SimObjectStore({ clock, random, faults });
  const connected = objects.connect();
  const store = { ...connected, ...change(connected) };
  const verdicts = () =>
    probeStore({ store, clock, random: random.fork("probe"), rounds: 3, largeBytes: 100_000 });
  return {
    objects,
    verdicts,
    run: <T>(promise: Promise<T>): Promise<T> => scheduler.runUntil(promise),
    probe: async (): Promise<ReadonlyMap<string, ProbeVerdict>> => {
      const all = await scheduler.runUntil(
        (async () => {
          const found: ProbeVerdict[] = [];
          for await (const verdict of verdicts()) found.push(verdict);
          return found;
        })(),
      );
      return new Map(all.map((verdict) => [verdict.about, verdict]));
    },
  };
}

const statusOf = (found: ReadonlyMap<string, ProbeVerdict>): { readonly [about: string]: string } =>
  Object.fromEntries([...found].map(([about, { status }]) => [about, status]));

const sound = {
  "create and read": "ok",
  "taken names": "ok",
  races: "ok",
  "fresh reads": "ok",
  listing: "ok",
  "large objects": "ok",
  parts: "ok",
  deletes: "ok",
  latency: "ok",
};

test("a sound store passes, and nothing of the probe is left", async () => {
  const { probe, objects, run, verdicts } = world();
  assert.deepEqual(statusOf(await probe()), sound);
  assert.equal(objects.objects.size, 0);
  assert.equal((await run(refuseUnsound("it", verdicts()))).length, 9);
});

test("answers that get lost, puts that land late or twice and conflicts are no reason to refuse a store", async () => {
  const faults = { ...noFaults, unanswered: 0.2, late: 0.1, twice: 0.1, refused: 0.05, lateMs: 300 };
  const { probe } = world(faults);
  assert.deepEqual(statusOf(await probe()), sound);
});

test("a store that overwrites is refused", async () => {
  const overwriting = () => {
    const own = new Map<string, Uint8Array>();
    return {
      putIfAbsent: async (key: string, chunks: readonly Uint8Array[]) => {
        own.set(key, chunks[0] as Uint8Array);
        return "created" as const;
      },
      get: async (key: string) => own.get(key) ?? null,
    };
  };
  const { probe, run, verdicts } = world(noFaults, overwriting);
  const found = await probe();
  assert.equal(found.get("taken names")?.status, "wrong");
  assert.equal(found.get("races")?.status, "wrong");
  assert.match(
    found.get("races")?.text ?? "",
    /of 16 who created one name at once, 16 were told that they won/,
  );
  await assert.rejects(run(refuseUnsound("s3://b/", verdicts())), (error: Error) => {
    assert.ok(error instanceof RefusedError);
    assert.match(error.message, /^s3:\/\/b\/ cannot keep records safely; taken names: .*If-None-Match/);
    return true;
  });
});

test("a store that says 'taken' to everybody has no winner, and is refused", async () => {
  const { probe } = world(noFaults, (store) => ({
    putIfAbsent: async (key, chunks, length) => {
      if (!key.includes("race")) return store.putIfAbsent(key, chunks, length);
      await store.putIfAbsent(key, [new Uint8Array(3)], 3);
      return "exists";
    },
  }));
  assert.equal((await probe()).get("races")?.status, "wrong");
});

test("a name that was asked for before it existed must be found afterwards", async () => {
  const absent = new Set<string>();
  const { probe } = world(noFaults, (store) => ({
    get: async (key, range) => {
      const found = absent.has(key) ? null : await store.get(key, range);
      if (found === null) absent.add(key);
      return found;
    },
  }));
  assert.equal((await probe()).get("fresh reads")?.status, "wrong");
});

test("listings that leave out what is new are a risk; wrong parts and altered bodies are refused", async () => {
  const short = world({ ...noFaults, shortList: 1 });
  assert.equal((await short.probe()).get("listing")?.status, "risk");
  const shifted = world(noFaults, (store) => ({
    get: async (key, range) =>
      store.get(key, range === undefined || range.start === 0 ? range : { ...range, start: range.start - 1 }),
  }));
  assert.equal((await shifted.probe()).get("parts")?.status, "wrong");
  const altered = world(noFaults, (store) => ({
    get: async (key, range) => {
      const body = await store.get(key, range);
      if (body !== null && body.byteLength > 50_000) body[50_000] = (body[50_000] as number) ^ 1;
      return body;
    },
  }));
  assert.equal((await altered.probe()).get("large objects")?.status, "wrong");
});

test("a store that does not answer ends the probe after a while, and a start is refused", async () => {
  const { probe, run, verdicts } = world({ ...noFaults, refused: 1 });
  const found = await probe();
  assert.deepEqual(statusOf(found), { "create and read": "unknown" });
  assert.match(found.get("create and read")?.text ?? "", /not done within 60 s \(put probe\/.*503\)/);
  await assert.rejects(run(refuseUnsound("it", verdicts())), RefusedError);
});
