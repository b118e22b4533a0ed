import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aBroker, aFlush, aFlushRow, aTopic, aWorld, type World } from "../../test/proof/journal-world.ts";
import { type ObjectStore, sleep } from "../base/ports.ts";
import { sha256 } from "../io/sha256.ts";
import { SimObjectStore } from "../sim/object-store.ts";
import { Journal, type JournalOptions } from "./journal.ts";
import { cutKey, numberIn, slotKey, slotPrefix, snapshotPrefix } from "./slot.ts";
import { encodeSnapshot } from "./snapshot.ts";

const roundTripMs = 10;

/** A bucket in which every call takes the same time, so that time counts calls that waited for another. */
class Bench {
  readonly world: World = aWorld();
  readonly bucket = new SimObjectStore({
    clock: this.world.env.clock,
    random: this.world.random,
    latencyMs: 0,
  });
  readonly calls: string[] = [];

  open(options: Partial<JournalOptions> = {}): Promise<Journal> {
    const { env } = this.world;
    return Journal.open({ store: this.bucket.connect(), env, sha256, walKind: "object", ...options });
  }

  /** A start over that bucket, and how many calls of it had to wait for another one. */
  async start(): Promise<{ readonly journal: Journal; readonly rounds: number }> {
    const { env, scheduler } = this.world;
    const store = this.bucket.connect();
    const timed = async <T>(what: string, call: () => Promise<T>): Promise<T> => {
      this.calls.push(what);
      await sleep(env.clock, roundTripMs);
      return call();
    };
    const slow: ObjectStore = {
      ...store,
      get: (key) => timed(`get ${key}`, () => store.get(key)),
      list: (prefix) => timed(`list ${prefix}`, () => store.list(prefix)),
    };
    const begun = env.clock.monotonicMs();
    const opening = Journal.open({ store: slow, env, sha256, walKind: "object" });
    scheduler.schedule(0, () => undefined);
    const journal = await scheduler.runUntil(opening);
    return { journal, rounds: (env.clock.monotonicMs() - begun) / roundTripMs };
  }

  keys(prefix: string): readonly string[] {
    return [...this.bucket.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  }
}

describe("a start", () => {
  it("reads slots many at a time, and the next ones while it asks for the marker of those before", async () => {
    const bench = new Bench();
    const writer = await bench.open();
    await writer.register(aBroker);
    while (writer.state.nextSlot < 1_024 + 900) await writer.takeProducerIds();
    await writer.close();
    const { journal, rounds } = await bench.start();
    assert.equal(journal.state.nextSlot, 1_924);
    // The listings, the snapshot, 900 slots in batches of 64, a marker.
    assert.ok(rounds <= 2 + Math.ceil(901 / 64) + 1, `${rounds} round trips`);
  });

  it("asks for the marker of a chapter after it has read the slots of a batch, also of one that was read ahead", async () => {
    const bench = new Bench();
    const writer = await bench.open({ chapterSlots: 4 });
    await writer.register(aBroker);
    while (writer.state.nextSlot < 11) await writer.takeProducerIds();
    await writer.close();
    await bench.start();
    const asked = bench.calls.map((call) => call.slice("get ".length));
    const chapterOf = (key: string): number => Math.floor((numberIn(key, slotPrefix) ?? 0) / 4);
    for (const key of asked.filter((each) => each.startsWith(slotPrefix))) {
      if (!bench.bucket.objects.has(key)) continue;
      const marker = asked.lastIndexOf(cutKey(chapterOf(key)));
      assert.ok(marker > asked.lastIndexOf(key), `${key} is believed without its marker`);
    }
  });

  it("takes nothing from slots that were read ahead when their chapter turns out to be gone", async () => {
    const bench = new Bench();
    const writer = await bench.open({ chapterSlots: 4 });
    await writer.register(aBroker);
    while (writer.state.nextSlot < 6) await writer.takeProducerIds();
    const reader = await bench.open();
    // Two chapters go while the reader sleeps; what it would read next is somebody's late put.
    while (writer.state.nextSlot < 17) await writer.takeProducerIds();
    await writer.close();
    const lowest = numberIn(bench.keys(slotPrefix)[0] ?? "", slotPrefix) ?? 0;
    assert.ok(lowest > reader.state.nextSlot);
    for (let slot = reader.state.nextSlot; slot < lowest; slot++) {
      bench.bucket.objects.set(slotKey(slot), new Uint8Array(100));
    }
    await reader.catchUp();
    assert.deepEqual(encodeSnapshot(reader.state), encodeSnapshot(writer.state));
  });

  it("reads no more of slots than the state weighs, however much was flushed within the chapter", async () => {
    const bench = new Bench();
    const writer = await bench.open({ snapshotBytesMin: 10_000 });
    const epoch = await writer.register(aBroker);
    const partitions = 100;
    await writer.append(aTopic(1, epoch, partitions));
    // Half of it goes below the log start again, so the state stays small.
    for (let at = 0; at < 200; at++) {
      const rows = Array.from({ length: partitions }, (_, partition) =>
        aFlushRow({ partition, from: at, to: at + 1, start: Math.max(0, at - 4) }),
      );
      assert.equal((await writer.append(aFlush(rows))).kind, "applied");
    }
    await writer.close();
    const written = bench.keys(slotPrefix).map((key) => bench.bucket.objects.get(key)?.byteLength ?? 0);
    const { journal } = await bench.start();
    assert.deepEqual(encodeSnapshot(journal.state), encodeSnapshot(writer.state));
    const read = bench.calls
      .filter((call) => call.startsWith(`get ${slotPrefix}`))
      .reduce((sum, call) => sum + (bench.bucket.objects.get(call.slice(4))?.byteLength ?? 0), 0);
    const weight = encodeSnapshot(journal.state).byteLength;
    assert.ok(read < weight, `${read} bytes of slots beside a state of ${weight}`);
    assert.ok(written.reduce((sum, bytes) => sum + bytes, 0) > 10 * weight, "else this shows nothing");
    assert.equal(bench.keys(snapshotPrefix).length, 2);
  });

  it("finds a snapshot within a chapter damaged, and reads on from the one before it", async () => {
    const bench = new Bench();
    const writer = await bench.open({ chapterSlots: 64, snapshotBytesMin: 2_000 });
    await writer.register(aBroker);
    while (writer.state.nextSlot < 100) await writer.takeProducerIds();
    await writer.close();
    const newest = bench.keys(snapshotPrefix).at(-1) as string;
    assert.notEqual((numberIn(newest, snapshotPrefix) ?? 0) % 64, 0);
    bench.bucket.objects.get(newest)?.fill(7, 200);
    const { journal } = await bench.start();
    assert.deepEqual(encodeSnapshot(journal.state), encodeSnapshot(writer.state));
  });

  it("of brokers that write in turns, only the author of the slot at which a snapshot is due writes it", async () => {
    const bench = new Bench();
    let puts = 0;
    const counted = (): ObjectStore => {
      const store = bench.bucket.connect();
      return {
        ...store,
        putIfAbsent: (key, chunks, length) => {
          if (key.startsWith(snapshotPrefix)) puts++;
          return store.putIfAbsent(key, chunks, length);
        },
      };
    };
    const options = { snapshotBytesMin: 4_000 };
    const brokers = [
      await bench.open({ ...options, store: counted() }),
      await bench.open({ ...options, store: counted() }),
    ];
    for (const each of brokers) await each.register(aBroker);
    for (let at = 0; at < 200; at++) await brokers[at % 2]?.takeProducerIds();
    for (const each of brokers) await each.catchUp();
    for (const each of brokers) await each.close();
    const positions = [...bench.bucket.firstContents.keys()].filter((key) => key.startsWith(snapshotPrefix));
    assert.ok(positions.length >= 5, `${positions.length} snapshots`);
    assert.equal(puts, positions.length);
  });
});
