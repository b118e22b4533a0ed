/**
 * Garbage collection of a store that several brokers share, in a drawn world: they flush, fold, replace, trim, move
 * partitions, create and drop topics, die, are replaced while they still act, and put objects that nobody ever names;
 * and meanwhile all of them sweep, each by a view of the journal of its own that lags as it likes. After each step
 * everything that the newest state needs is in the store: objects that references and lists name, slots that a
 * partition depends on, seals. At the end, when all views are fresh, nothing is left over. Commands are judged by the
 * real `apply.ts`. `variant` breaks one rule, so that it can be seen that the check sees it.
 */
import { type BrokerEpoch, walPosition } from "../../src/base/ids.ts";
import { referencedObjects } from "../../src/log/garbage.ts";
import { parseSlotKey, slotKey } from "../../src/log/object-wal-format.ts";
import { parseObjectKey } from "../../src/log/segment-format.ts";
import { SegmentIndex } from "../../src/log/segment-index.ts";
import { applySlot, type SlotContent } from "../../src/metadata/apply.ts";
import type { Command } from "../../src/metadata/commands.ts";
import { ClusterImage } from "../../src/metadata/image.ts";
import type { CommandOutcome } from "../../src/metadata/outcomes.ts";
import { type ClusterState, NO_BROKER } from "../../src/metadata/state.ts";
import { garbageView, isUnneeded, unneededSlots } from "../../src/metadata/unneeded.ts";
import type { SimRandom } from "../../src/sim/random.ts";
import { liveWorlds, type Worlds } from "./live-worlds.ts";
import { aBroker, aTopicId } from "./journal-world.ts";
import { ManualClock, MemoryStore } from "./segment-world.ts";
import {
  clusterId,
  type GarbageWorld,
  graceMs,
  SharingBroker,
  turns,
  type Variant,
} from "./sharing-broker.ts";

export interface SharedGarbageCounts {
  worlds: number;
  commands: number;
  voids: number;
  deaths: number;
  moves: number;
  deletedObjects: number;
  deletedSlots: number;
  checks: number;
}

/** Throws at the first loss, with the seed. */
export function run(options: Worlds & { readonly variant?: Variant }): Promise<SharedGarbageCounts> {
  const counts: SharedGarbageCounts = {
    worlds: 0,
    commands: 0,
    voids: 0,
    deaths: 0,
    moves: 0,
    deletedObjects: 0,
    deletedSlots: 0,
    checks: 0,
  };
  const variant = options.variant ?? null;
  return liveWorlds(options, counts, (random) => new World(random, counts, variant).live());
}

class World implements GarbageWorld {
  readonly random: SimRandom;
  readonly counts: SharedGarbageCounts;
  readonly variant: Variant | null;
  readonly store = new MemoryStore();
  readonly clock = new ManualClock();
  /** The journal, and what it makes. */
  readonly slots: SlotContent[] = [];
  readonly truth = new ClusterImage();
  readonly brokers: SharingBroker[] = [];
  #topics = 0;

  constructor(random: SimRandom, counts: SharedGarbageCounts, variant: Variant | null) {
    this.random = random;
    this.counts = counts;
    this.variant = variant;
    this.store.beforeDelete = (key) => {
      if (!this.store.objects.has(key)) return;
      if (parseSlotKey(key) === null) counts.deletedObjects++;
      else counts.deletedSlots++;
    };
  }

  async live(): Promise<void> {
    const { random } = this;
    this.append(NO_BROKER, 0, [{ kind: "init", clusterId, level: 2, walKind: 1, chapterSlots: 1_024 }]);
    for (let n = 0; n < 3; n++) this.join();
    this.topic(this.pick());
    for (let step = random.between(30, 120); step > 0; step--) {
      const doing = Array.from({ length: random.between(1, 3) }, () => this.step());
      await Promise.all(doing);
      await this.check();
    }
    await this.#settle();
  }

  join(): void {
    const nonce = String(this.brokers.length);
    const register = { ...aBroker, name: nonce, nonce, levelMax: 2, window: 8 };
    this.append(NO_BROKER, 0, [{ kind: "register", ...register }]);
    const epoch = (this.truth.nextSlot - 1) as BrokerEpoch;
    this.brokers.push(new SharingBroker(this, epoch));
  }

  /** One that acts; it may be fenced and not know it. */
  pick(): SharingBroker {
    return this.random.pick(this.brokers.filter(({ isDead }) => !isDead));
  }

  topic(broker: SharingBroker): void {
    const live = this.brokers.filter(({ epoch }) => this.truth.brokers.get(epoch)?.status === "live");
    broker.give({
      kind: "topic",
      id: aTopicId(++this.#topics),
      name: `t${this.#topics}`,
      partitionCount: 2,
      configs: [],
      assignment: { owner: this.random.pick(live).epoch, exceptions: [] },
    });
  }

  append(author: BrokerEpoch, list: number, commands: readonly Command[]): readonly CommandOutcome[] {
    const content = { author, list, commands };
    this.slots.push(content);
    const outcomes = applySlot(this.truth, content, new Uint8Array(32));
    this.counts.commands += commands.length;
    for (const { kind } of outcomes) if (kind === "void") this.counts.voids++;
    return outcomes;
  }

  async step(): Promise<void> {
    const { random, clock } = this;
    const broker = this.pick();
    switch (random.below(12)) {
      case 0:
      case 1:
        return broker.flush();
      case 2:
        return broker.fold();
      case 3:
        return broker.replace();
      case 4:
        return broker.trim();
      case 5:
        return broker.move();
      case 6:
        return this.#die(broker);
      case 7:
        return random.chance(0.5) ? this.topic(broker) : broker.drop();
      case 8:
        broker.lookAt(random.below(8));
        return;
      case 9:
        return clock.advance(random.pick([1_000, graceMs, 3_700_000]));
      default:
        broker.write(random.below(4));
        await broker.sweep();
    }
  }

  /** Somebody ends it in the journal. It may go on for a while and be none the wiser. */
  async #die(victim: SharingBroker): Promise<void> {
    const rival = this.pick();
    const isLive = this.truth.brokers.get(victim.epoch)?.status === "live";
    if (rival === victim || !isLive || this.truth.brokers.get(rival.epoch)?.status !== "live") return;
    rival.lookAt(Infinity);
    rival.give({ kind: "fence", epoch: victim.epoch });
    await turns(this.random.below(4));
    rival.lookAt(Infinity);
    // The seal stands where its writer got to, which gets no further.
    const end = victim.sealAt();
    const to = this.brokers.filter(({ epoch }) => this.truth.brokers.get(epoch)?.status === "live");
    if (to.length === 0) return;
    rival.give({
      kind: "recover",
      epoch: victim.epoch,
      end: walPosition(end),
      assignment: { owner: this.random.pick(to).epoch, exceptions: [] },
      holes: [],
      jumped: false,
      hash: new Uint8Array(0),
    });
    this.counts.deaths++;
    victim.isDead = this.random.chance(0.5);
    this.join();
  }

  /** What the newest state needs. */
  async check(): Promise<void> {
    this.counts.checks++;
    const { objects } = this.store;
    for (const key of await referencedObjects(
      partitionsOf(this.truth),
      new SegmentIndex(this.store, 1 << 20),
    )) {
      if (!objects.has(key)) throw new Error(`${key} is referenced and gone`);
    }
    const unneeded = unneededSlots(this.truth);
    for (const { epoch, next } of this.brokers) {
      const slots = unneeded.get(epoch);
      if (slots === undefined) continue;
      for (let slot = slots.below as number; slot < (slots.sealedAt ?? next); slot++) {
        if (!objects.has(slotKey(epoch, slot)))
          throw new Error(`slot ${slot} of epoch ${epoch} is needed and gone`);
      }
      if (slots.sealedAt !== null && !objects.has(slotKey(epoch, slots.sealedAt))) {
        throw new Error(`the seal of epoch ${epoch} is gone`);
      }
    }
  }

  /** Everybody sees everything, flushes and sweeps: nothing is left that nobody needs. */
  async #settle(): Promise<void> {
    if (this.variant !== null) return;
    for (let round = 0; round < 5; round++) {
      for (const broker of this.brokers) {
        broker.lookAt(Infinity);
        const isLive = !broker.isDead && this.truth.brokers.get(broker.epoch)?.status === "live";
        if (isLive && round < 2) await broker.flush();
      }
      await this.clock.advance(90_000_000);
      for (const broker of this.brokers) {
        broker.lookAt(Infinity);
        if (!broker.isDead) await broker.sweep();
      }
      await this.check();
    }
    const referenced = await referencedObjects(
      partitionsOf(this.truth),
      new SegmentIndex(this.store, 1 << 20),
    );
    const unneeded = unneededSlots(this.truth);
    for (const key of this.store.objects.keys()) {
      const slot = parseSlotKey(key);
      const slots = slot === null ? undefined : unneeded.get(slot.epoch);
      if (slot !== null && slots !== undefined && isUnneeded(slot.slot, slots))
        throw new Error(`${key} is left over`);
      const object = parseObjectKey(key);
      const broker = object === null ? undefined : this.truth.brokers.get(object.epoch as BrokerEpoch);
      const mayComeToBe = broker?.status === "live" && (object?.counter ?? 0) >= broker.below;
      if (object !== null && !referenced.has(key) && !mayComeToBe) throw new Error(`${key} is left over`);
    }
  }
}

const partitionsOf = (state: ClusterState) => Array.from(garbageView(state).partitions);
