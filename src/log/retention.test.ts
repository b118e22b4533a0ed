import assert from "node:assert/strict";
import { test } from "node:test";
import { brokerEpoch, leaderEpoch, offset } from "../base/ids.ts";
import { SimRandom } from "../sim/random.ts";
import {
  aBatch,
  aDraft,
  anEnv,
  aRef,
  aSource,
  atOnce,
  drawState,
  ManualClock,
  MemoryStore,
  orders,
  origin,
} from "../../test/proof/segment-world.ts";
import { ObjectNames } from "./object-names.ts";
import { planRetention, Retention, type TrimRequest } from "./retention.ts";
import { SegmentIndex } from "./segment-index.ts";
import type { SegmentRef } from "./segment-ref.ts";
import { buildObject } from "./segment-writer.ts";

const unlimited = { retentionMs: -1, retentionBytes: -1 };
const now = {
  wallMs: 1000,
  start: offset(0),
  lastStable: offset(Number.MAX_SAFE_INTEGER),
  unflushedBytes: 0,
};
const dated = (base: number, maxTimestamp: number, appendedLastMs: number) =>
  aRef(base, base + 10, { maxTimestamp, appendedLastMs });

test("age counts from the later of record time and append time", () => {
  const limits = { ...unlimited, retentionMs: 100 };
  assert.equal(planRetention([dated(0, 5, 900), dated(10, 5, 5)], limits, now), null);
  assert.equal(planRetention([dated(0, 950, 5)], limits, now), null);
  assert.equal(planRetention([dated(0, 5, 899), dated(10, 5, 900)], limits, now)?.start, 10);
});

test("a limit of -1 takes nothing, and one of 0 everything", () => {
  assert.equal(planRetention([dated(0, 1, 1)], unlimited, now), null);
  assert.equal(planRetention([dated(0, 1, 1)], { ...unlimited, retentionMs: 0 }, now)?.start, 10);
  assert.equal(planRetention([dated(0, 1, 1)], { ...unlimited, retentionBytes: 0 }, now)?.start, 10);
});

test("only a prefix goes: a fresh segment protects the ones behind it", () => {
  const limits = { ...unlimited, retentionMs: 100 };
  const plan = planRetention([dated(0, 1, 1), dated(10, 950, 1), dated(20, 1, 1)], limits, now);
  assert.equal(plan?.start, 10);
});

test("by size a segment goes only when what stays still fills the limit, and unflushed bytes count", () => {
  const refs = [aRef(0, 10), aRef(10, 20), aRef(20, 30)];
  const at = (retentionBytes: number, unflushedBytes = 0) =>
    planRetention(refs, { ...unlimited, retentionBytes }, { ...now, unflushedBytes })?.start;
  assert.equal(at(300), undefined);
  assert.equal(at(201), undefined);
  assert.equal(at(200), 10);
  assert.equal(at(100), 20);
  assert.equal(at(201, 1), 10);
});

test("what lies below the log start is not counted again", () => {
  const refs = [aRef(0, 10), aRef(10, 20)];
  const limits = { ...unlimited, retentionBytes: 100 };
  assert.equal(planRetention(refs, limits, { ...now, start: offset(10) }), null);
});

test("a plan never takes a segment that no limit allows, and is the same however it is reached", () => {
  for (let seed = 0; seed < 300; seed++) {
    const random = new SimRandom(seed);
    const refs: SegmentRef[] = [];
    let end = 0;
    for (let i = random.below(12); i > 0; i--) {
      const maxTimestamp = random.between(-1, 1200);
      const facts = {
        maxTimestamp,
        appendedLastMs: random.below(1000),
        sectionBytes: random.between(50, 500),
      };
      refs.push(aRef(end, end + random.below(5), facts));
      end = (refs.at(-1) as SegmentRef).end;
    }
    const limits = {
      retentionMs: random.pick([-1, 0, 300, 800]),
      retentionBytes: random.pick([-1, 0, 600, 2000]),
    };
    const at = { ...now, start: offset(random.between(0, end)), unflushedBytes: random.pick([0, 300]) };
    const live = refs.filter((ref) => ref.end > at.start && ref.base < ref.end);
    const plan = planRetention(refs, limits, at);
    const start = plan?.start ?? at.start;
    const kept = live.filter((ref) => ref.end > start);
    const keptBytes = kept.reduce((sum, ref) => sum + ref.sectionBytes, at.unflushedBytes);
    for (const [i, ref] of (plan?.dropped ?? []).entries()) {
      const behind = live
        .slice(i + 1)
        .reduce((sum, { sectionBytes }) => sum + sectionBytes, at.unflushedBytes);
      const old =
        limits.retentionMs >= 0 && 1000 - Math.max(ref.maxTimestamp, ref.appendedLastMs) > limits.retentionMs;
      const much = limits.retentionBytes >= 0 && behind >= limits.retentionBytes;
      assert.ok(old || much, `seed ${seed}`);
    }
    const [oldest] = kept;
    if (oldest !== undefined) {
      if (limits.retentionBytes >= 0) assert.ok(keptBytes - oldest.sectionBytes < limits.retentionBytes);
      assert.ok(plan === null || start <= oldest.base);
    }
    assert.equal(planRetention(refs, limits, { ...at, start }), null, "a second look takes nothing more");
  }
});

test("nothing goes of a transaction that is open", () => {
  const refs = [dated(0, 1, 1), dated(10, 1, 1), dated(20, 1, 1)];
  const limits = { retentionMs: 0, retentionBytes: 0 };
  const start = (lastStable: number) =>
    planRetention(refs, limits, { ...now, lastStable: offset(lastStable) })?.start;
  assert.deepEqual([9, 10, 29, 30].map(start), [undefined, 10, 20, 30]);
});

async function aWorld(segmentCount: number) {
  const store = new MemoryStore();
  const clock = new ManualClock();
  const env = anEnv(clock);
  const refs: SegmentRef[] = [];
  const state = drawState(new SimRandom(3), 10);
  for (let i = 0; i < segmentCount; i++) {
    const draft = aDraft([aBatch({ base: i * 2, count: 2 })], { state });
    const built = await buildObject(origin(i, 1), [draft], atOnce);
    await store.putIfAbsent(built.key, built.chunks, built.length);
    refs.push(built.refs[0] as SegmentRef);
  }
  const trims: TrimRequest[] = [];
  const published: number[] = [];
  const source = Object.assign(aSource(refs), {
    leaderEpoch: leaderEpoch(2),
    logStart: offset(0),
    lastStable: offset(segmentCount * 2),
    flushedEnd: offset(segmentCount * 2),
    unflushedBytes: 0,
    config: { deletes: true, retentionMs: 100, retentionBytes: -1 },
    startPublished(start: number) {
      source.logStart = offset(start);
      published.push(start);
    },
  });
  const names = new ObjectNames("cluster", brokerEpoch(9));
  const retention = new Retention({
    env,
    store,
    names,
    index: new SegmentIndex(store, 1 << 20),
    sources: () => [source],
    publishTrim(trim) {
      assert.ok(trim.footer === null || store.objects.has(trim.footer.object));
      trims.push(trim);
      return Promise.resolve("published");
    },
    intervalMs: 1000,
    onFailure: () => assert.fail(),
  });
  return { store, clock, env, refs, state, trims, published, source, names, retention };
}

test("when all records go, a footer with the same state takes the newest segment's place", async () => {
  const { retention, trims, published, store, state, names } = await aWorld(3);
  await retention.round();
  const [trim] = trims;
  assert.ok(trim !== undefined && trim.footer !== null && trims.length === 1);
  assert.deepEqual([trim.start, trim.footer.base, trim.footer.end], [6, 6, 6]);
  assert.deepEqual(published, [6]);
  const kept = await new SegmentIndex(store, 1 << 20).footer(orders, trim.footer);
  assert.deepEqual(kept.state, state);
  assert.equal(names.below(), 1, "its number is settled");
});

test("rounds come by themselves, and topics that only compact are left alone", async () => {
  const { retention, source, trims, clock } = await aWorld(1);
  source.config = { ...source.config, deletes: false };
  retention.start();
  await clock.advance(1000);
  assert.equal(trims.length, 0);
  source.config = { ...source.config, deletes: true };
  await clock.advance(1000);
  assert.equal(trims.length, 1);
  await retention.close();
});

test("a partition whose newest footer is damaged keeps everything", async () => {
  const { retention, refs, trims, store, env } = await aWorld(2);
  const newest = refs[1] as SegmentRef;
  await store.delete(newest.object);
  await retention.round();
  assert.equal(trims.length, 0);
  assert.deepEqual(env.lines, ["retention.damaged"]);
});
