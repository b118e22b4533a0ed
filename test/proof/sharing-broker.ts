/** A broker of the shared-garbage proof: what it believes of the journal, what it writes, and how it sweeps. */
import {
  type BrokerEpoch,
  leaderEpoch,
  type LeaderEpoch,
  offset,
  partitionIndex,
  type TopicId,
  type WalPosition,
  walPosition,
} from "../../src/base/ids.ts";
import { ReleasedSlots } from "../../src/broker/released-slots.ts";
import { Garbage, type GarbageView } from "../../src/log/garbage.ts";
import { ObjectNames } from "../../src/log/object-names.ts";
import { slotKey } from "../../src/log/object-wal-format.ts";
import { objectKey, type ObjectOrigin } from "../../src/log/segment-format.ts";
import { SegmentIndex } from "../../src/log/segment-index.ts";
import { encodeList } from "../../src/log/segment-list.ts";
import type { SegmentRef } from "../../src/log/segment-ref.ts";
import { applySlot, type SlotContent } from "../../src/metadata/apply.ts";
import type { Command } from "../../src/metadata/commands.ts";
import { ClusterImage } from "../../src/metadata/image.ts";
import type { CommandOutcome } from "../../src/metadata/outcomes.ts";
import type { BrokerState, ClusterState, PartitionState } from "../../src/metadata/state.ts";
import { garbageView } from "../../src/metadata/unneeded.ts";
import type { SimRandom } from "../../src/sim/random.ts";
import { anEnv, aRef, type ManualClock, MemoryStore } from "./segment-world.ts";

export const variants = [
  "every number settled",
  "references of an old view, numbers of the newest",
  "dependencies not asked",
  "the seal deleted",
] as const;
export type Variant = (typeof variants)[number];

/** What brokers share. */
export interface GarbageWorld {
  readonly random: SimRandom;
  readonly variant: Variant | null;
  readonly store: MemoryStore;
  readonly clock: ManualClock;
  /** The journal, and what it makes. */
  readonly slots: readonly SlotContent[];
  readonly truth: ClusterState;
  readonly counts: { moves: number };
  pick(): SharingBroker;
  append(author: BrokerEpoch, list: number, commands: readonly Command[]): readonly CommandOutcome[];
}

export const clusterId = "c";
export const graceMs = 60_000;

export const turns = async (count: number): Promise<void> => {
  for (let n = count; n > 0; n--) await new Promise((resolve) => setImmediate(resolve));
};

interface Owned {
  readonly id: TopicId;
  readonly state: PartitionState;
}

export class SharingBroker {
  readonly epoch: BrokerEpoch;
  /** It acts no more; until then it may be fenced and not know it. */
  isDead = false;
  /** The next slot of its WAL; below it all is in the store. */
  next = 0;
  readonly #world: GarbageWorld;
  readonly #view = new ClusterImage();
  readonly #names: ObjectNames;
  readonly #garbage: Garbage;
  readonly #slots: ReleasedSlots;
  #lists = 0;
  #isSealed = false;
  /** Flush, fold and replace of a broker come one after the other. */
  #busy: Promise<unknown> = Promise.resolve();

  constructor(world: GarbageWorld, epoch: BrokerEpoch) {
    const { store, clock, variant, random } = world;
    this.epoch = epoch;
    this.#world = world;
    this.#names = new ObjectNames(clusterId, epoch);
    this.lookAt(Infinity);
    const slow = new MemoryStore();
    const later = async <T>(work: () => Promise<T>): Promise<T> => {
      await turns(random.below(3));
      return work();
    };
    slow.get = (key) => later(() => store.get(key));
    slow.list = (prefix) => later(() => store.list(prefix));
    slow.delete = (key) => later(() => store.delete(key));
    const env = anEnv(clock);
    this.#garbage = new Garbage({
      env,
      store: slow,
      index: new SegmentIndex(slow, 1 << 20),
      view: () => this.#garbageView(),
      graceMs,
      intervalMs: 1e9,
      isUrgent: () => false,
      refresh: async () => this.lookAt(Infinity),
      onFailure: (cause) => {
        throw cause;
      },
    });
    const state = (): ClusterState => {
      if (variant === "dependencies not asked") return { ...stateOf(this.#view), topics: new Map() };
      if (variant !== "the seal deleted") return this.#view;
      const brokers = Array.from(this.#view.brokers, ([of, broker]): [BrokerEpoch, BrokerState] => {
        const end = broker.end === null ? null : walPosition(broker.end + 1);
        return [of, { ...broker, end }];
      });
      return { ...stateOf(this.#view), brokers: new Map(brokers) };
    };
    const journal = {
      epoch,
      get state() {
        return state();
      },
    };
    this.#slots = new ReleasedSlots({ store: slow, clock, log: env.log, journal });
  }

  /** So many further slots of the journal. */
  lookAt(count: number): void {
    const { slots } = this.#world;
    const end = Math.min(slots.length, this.#view.nextSlot + count);
    while (this.#view.nextSlot < end) {
      applySlot(this.#view, slots[this.#view.nextSlot] as SlotContent, new Uint8Array(32));
    }
  }

  /** As the real one: who places a command has read every slot before it. */
  give(command: Command): boolean {
    const [outcome] = this.#world.append(this.epoch, ++this.#lists, [command]);
    this.lookAt(Infinity);
    return outcome?.kind === "applied";
  }

  write(count: number): void {
    for (let n = count; n > 0 && !this.#isSealed; n--)
      this.#put(slotKey(this.epoch, this.next++), [new Uint8Array(1)]);
  }

  /** Where its log ends; slots that it sends from now on land behind it. */
  sealAt(): number {
    if (!this.#isSealed) {
      this.#isSealed = true;
      this.#put(slotKey(this.epoch, this.next), [new Uint8Array(0)]);
      if (this.#world.random.chance(0.5)) this.#put(slotKey(this.epoch, this.next + 2), [new Uint8Array(1)]);
    }
    return this.next;
  }

  /** Of the live ones every one may, with whatever it believes. */
  async sweep(): Promise<void> {
    await this.#garbage.round();
    await this.#slots.sweep();
  }

  flush(): Promise<void> {
    return this.#alone(async () => {
      const release = this.#isSealed ? (0 as WalPosition) : walPosition(this.next);
      const rows = [];
      const origins: ObjectOrigin[] = [];
      for (const { id, state } of this.#owned()) {
        const to = offset(state.flushed + this.#world.random.between(1, 5));
        const segment = await this.#object(state.flushed, to, origins);
        const { leaderEpoch: epoch, index, flushed } = state;
        rows.push({
          topicId: id,
          partition: index,
          leaderEpoch: epoch,
          from: flushed,
          to,
          start: offset(-1),
          segment,
        });
      }
      await turns(this.#world.random.below(6));
      this.give({ kind: "flush", rows, release, below: this.#names.below(origins) });
      for (const origin of origins) this.#names.settle(origin);
      // One that was put for nothing, and that nobody takes away.
      if (this.#world.random.chance(0.3))
        await this.#object(offset(0), offset(1), origins).then(() =>
          this.#names.settle(origins.at(-1) as ObjectOrigin),
        );
    });
  }

  fold(): Promise<void> {
    return this.#alone(async () => {
      const found = this.#owned().find(({ state }) => state.recent.length > 2);
      if (found === undefined) return;
      const { id, state } = found;
      const origin = this.#names.take();
      const segments = state.recent.slice(0, this.#world.random.between(1, state.recent.length - 1));
      const list = encodeList(
        origin,
        { topicId: id, partition: state.index },
        { previous: state.folded, segments },
      );
      this.#put(list.pointer.object, list.chunks);
      await turns(this.#world.random.below(6));
      this.give({ kind: "fold", ...this.#place(id, state), previous: state.folded, next: list.pointer });
      this.#names.settle(origin);
    });
  }

  replace(): Promise<void> {
    return this.#alone(async () => {
      const found = this.#owned().find(({ state }) => state.recent.length > 1);
      const [first, second] = found?.state.recent ?? [];
      if (found === undefined || first === undefined || second === undefined) return;
      const { id, state } = found;
      const origins: ObjectOrigin[] = [];
      const segment = await this.#object(first.base, second.end, origins);
      await turns(this.#world.random.below(6));
      const { folded } = state;
      const row = {
        ...this.#place(id, state),
        previous: folded,
        next: folded,
        old: [first, second].map(({ object, sectionStart }) => ({ object, sectionStart })),
        segments: [segment],
        compacted: null,
      };
      this.give({ kind: "replace", rows: [row], below: this.#names.below(origins) });
      for (const origin of origins) this.#names.settle(origin);
    });
  }

  async trim(): Promise<void> {
    const owned = this.#owned();
    if (owned.length === 0) return;
    const { id, state } = this.#world.random.pick(owned);
    if (state.start >= state.flushed) return;
    const start = offset(this.#world.random.between(state.start + 1, state.flushed));
    this.give({ kind: "trim", ...this.#place(id, state), start, footer: null });
  }

  async move(): Promise<void> {
    const owned = this.#owned();
    const to = this.#world.pick().epoch;
    if (owned.length === 0 || this.#isSealed) return;
    const { id, state } = this.#world.random.pick(owned);
    const isGiven = this.give({ kind: "move", ...this.#place(id, state), to, end: walPosition(this.next) });
    if (isGiven) this.#world.counts.moves++;
  }

  async drop(): Promise<void> {
    const [topic] = this.#view.topics.values();
    if (topic !== undefined && this.#view.topics.size > 1) this.give({ kind: "drop", id: topic.id });
  }

  /** By its own view, which may be wrong. */
  #owned(): readonly Owned[] {
    const owned: Owned[] = [];
    for (const { id, partitions } of this.#view.topics.values()) {
      for (const state of partitions) if (state.owner === this.epoch) owned.push({ id, state });
    }
    return owned;
  }

  #place(
    topicId: TopicId,
    state: PartitionState,
  ): { topicId: TopicId; partition: PartitionState["index"]; leaderEpoch: LeaderEpoch } {
    return { topicId, partition: partitionIndex(state.index), leaderEpoch: leaderEpoch(state.leaderEpoch) };
  }

  async #object(base: number, end: number, origins: ObjectOrigin[]): Promise<SegmentRef> {
    const origin = this.#names.take();
    origins.push(origin);
    const key = objectKey(origin.epoch, origin.counter);
    await turns(this.#world.random.below(3));
    this.#put(key, [new Uint8Array(1)]);
    return aRef(base, end, { object: key });
  }

  #put(key: string, chunks: readonly Uint8Array[]): void {
    const { objects } = this.#world.store;
    if (!objects.has(key)) objects.set(key, Buffer.concat(chunks));
  }

  #garbageView(): GarbageView {
    const { variant, truth } = this.#world;
    const view = garbageView(this.#view);
    if (variant === "every number settled") return { ...view, isSettled: () => true };
    if (variant === "references of an old view, numbers of the newest") {
      const newest = garbageView(truth);
      return {
        partitions: view.partitions,
        isSettled: (author, counter) => newest.isSettled(author, counter),
      };
    }
    return view;
  }

  #alone(work: () => Promise<void>): Promise<void> {
    const done = this.#busy.then(work);
    this.#busy = done.catch(() => undefined);
    return done;
  }
}

const stateOf = (image: ClusterImage): ClusterState => Object.assign({}, image);
