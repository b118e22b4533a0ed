import assert from "node:assert/strict";
import { test } from "node:test";
import { aBroker, aFlush, aTopic, aTopicId, aWorld } from "../../../test/proof/journal-world.ts";
import { aBatch, aDraft, atOnce, MemoryStore } from "../../../test/proof/segment-world.ts";
import { type BrokerEpoch, leaderEpoch, offset, partitionIndex, walPosition } from "../../base/ids.ts";
import { sha256 } from "../../io/sha256.ts";
import { encodeEntries, encodeSeal, nonceBytes, slotKey } from "../../log/object-wal-format.ts";
import { encodeList } from "../../log/segment-list.ts";
import type { SegmentRef } from "../../log/segment-ref.ts";
import { buildObject } from "../../log/segment-writer.ts";
import { anEntry } from "../../log/wal.contract.ts";
import { Journal } from "../journal.ts";
import { slotKey as journalSlot } from "../slot.ts";
import type { CheckFinding, CheckSummary } from "./finding.ts";
import { checkStore } from "./store.ts";

const topicId = aTopicId(1);

/** A store with a cluster in it: broker 1 ended, and partition 0 still depends on its slots 2 to 4; broker 2 lives. */
class Bench {
  readonly store = new MemoryStore();
  readonly world = aWorld();
  readonly ports = { store: this.store, env: this.world.env, sha256 };
  readonly refs: SegmentRef[] = [];
  listed = "";
  live!: Journal;

  static async open(): Promise<Bench> {
    const bench = new Bench();
    const dead = await bench.broker();
    await dead.append(aTopic(1, dead.epoch as BrokerEpoch, 1));
    for (const from of [0, 10]) await bench.flush(dead, from, 2);
    bench.fill(dead, 0, 5);
    bench.live = await bench.broker();
    const own = bench.live.epoch as BrokerEpoch;
    await bench.live.append({ kind: "fence", epoch: dead.epoch as BrokerEpoch });
    await bench.live.append({
      kind: "recover",
      epoch: dead.epoch as BrokerEpoch,
      end: walPosition(5),
      assignment: { owner: own, exceptions: [] },
      holes: [],
      jumped: false,
      hash: new Uint8Array(0),
    });
    bench.put(slotKey(dead.epoch as BrokerEpoch, 5), encodeSeal({ ...bench.nameOf(dead), slot: 5 }));
    bench.fill(bench.live, 0, 3);
    return bench;
  }

  async broker(): Promise<Journal> {
    const journal = await Journal.open({ ...this.ports, walKind: "object" });
    await journal.register({ ...aBroker, window: 8, name: "b" } as Parameters<Journal["register"]>[0]);
    return journal;
  }

  nameOf(journal: Journal) {
    return { clusterId: journal.state.clusterId, epoch: journal.epoch as BrokerEpoch };
  }

  put(key: string, bytes: Uint8Array): void {
    this.store.objects.set(key, bytes);
  }

  fill(journal: Journal, from: number, end: number): void {
    for (let slot = from; slot < end; slot++) {
      const name = { ...this.nameOf(journal), slot };
      this.put(
        slotKey(name.epoch, slot),
        encodeEntries(name, new Uint8Array(nonceBytes), [anEntry({ base: slot })], []),
      );
    }
  }

  /** Ten offsets of partition 0, in an object of their own. */
  async flush(journal: Journal, from: number, release: number): Promise<void> {
    const counter = this.refs.length;
    const identity = { topicId, partition: partitionIndex(0) };
    const batches = [aBatch({ base: from, count: 10, size: 300 })];
    const built = await buildObject(
      { ...this.nameOf(journal), counter },
      [aDraft(batches, identity)],
      atOnce,
    );
    await this.store.putIfAbsent(built.key, built.chunks, built.length);
    const [segment] = built.refs as [SegmentRef];
    this.refs.push(segment);
    const epoch = leaderEpoch(journal.state.topics.get(topicId)?.partitions[0]?.leaderEpoch ?? 0);
    const row = {
      ...identity,
      leaderEpoch: epoch,
      from: offset(from),
      to: offset(from + 10),
      start: offset(-1),
    };
    const outcome = await journal.append(aFlush([{ ...row, segment }], release, counter + 1));
    assert.equal(outcome.kind, "applied");
  }

  /** All references of partition 0 but the newest go into a list. */
  async fold(): Promise<void> {
    const identity = { topicId, partition: partitionIndex(0) };
    const origin = { ...this.nameOf(this.live), counter: 50 };
    const list = encodeList(origin, identity, { previous: null, segments: this.refs.slice(0, -1) });
    await this.store.putIfAbsent(list.pointer.object, list.chunks, list.length);
    this.listed = list.pointer.object;
    const outcome = await this.live.append({
      kind: "fold",
      ...identity,
      leaderEpoch: leaderEpoch(1),
      previous: null,
      next: list.pointer,
    });
    assert.equal(outcome.kind, "applied");
  }

  async check(contents = true): Promise<{ found: string[]; orphans: string[]; summary: CheckSummary }> {
    const findings: CheckFinding[] = [];
    for await (const finding of checkStore(this.ports, { contents })) findings.push(finding);
    const summary = findings.at(-1);
    assert.ok(summary?.kind === "summary");
    const found = findings.filter((each) => each.kind === "damage");
    const orphans = findings.filter((each) => each.kind === "orphan");
    assert.equal(summary.damages, found.length);
    return {
      found: found.map(({ object, reason }) => `${object}: ${reason}`),
      orphans: orphans.map(({ object }) => object),
      summary,
    };
  }
}

const flip = (bytes: Uint8Array, at: number): Uint8Array =>
  bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));

test("a sound store has no finding but slots that are released and not deleted yet", async () => {
  const bench = await Bench.open();
  await bench.fold();
  const { found, orphans, summary } = await bench.check();
  assert.deepEqual(found, []);
  assert.deepEqual(orphans, ["wal/000000000001/000000000000", "wal/000000000001/000000000001"]);
  const { segments, walSlots, partitions, pending, unknown } = summary;
  assert.deepEqual(
    { segments, walSlots, partitions, pending, unknown },
    { segments: 2, walSlots: 7, partitions: 1, pending: 0, unknown: 0 },
  );
});

test("what is gone, cut, altered or exchanged is named, each with what it concerns", async () => {
  const bench = await Bench.open();
  const [first, second] = bench.refs as [SegmentRef, SegmentRef];
  const dead = 1 as BrokerEpoch;
  const { objects } = bench.store;
  const original = new Map(objects);
  const whole = objects.get(second.object) as Uint8Array;
  const cases: [string, () => void, RegExp][] = [
    ["a segment is gone", () => objects.delete(first.object), /is gone; it held offsets 0 to 10/],
    [
      "a segment is cut",
      () => bench.put(second.object, whole.subarray(0, whole.byteLength - 20)),
      /bytes, and offsets 10 to 19 of topic-1-0 end at byte/,
    ],
    [
      "a block is altered",
      () => bench.put(second.object, flip(whole, second.sectionStart + second.footerBytes + 100)),
      /offsets|Offsets/,
    ],
    [
      "a segment is another's",
      () => bench.put(second.object, objects.get(first.object) as Uint8Array),
      /Offsets 10 to 20 of partition 0 of topic topic-1 .* cannot be found there/,
    ],
    ["a needed slot is gone", () => objects.delete(slotKey(dead, 3)), /it is needed and not there/],
    [
      "a needed slot is altered",
      () => bench.put(slotKey(dead, 3), flip(objects.get(slotKey(dead, 3)) as Uint8Array, 200)),
      /it is damaged: lost are offsets 3 to 3 of partition/,
    ],
    ["the seal is gone", () => objects.delete(slotKey(dead, 5)), /the seal of broker epoch 1 is gone/],
    [
      "a slot of the journal is altered",
      () => bench.put(journalSlot(1), flip(objects.get(journalSlot(1)) as Uint8Array, 90)),
      /meta/,
    ],
  ];
  for (const [what, harm, expected] of cases) {
    objects.clear();
    for (const [key, bytes] of original) objects.set(key, bytes);
    harm();
    const { found } = await bench.check();
    assert.match(found.join("\n"), expected, what);
  }
});

test("a list that is damaged is named, and with it no object is called an orphan", async () => {
  const bench = await Bench.open();
  await bench.fold();
  bench.put("seg/000000000001/000000000077", new Uint8Array(300));
  assert.equal((await bench.check()).orphans.length, 3);
  bench.put(bench.listed, flip(bench.store.objects.get(bench.listed) as Uint8Array, 140));
  const { found, orphans } = await bench.check();
  assert.match(found.join("\n"), /The segment list .* is damaged/);
  assert.ok(orphans.every((key) => key.startsWith("wal/")));
});

test("only what can never be named again is an orphan", async () => {
  const bench = await Bench.open();
  const own = String(bench.live.epoch).padStart(12, "0");
  for (const key of [
    "seg/000000000001/000000000077",
    `seg/${own}/000000000001`,
    "seg/000000000099/000000000000",
    "seg/notes",
  ]) {
    bench.put(key, new Uint8Array(10));
  }
  const { orphans, summary } = await bench.check();
  assert.deepEqual(
    orphans.filter((key) => key.startsWith("seg/")),
    ["seg/000000000001/000000000077"],
  );
  assert.equal(summary.unknown, 1);
});

test("what brokers exchange and delete while it is read is no damage", async () => {
  const bench = await Bench.open();
  const { store } = bench;
  const get = store.get.bind(store);
  let isDone = false;
  store.get = async (key, range, into) => {
    // Just before the first segment is read, all records are dropped and the objects deleted.
    if (key === bench.refs[0]?.object && !isDone) {
      isDone = true;
      const counter = bench.refs.length;
      const identity = { topicId, partition: partitionIndex(0) };
      const built = await buildObject(
        { ...bench.nameOf(bench.live), counter },
        [aDraft([], { ...identity, base: offset(20), end: offset(20) })],
        atOnce,
      );
      await store.putIfAbsent(built.key, built.chunks, built.length);
      const footer = built.refs[0] as SegmentRef;
      const outcome = await bench.live.append({
        kind: "trim",
        ...identity,
        leaderEpoch: leaderEpoch(1),
        start: offset(20),
        footer,
      });
      assert.equal(outcome.kind, "applied");
      for (const { object } of bench.refs) store.objects.delete(object);
    }
    return get(key, range, into);
  };
  const { found } = await bench.check();
  assert.equal(isDone, true);
  assert.deepEqual(found, []);
});

test("without its contents a store is checked by what says where records are", async () => {
  const bench = await Bench.open();
  const whole = await bench.check();
  const quick = await bench.check(false);
  assert.deepEqual(quick.found, []);
  assert.ok(quick.summary.readBytes < whole.summary.readBytes / 2);
});

test("a store that nobody began is refused with a sentence", async () => {
  const { env } = aWorld();
  const walk = checkStore({ store: new MemoryStore(), env, sha256 }, { contents: true });
  await assert.rejects(walk.next(), /No cluster is here/);
});
