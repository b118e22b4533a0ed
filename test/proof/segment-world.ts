/** What tests of segments are made with: a store in memory, batches with a valid checksum, drafts drawn from a seed. */
import {
  brokerEpoch,
  leaderEpoch,
  offset,
  type Offset,
  partitionIndex,
  producerEpoch,
  producerId,
  topicId,
} from "../../src/base/ids.ts";
import type { Clock, Env, Meter, ObjectStore, Timer } from "../../src/base/ports.ts";
import { concatBytes } from "../../src/base/bytes.ts";
import type { SegmentBatch } from "../../src/log/flush-source.ts";
import type { FooterState, ObjectOrigin, SectionIdentity } from "../../src/log/segment-format.ts";
import type { SegmentRef } from "../../src/log/segment-ref.ts";
import type { SectionDraft } from "../../src/log/segment-writer.ts";
import { BatchView } from "../../src/record/batch.ts";
import { SimRandom } from "../../src/sim/random.ts";

export class MemoryStore implements ObjectStore {
  readonly objects = new Map<string, Uint8Array>();
  /** Every range that was asked for. */
  readonly gets: { readonly key: string; readonly start: number; readonly length: number }[] = [];
  /** Called before a put takes effect; may throw. */
  beforePut: (key: string) => void | Promise<void> = () => undefined;
  beforeDelete: (key: string) => void = () => undefined;

  /** Bytes that were read into memory that the reader had given. */
  givenBytes = 0;

  async get(
    key: string,
    range?: { readonly start: number; readonly length: number },
    into?: Uint8Array,
  ): Promise<Uint8Array | null> {
    // Who still reads what he gave back shall read garbage.
    into?.fill(0xdd);
    const found = this.objects.get(key);
    this.gets.push({ key, start: range?.start ?? 0, length: range?.length ?? -1 });
    if (found === undefined) return null;
    if (range === undefined) return found;
    const part = found.slice(range.start, range.start + range.length);
    if (into === undefined) return part;
    into.set(part);
    this.givenBytes += part.byteLength;
    return into.subarray(0, part.byteLength);
  }
  async putIfAbsent(key: string, chunks: readonly Uint8Array[], length: number) {
    await this.beforePut(key);
    if (this.objects.has(key)) return "exists" as const;
    const bytes = concatBytes(chunks);
    if (bytes.byteLength !== length)
      throw new Error(`${length} bytes were claimed, ${bytes.byteLength} came`);
    this.objects.set(key, bytes);
    return "created" as const;
  }
  list(prefix: string) {
    const found = [...this.objects].filter(([key]) => key.startsWith(prefix));
    return Promise.resolve(found.map(([key, bytes]) => ({ key, bytes: bytes.byteLength })).sort(byKey));
  }
  delete(key: string): Promise<void> {
    this.beforeDelete(key);
    this.objects.delete(key);
    return Promise.resolve();
  }
}
const byKey = (a: { key: string }, b: { key: string }) => (a.key < b.key ? -1 : 1);

export const atOnce = (): Promise<void> => Promise.resolve();

export const orders: SectionIdentity = {
  topicId: topicId("AAAAAAAAAAAAAAAAAAAAAQ"),
  partition: partitionIndex(3),
};
export const emptyState: FooterState = { recordedMs: 0, producers: [], aborted: [], leaderEpochs: [] };

export const origin = (counter: number, epoch = 7): ObjectOrigin => ({
  clusterId: "5L6g3nShT-eMCtK--X86sw",
  epoch: brokerEpoch(epoch),
  counter,
});

/** A batch of `count` offsets with `size` bytes of content and a right checksum. */
export function aBatch(facts: {
  readonly base: number;
  readonly count?: number;
  readonly size?: number;
  readonly maxTimestamp?: number;
  readonly random?: SimRandom;
}): SegmentBatch {
  const { base, count = 1, size = 20, maxTimestamp = 1000, random = new SimRandom(base) } = facts;
  const payload = new Uint8Array(61 + size);
  const view = new DataView(payload.buffer);
  view.setInt32(8, payload.byteLength - 12);
  view.setInt8(16, 2);
  view.setInt32(23, count - 1);
  view.setBigInt64(27, BigInt(maxTimestamp));
  view.setBigInt64(35, BigInt(maxTimestamp));
  view.setBigInt64(43, -1n);
  view.setInt16(51, -1);
  view.setInt32(53, -1);
  view.setInt32(57, count);
  payload.set(random.bytes(size), 61);
  const batch = BatchView.at(payload);
  batch.stampOffsets(offset(base), leaderEpoch(0));
  batch.stampCrc();
  return { payload, baseOffset: offset(base), count };
}

export function aDraft(batches: readonly SegmentBatch[], facts: Partial<SectionDraft> = {}): SectionDraft {
  const first = batches[0];
  const last = batches.at(-1);
  return {
    ...orders,
    base: first?.baseOffset ?? offset(0),
    end: last === undefined ? offset(0) : offset(last.baseOffset + last.count),
    batches,
    appendedFirstMs: 5,
    appendedLastMs: 9,
    state: emptyState,
    ...facts,
  };
}

/** Dense batches of drawn counts, sizes and times, from `base` on. */
export function drawBatches(random: SimRandom, base: number, count: number, sizeMax: number): SegmentBatch[] {
  const batches: SegmentBatch[] = [];
  let at = base;
  for (let i = 0; i < count; i++) {
    const records = random.between(1, 5);
    const size = random.chance(0.05) ? random.between(0, sizeMax * 8) : random.between(0, sizeMax);
    const maxTimestamp = random.chance(0.1) ? -1 : random.between(0, 100);
    batches.push(aBatch({ base: at, count: records, size, maxTimestamp, random }));
    at += records;
  }
  return batches;
}

export function drawState(random: SimRandom, end: number): FooterState {
  const at = (): Offset => offset(random.below(end + 1));
  return {
    recordedMs: random.below(1000),
    producers: Array.from({ length: random.below(4) }, (_, i) => ({
      producerId: producerId(i + 1000),
      producerEpoch: producerEpoch(random.below(5)),
      coordinatorEpoch: random.below(3) - 1,
      lastTimestampMs: random.below(1000),
      sequenceCount: random.below(1000),
      openFrom: offset(random.chance(0.5) ? -1 : random.below(end + 1)),
      batches: Array.from({ length: random.below(6) }, () => ({
        firstSequence: random.below(100),
        lastSequence: random.below(100),
        baseOffset: at(),
        lastOffset: at(),
        timestampMs: random.below(1000),
      })),
    })),
    aborted: Array.from({ length: random.below(3) }, () => ({
      producerId: producerId(1),
      firstOffset: at(),
      lastOffset: at(),
      lastStableOffset: at(),
    })),
    leaderEpochs: [{ leaderEpoch: leaderEpoch(0), start: offset(0) }],
  };
}

/** A source whose references may be changed under the reader. */
export function aSource(recent: readonly SegmentRef[], identity: SectionIdentity = orders) {
  const source = {
    ...identity,
    recent,
    folded: null as import("../../src/log/segment-ref.ts").ListPointer | null,
    lookups: 0,
    segments() {
      source.lookups++;
      return { folded: source.folded, recent: source.recent };
    },
  };
  return source;
}

/** Time that passes when a test says so; delays of 0 pass by themselves. */
export class ManualClock implements Clock {
  nowMs = 1_000_000;
  readonly #timers = new Set<{ at: number; run: () => void }>();

  wallMs(): number {
    return this.nowMs;
  }
  monotonicMs(): number {
    return this.nowMs;
  }
  schedule(delayMs: number, run: () => void): Timer {
    if (delayMs === 0) {
      const immediate = setImmediate(run);
      return { cancel: () => clearImmediate(immediate) };
    }
    const timer = { at: this.nowMs + delayMs, run };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }
  /** Runs what falls due, and lets what it begins come to rest. */
  async advance(ms: number): Promise<void> {
    this.nowMs += ms;
    for (const timer of this.#timers) {
      if (timer.at > this.nowMs || !this.#timers.delete(timer)) continue;
      timer.run();
    }
    await settle();
  }
}

/** Long enough for everything that waits for nothing but other promises. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

const silentMeter: Meter = {
  counter: () => ({ add: () => undefined }),
  gauge: () => undefined,
  histogram: () => ({ observe: () => undefined }),
};

export function anEnv(clock: Clock): Env & { readonly lines: string[] } {
  const lines: string[] = [];
  const say = (event: string) => {
    lines.push(event);
  };
  return {
    clock,
    random: new SimRandom(1),
    meter: silentMeter,
    log: { debug: say, info: say, warn: say, error: say },
    lines,
  };
}

/** A reference to a segment that nobody reads. */
export const aRef = (base: number, end: number, facts: Partial<SegmentRef> = {}): SegmentRef => ({
  object: `seg/000000000007/${String(base).padStart(12, "0")}`,
  sectionStart: 128,
  sectionBytes: 100,
  footerBytes: 50,
  footerChecksum: 1,
  base: offset(base),
  end: offset(end),
  recordCount: end - base,
  maxTimestamp: 10,
  maxTimestampOffset: offset(base),
  appendedFirstMs: 1,
  appendedLastMs: 2,
  format: 1,
  ...facts,
});
