import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  aBroker,
  aFlush,
  aFlushRow,
  aTopic,
  aTopicId,
  aWorld,
  type World,
} from "../../test/proof/journal-world.ts";
import { Writer } from "../base/bytes.ts";
import { DamageError, DiskError, RefusedError } from "../base/errors.ts";
import type { ObjectStore } from "../base/ports.ts";
import { sha256 } from "../io/sha256.ts";
import { SimDisk } from "../sim/disk.ts";
import { SimObjectStore } from "../sim/object-store.ts";
import { BodyKind, encodeBody, NO_NONCE } from "../store/body.ts";
import { DirectoryStore } from "../store/directory-store.ts";
import { JournalClosedError, UnknownCommandError } from "./errors.ts";
import { inspectJournal } from "./inspect.ts";
import { Journal, type JournalOptions } from "./journal.ts";
import type { JournalEvent } from "./outcomes.ts";
import { encodeSnapshotObject, slotKey, slotPrefix, snapshotKey } from "./slot.ts";
import { encodeSnapshot } from "./snapshot.ts";
import { type ClusterState, NO_BROKER } from "./state.ts";

/** A bucket without latency and faults, and journals over it. */
class Bench {
  readonly world: World = aWorld();
  readonly bucket = new SimObjectStore({
    clock: this.world.env.clock,
    random: this.world.random,
    latencyMs: 0,
  });

  open(options: Partial<JournalOptions> = {}): Promise<Journal> {
    const { env } = this.world;
    return Journal.open({
      store: this.bucket.connect(),
      env,
      sha256,
      walKind: "file",
      chapterSlots: 4,
      ...options,
    });
  }

  async broker(options: Partial<JournalOptions> = {}): Promise<Journal> {
    const journal = await this.open(options);
    await journal.register(aBroker);
    return journal;
  }

  keys(prefix: string): string[] {
    return [...this.bucket.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  }
}

const epochOf = (journal: Journal) => journal.epoch as NonNullable<typeof journal.epoch>;
const stateOf = (state: ClusterState): string => Buffer.from(encodeSnapshot(state)).toString("hex");
const filled = async (journal: Journal, slots: number): Promise<void> => {
  for (let count = 0; count < slots; count++) await journal.takeProducerIds();
};

describe("the metadata journal", () => {
  it("begins a cluster in an empty store and finds it again", async () => {
    const bench = new Bench();
    const journal = await bench.broker({ clusterId: "orders" });
    assert.equal(journal.state.clusterId, "orders");
    assert.equal(epochOf(journal), 1);
    await journal.append(aTopic(1, epochOf(journal)));
    await filled(journal, 20);
    await journal.close();
    const again = await bench.open();
    assert.equal(stateOf(again.state), stateOf(journal.state));
    assert.equal(again.state.topics.get(aTopicId(1))?.name, "topic-1");
    assert.equal((await bench.broker()).state.clusterId, "orders");
  });

  it("draws a cluster id that is no option and differs from cluster to cluster", async () => {
    const { clusterId } = (await new Bench().open()).state;
    assert.match(clusterId, /^[A-Za-z0-9_][A-Za-z0-9_-]{21}$/);
  });

  it("decides the commands that wait in one slot, each by itself", async () => {
    const bench = new Bench();
    const journal = await bench.broker();
    const before = journal.state.nextSlot;
    const numbers = Array.from({ length: 100 }, (_, index) => index);
    const outcomes = await Promise.all(numbers.map((n) => journal.append(aTopic(n % 50, epochOf(journal)))));
    assert.equal(outcomes.filter(({ kind }) => kind === "applied").length, 50);
    assert.ok(journal.state.nextSlot - before <= 2, "the first goes alone at most, the rest together");
  });

  it("tells its listeners each slot in order, after the state has it", async () => {
    const bench = new Bench();
    const journal = await bench.broker();
    const seen: [JournalEvent["kind"], number][] = [];
    const end = journal.onApplied((event) => {
      seen.push([event.kind, event.kind === "slot" ? event.slot : -1]);
      if (event.kind === "slot") assert.equal(journal.state.nextSlot, event.slot + 1);
    });
    await filled(journal, 3);
    end();
    await filled(journal, 1);
    assert.deepEqual(seen, [
      ["slot", 2],
      ["slot", 3],
      ["slot", 4],
    ]);
  });

  it("keeps two snapshots, the slots above the lower one, and a marker for each chapter that went", async () => {
    const bench = new Bench();
    const journal = await bench.broker();
    await filled(journal, 15);
    await journal.close();
    const again = await bench.broker();
    await filled(again, 1);
    await again.close();
    assert.equal(bench.keys("snap/").length, 2);
    const lower = Number(bench.keys("snap/")[0]?.slice(5));
    assert.equal(bench.keys("cut/").length, lower / 4);
    assert.equal(bench.keys("meta/")[0], slotKey(lower));
    assert.equal(stateOf((await bench.open()).state), stateOf(again.state));
  });

  it("brings a process that slept through a truncation up to date, with the answer of its last commands", async () => {
    const bench = new Bench();
    const connection = bench.bucket.connect();
    let loseAnswers = false;
    let wake: () => void = () => undefined;
    const asleep = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const store: ObjectStore = {
      ...connection,
      putIfAbsent: async (key, chunks, length) => {
        const outcome = await connection.putIfAbsent(key, chunks, length);
        // The put took effect; its answer arrives when everything was truncated.
        if (loseAnswers && key.startsWith(slotPrefix)) await asleep;
        return outcome;
      },
    };
    const sleeper = await bench.broker({ store });
    const events: string[] = [];
    sleeper.onApplied(({ kind }) => events.push(kind));
    loseAnswers = true;
    const pending = Promise.all([
      sleeper.append(aTopic(1, epochOf(sleeper))),
      sleeper.append(aTopic(1, epochOf(sleeper))),
    ]);
    for (let turn = 0; turn < 50; turn++) await Promise.resolve();
    const other = await bench.broker();
    await filled(other, 30);
    await other.close();
    wake();
    loseAnswers = false;
    const kinds = (await pending).map((outcome) => (outcome.kind === "void" ? outcome.reason : "applied"));
    assert.deepEqual(kinds, ["applied", "name-taken"]);
    assert.ok(events.includes("reloaded"));
    await sleeper.catchUp();
    assert.equal(stateOf(sleeper.state), stateOf(other.state));
  });

  it("sees with catchUp what another process decided before", async () => {
    const bench = new Bench();
    const [one, two] = [await bench.broker(), await bench.broker()];
    await filled(one, 7);
    await two.catchUp();
    assert.equal(stateOf(two.state), stateOf(one.state));
    assert.equal((await two.append({ kind: "fence", epoch: epochOf(one) })).kind, "applied");
    assert.deepEqual(await one.append(aTopic(1, epochOf(one))), { kind: "void", reason: "author-not-live" });
    assert.equal(await one.takeProducerIds(), null);
  });

  it("is one for two processes over one directory", async () => {
    const world = aWorld();
    const disk = new SimDisk();
    const open = async () => {
      const options = { directory: "objects", random: world.random, shared: true };
      const store = await DirectoryStore.open(disk, options);
      const journal = await Journal.open({
        store,
        env: world.env,
        sha256,
        walKind: "object",
        chapterSlots: 4,
      });
      await journal.register(aBroker);
      return journal;
    };
    const [one, two] = [await open(), await open()];
    const numbers = Array.from({ length: 20 }, (_, index) => index);
    for (const n of numbers) {
      const outcomes = await Promise.all([one, two].map((each) => each.append(aTopic(n, epochOf(each)))));
      assert.deepEqual(outcomes.map(({ kind }) => kind).sort(), ["applied", "void"]);
    }
    await Promise.all([one.catchUp(), two.catchUp()]);
    assert.equal(stateOf(one.state), stateOf(two.state));
    assert.equal(one.state.topics.size, 20);
    await Promise.all([one.close(), two.close()]);
  });

  it("stops when somebody else's snapshot of the same slot tells another state", async () => {
    const bench = new Bench();
    const journal = await bench.broker({ clusterId: "c" });
    const failures: Error[] = [];
    journal.onFailure((cause) => failures.push(cause));
    const other = await new Bench().broker({ clusterId: "c" });
    await filled(other, 1);
    const foreign = { ...other.state, nextSlot: 4 };
    bench.bucket.objects.set(snapshotKey(4), encodeSnapshotObject(foreign, sha256));
    await filled(journal, 2);
    await journal.close();
    assert.match((failures[0] as Error).message, /differs from the state/);
    assert.equal(bench.keys("meta/").length, 4);
  });

  it("is truncated by one of many brokers, and compared by one more", async () => {
    const bench = new Bench();
    const calls: string[][] = [];
    const watched = () => {
      const own: string[] = [];
      calls.push(own);
      const store = bench.bucket.connect();
      const watch: ObjectStore = {
        ...store,
        get: (key) => (own.push(`get ${key}`), store.get(key)),
        putIfAbsent: (key, chunks, length) => (
          own.push(`put ${key}`), store.putIfAbsent(key, chunks, length)
        ),
        list: (prefix) => (own.push(`list ${prefix}`), store.list(prefix)),
        delete: (key) => (own.push(`delete ${key}`), store.delete(key)),
      };
      return bench.broker({ store: watch, chapterSlots: 8 });
    };
    const [writer, witness, third] = [await watched(), await watched(), await watched()];
    for (const each of [writer, witness, third]) each.follow();
    for (const own of calls) own.length = 0;
    for (let count = 0; count < 40; count++) {
      await writer.takeProducerIds();
      for (const each of [witness, third]) await each.catchUp();
    }
    for (const each of [writer, witness, third]) await each.close();
    const [byWriter, byWitness, byThird] = calls as [string[], string[], string[]];
    const begin = (own: readonly string[], what: string) =>
      own.filter((call) => call.startsWith(what)).length;
    assert.deepEqual([begin(byWriter, "put snap/"), begin(byWriter, "put cut/")], [5, 4]);
    assert.ok(begin(byWriter, "delete meta/") >= 24);
    assert.equal(begin(byWitness, "get snap/") + begin(byWitness, "put snap/") >= 5, true);
    for (const what of ["list", "delete", "put cut/"]) assert.equal(begin(byWitness, what), 0, what);
    for (const what of ["list", "delete", "put", "get snap/"]) assert.equal(begin(byThird, what), 0, what);
  });

  it("keeps thousands of partitions cheap", async () => {
    const bench = new Bench();
    const journal = await bench.broker({ chapterSlots: 1024 });
    await journal.append(aTopic(1, epochOf(journal), 10_000));
    const rows = Array.from({ length: 10_000 }, (_, partition) => aFlushRow({ partition, from: 0, to: 10 }));
    assert.equal((await journal.append(aFlush(rows))).kind, "applied");
    const next = await bench.broker();
    await next.append({ kind: "fence", epoch: epochOf(journal) });
    const assignment = { owner: epochOf(next), exceptions: [] };
    const recover = { kind: "recover", epoch: epochOf(journal), end: 9, assignment } as const;
    const rest = { holes: [], jumped: false, hash: new Uint8Array(32) };
    await next.append({ ...recover, ...rest, end: recover.end as never });
    assert.equal(next.state.topics.get(aTopicId(1))?.partitions[9_999]?.owner, epochOf(next));
    const last = bench.bucket.objects.get(slotKey(next.state.nextSlot - 1)) as Uint8Array;
    assert.ok(last.byteLength < 300, "a take-over does not name the partitions one by one");
  });
});

describe("a store that fails", () => {
  const overDisk = async () => {
    const world = aWorld();
    const disk = new SimDisk();
    const open = async () =>
      Journal.open({
        store: await DirectoryStore.open(disk, { directory: "objects", random: world.random }),
        env: world.env,
        sha256,
        walKind: "file",
      });
    const journal = await open();
    await journal.register(aBroker);
    return { disk, journal, open };
  };

  it("and is full refuses for certain, and takes commands again when there is space", async () => {
    const { disk, journal, open } = await overDisk();
    disk.fault = ({ operation }) => (operation === "write" ? { kind: "error", errno: "ENOSPC" } : undefined);
    await assert.rejects(journal.append(aTopic(1, epochOf(journal))), (error) => {
      return error instanceof DiskError && error.retriable;
    });
    disk.fault = null;
    assert.equal((await open()).state.topics.size, 0);
    assert.equal((await journal.append(aTopic(1, epochOf(journal)))).kind, "applied");
  });

  it("in any other way closes the journal, for those who wait as well", async () => {
    const { disk, journal } = await overDisk();
    const failures: Error[] = [];
    journal.onFailure((cause) => failures.push(cause));
    disk.fault = ({ operation }) => (operation === "sync" ? { kind: "error", errno: "EIO" } : undefined);
    const results = await Promise.allSettled(
      [1, 2, 3].map((n) => journal.append(aTopic(n, epochOf(journal)))),
    );
    for (const result of results) {
      assert.ok(result.status === "rejected" && result.reason instanceof JournalClosedError);
    }
    disk.fault = null;
    await assert.rejects(journal.append(aTopic(4, epochOf(journal))), JournalClosedError);
    await assert.rejects(journal.catchUp(), JournalClosedError);
    assert.equal(failures.length, 1);
    assert.match((failures[0] as Error).message, /could not be made durable/);
  });
});

describe("a start is refused", () => {
  it("by a store of another cluster, of another kind of WAL, or of a newer format level", async () => {
    const bench = new Bench();
    await (await bench.broker({ clusterId: "mine" })).close();
    await assert.rejects(bench.open({ clusterId: "other" }), RefusedError);
    await assert.rejects(bench.open({ walKind: "object" }), RefusedError);
    const newer = new Bench();
    await newer.open({ clusterId: "c" });
    const key = slotKey(0);
    const bytes = (newer.bucket.objects.get(key) as Uint8Array).slice();
    const body = bytes.subarray(116).slice();
    // previous hash 32 · list 8 · count 4 · type 2 · version 2 · length 4 · cluster id 2 · level 2
    body[55] = 3;
    const header = { kind: BodyKind.slot, clusterId: "c", epoch: NO_BROKER, number: 0, nonce: NO_NONCE };
    newer.bucket.objects.set(key, encodeBody(header, body, sha256));
    await assert.rejects(newer.open(), /format level 3/);
  });

  it("by a command that this version does not know", async () => {
    const bench = new Bench();
    const journal = await bench.broker({ clusterId: "c" });
    const to = new Writer();
    to.raw(journal.state.previousHash);
    to.int64(1);
    to.int32(1);
    to.int16(18);
    to.int16(0);
    to.int32(0);
    const header = {
      kind: BodyKind.slot,
      clusterId: "c",
      epoch: epochOf(journal),
      number: 2,
      nonce: NO_NONCE,
    };
    bench.bucket.objects.set(slotKey(2), encodeBody(header, to.finishFlat(), sha256));
    await assert.rejects(bench.open(), UnknownCommandError);
    await assert.rejects(journal.catchUp(), (error) => {
      return error instanceof JournalClosedError && error.cause instanceof UnknownCommandError;
    });
  });

  it("by a slot that is missing while a later one exists, and the slot is not written anew", async () => {
    const bench = new Bench();
    await filled(await bench.broker({ chapterSlots: 1024 }), 6);
    for (const slot of [0, 3, 6]) {
      const bytes = bench.bucket.objects.get(slotKey(slot)) as Uint8Array;
      bench.bucket.objects.delete(slotKey(slot));
      await assert.rejects(bench.open(), (error) => {
        assert.ok(error instanceof DamageError);
        assert.match(error.message, new RegExp(`Slot ${slot} .* is missing`));
        return true;
      });
      assert.equal(bench.bucket.objects.has(slotKey(slot)), false);
      bench.bucket.objects.set(slotKey(slot), bytes);
    }
  });

  it("by a slot from another copy of the store, however whole it is", async () => {
    const bench = new Bench();
    const journal = await bench.broker({ chapterSlots: 1024, clusterId: "c" });
    await filled(journal, 3);
    const copy = new Bench();
    for (const [key, bytes] of bench.bucket.objects) {
      if (key !== slotKey(4)) copy.bucket.objects.set(key, bytes);
    }
    const forked = await copy.broker();
    await forked.append(aTopic(5, epochOf(forked)));
    await filled(journal, 2);
    bench.bucket.objects.set(slotKey(5), copy.bucket.objects.get(slotKey(5)) as Uint8Array);
    await assert.rejects(bench.open(), /from another copy/);
  });

  it("by nothing, when the newest snapshot is damaged: the one before it serves, and the damage is told", async () => {
    const bench = new Bench();
    const journal = await bench.broker();
    await filled(journal, 12);
    await journal.close();
    const newest = bench.keys("snap/").at(-1) as string;
    bench.bucket.objects.set(newest, new Uint8Array(3));
    const again = await bench.open();
    assert.equal(stateOf(again.state), stateOf(journal.state));
    assert.ok(bench.world.logged.some(({ level, facts }) => level === "error" && facts["object"] === newest));
    assert.ok(bench.bucket.objects.has(newest));
    const { env } = bench.world;
    const { findings } = await inspectJournal(
      { store: bench.bucket.connect(), env, sha256 },
      again.state.clusterId,
    );
    assert.deepEqual(
      findings.map(({ object }) => object),
      [newest],
    );
  });
});

it("a snapshot position is a key of its own", () => {
  assert.equal(snapshotKey(4096), "snap/0000000000004096");
});
