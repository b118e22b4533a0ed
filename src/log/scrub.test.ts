import assert from "node:assert/strict";
import { test } from "node:test";
import {
  aDraft,
  anEnv,
  aSource,
  atOnce,
  drawBatches,
  ManualClock,
  MemoryStore,
  origin,
} from "../../test/proof/segment-world.ts";
import { offset } from "../base/ids.ts";
import { SimRandom } from "../sim/random.ts";
import { Scrub } from "./scrub.ts";
import { SegmentIndex } from "./segment-index.ts";
import { encodeList } from "./segment-list.ts";
import type { SegmentRef } from "./segment-ref.ts";
import { buildObject } from "./segment-writer.ts";

async function aWorld(settings: { readonly intervalMs?: number; readonly bytesPerSecondMax?: number } = {}) {
  const store = new MemoryStore();
  const real = new ManualClock();
  const slept = { ms: 0 };
  const clock = {
    wallMs: () => real.nowMs,
    monotonicMs: () => real.nowMs,
    schedule(delayMs: number, run: () => void) {
      slept.ms += delayMs;
      real.nowMs += delayMs;
      return real.schedule(0, run);
    },
  };
  const reports: string[] = [];
  const base = anEnv(clock);
  const error = (event: string, facts?: { readonly [name: string]: unknown }) => {
    const cause = facts?.["cause"];
    reports.push(`${event}: ${cause instanceof Error ? cause.message : ""}`);
  };
  const refs: SegmentRef[] = [];
  let end = 0;
  for (let i = 0; i < 3; i++) {
    const batches = drawBatches(new SimRandom(i), end, 40, 9_000);
    const draft = aDraft(batches);
    end = draft.end;
    const built = await buildObject(origin(i), [draft], atOnce);
    await store.putIfAbsent(built.key, built.chunks, built.length);
    refs.push(built.refs[0] as SegmentRef);
  }
  const source = Object.assign(aSource(refs), { logStart: offset(0) });
  const index = new SegmentIndex(store, 1 << 20);
  const scrub = new Scrub({
    env: { ...base, log: { ...base.log, error } },
    store,
    index,
    sources: () => [source],
    settings: () => ({ intervalMs: 1000, bytesPerSecondMax: Infinity, ...settings }),
    onFailure: (cause) => assert.fail(cause),
  });
  const flip = (key: string, at: number) => {
    const bytes = store.objects.get(key) as Uint8Array;
    bytes[at] = (bytes[at] as number) ^ 1;
  };
  return { store, source, refs, scrub, reports, slept, index, flip };
}

test("names every damaged block and footer once, and reads what lies beside them", async () => {
  const { refs, scrub, reports, flip } = await aWorld();
  await scrub.round();
  assert.deepEqual(reports, []);
  const [first, second, third] = refs as [SegmentRef, SegmentRef, SegmentRef];
  flip(first.object, first.sectionStart + first.footerBytes + 100);
  flip(second.object, second.sectionStart + second.sectionBytes - 30);
  flip(third.object, third.sectionStart + third.sectionBytes - 30);
  flip(third.object, third.sectionStart + 10);
  await scrub.round();
  await scrub.round();
  assert.equal(reports.length, 3);
  assert.match(reports[0] ?? "", /^scrub.damaged: Offsets 0 to \d+ of partition 3 .* fail their checksum/);
  assert.match(reports[1] ?? "", new RegExp(`Offsets ${second.base} to ${second.end} .*footer fails`));
  assert.match(reports[2] ?? "", new RegExp(`Offsets ${third.base} to ${third.end} .*footer fails`));
});

test("an object that is gone is damage only if the journal still names it", async () => {
  const { store, source, refs, scrub, reports } = await aWorld();
  const [, second] = refs as [SegmentRef, SegmentRef, SegmentRef];
  const get = store.get.bind(store);
  store.get = (key, range, into) => {
    if (key === second.object) source.recent = [refs[0], refs[2]] as SegmentRef[];
    return get(key, range, into);
  };
  store.objects.delete(second.object);
  // It is named when the round begins.
  await scrub.round();
  assert.deepEqual(reports, []);
  source.segments = () => ({ folded: null, recent: refs });
  await scrub.round();
  assert.equal(reports.length, 1);
  assert.match(reports[0] ?? "", /is gone/);
});

test("a damaged list is named", async () => {
  const { store, source, refs, scrub, reports, flip } = await aWorld();
  const list = encodeList(origin(9), source, { previous: null, segments: refs.slice(0, 2) });
  await store.putIfAbsent(list.pointer.object, list.chunks, list.length);
  flip(list.pointer.object, 200);
  source.segments = () => ({ folded: list.pointer, recent: refs.slice(2) });
  await scrub.round();
  assert.equal(reports.length, 1);
  assert.match(reports[0] ?? "", /segment list .* is damaged/);
});

test("reads no faster than it may, holds what it reads, and does nothing when it is switched off", async () => {
  const paced = await aWorld({ bytesPerSecondMax: 100_000 });
  const held: boolean[] = [];
  const get = paced.store.get.bind(paced.store);
  paced.store.get = (key, range, into) => {
    held.push(paced.index.inUse.has(key));
    return get(key, range, into);
  };
  await paced.scrub.round();
  const bytes = paced.refs.reduce((sum, { sectionBytes }) => sum + sectionBytes, 0);
  // The last 64 KiB are not waited for.
  const isPaced = paced.slept.ms <= bytes / 100 && paced.slept.ms >= (bytes - 65_536) / 100;
  assert.ok(isPaced, `${paced.slept.ms} ms for ${bytes} bytes`);
  assert.ok(held.every((each) => each) && paced.index.inUse.size === 0);
  const off = await aWorld({ intervalMs: -1 });
  await off.scrub.round();
  assert.equal(off.store.gets.length, 0);
});
