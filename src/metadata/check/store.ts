/**
 * Checks a whole store against the journal, while brokers may run: that the journal can be replayed and none of
 * its objects is damaged, that everything that partitions and dead WALs need is there and sound, and what is
 * there for nobody. Reads only; an old view is safe for orphans, and what is missing is asked again by a fresh
 * one before it is called damage.
 */
import { HoldfastError, RefusedError } from "../../base/errors.ts";
import type { BrokerEpoch, TopicId } from "../../base/ids.ts";
import type { Facts } from "../../base/ports.ts";
import { settledKeys } from "../../log/garbage.ts";
import { parseSlotKey, walRoot } from "../../log/object-wal-format.ts";
import { objectPrefix, parseObjectKey } from "../../log/segment-format.ts";
import { untilAnswered } from "../../store/create.ts";
import { inspectJournal } from "../inspect.ts";
import { Replay, type ReplayPorts } from "../replay.ts";
import { garbageView, isUnneeded, unneededSlots } from "../unneeded.ts";
import { type CheckFinding, type CheckSummary, damage, type Damage, type Orphan } from "./finding.ts";
import { SegmentCheck } from "./segments.ts";
import { WalCheck } from "./wal-slots.ts";

export interface StoreCheckOptions {
  /** Whether every byte of every segment is read. */
  readonly contents: boolean;
}

/** Findings as they come, the summary last. Rejects with `RefusedError` when no cluster is there. */
export async function* checkStore(
  ports: ReplayPorts,
  options: StoreCheckOptions,
): AsyncGenerator<CheckFinding, void, void> {
  const counts = { damages: 0, orphans: 0, orphanBytes: 0 };
  for await (const finding of new StoreCheck(ports, options).run()) {
    if (finding.kind === "damage") counts.damages++;
    if (finding.kind === "orphan") {
      counts.orphans++;
      counts.orphanBytes += finding.bytes;
    }
    yield finding.kind === "summary" ? { ...finding, ...counts } : finding;
  }
}

type Counted = "damages" | "orphans" | "orphanBytes";

class StoreCheck {
  readonly #ports: ReplayPorts;
  readonly #options: StoreCheckOptions;
  readonly #replay: Replay;
  readonly #skipped: Damage[] = [];
  #objects = 0;
  #bytes = 0;

  constructor(ports: ReplayPorts, options: StoreCheckOptions) {
    this.#options = options;
    // All that replaying tells is a snapshot that it passed over.
    const error = (_: string, facts: Facts = {}): void => {
      this.#skipped.push(damage(String(facts["object"]), String(facts["reason"])));
    };
    this.#ports = { ...ports, env: { ...ports.env, log: { ...ports.env.log, error } } };
    this.#replay = new Replay(this.#ports, () => undefined);
  }

  async *run(): AsyncGenerator<CheckFinding, void, void> {
    const isReadable = yield* this.#journal();
    yield isReadable ? yield* this.#data() : this.#summary({});
  }

  /** Whether it tells how things are. */
  async *#journal(): AsyncGenerator<CheckFinding, boolean, void> {
    let isReadable = true;
    try {
      await this.#replay.load();
    } catch (cause) {
      if (!(cause instanceof HoldfastError) || cause.retriable) throw cause;
      isReadable = false;
      yield damage("meta/", cause.message.replace(/\.$/, ""));
    }
    const { clusterId } = this.#replay.image;
    if (isReadable && clusterId === "") {
      throw new RefusedError(
        "No cluster is here: nothing of a broker lies in this store. Name the store that brokers were started with.",
      );
    }
    const { objects, findings } = await inspectJournal(this.#ports, clusterId);
    this.#objects += objects;
    const named = new Set<string>();
    for (const { object, reason } of findings) {
      named.add(object);
      yield damage(object, reason);
    }
    yield* this.#skipped.filter(({ object }) => !named.has(object));
    return isReadable;
  }

  async *#data(): AsyncGenerator<CheckFinding, CheckSummary, void> {
    // Before a reference is read: what is settled by a later command may be referenced by it, too.
    const view = garbageView(this.#replay.image);
    const segments = await this.#list(objectPrefix);
    const slots = await this.#list(walRoot);
    const { store, env } = this.#ports;
    const state = () => this.#replay.image;
    const shared = { store, state, refresh: () => this.#replay.catchUp() };
    const check = new SegmentCheck({ ...shared, ...this.#options, listed: segments });
    for await (const { object, reason } of check.run()) yield damage(object, this.#named(reason));
    const wal = new WalCheck({ ...shared, ports: env, listed: byEpoch(slots) });
    if (state().walKind === "object") {
      for await (const { object, reason } of wal.run()) yield damage(object, this.#named(reason));
    }
    let pending = 0;
    // A list that cannot be read may name anything.
    if (!check.isIncomplete) {
      const unnamed = [...segments.keys()].filter((key) => !check.referenced.has(key));
      const settled = new Set(settledKeys(unnamed, (author, counter) => view.isSettled(author, counter)));
      pending = unnamed.length - settled.size;
      yield* orphansOf(settled, segments);
    }
    yield* this.#slotOrphans(slots);
    const { segments: count, readBytes } = check;
    return this.#summary({
      segments: count,
      readBytes,
      walSlots: wal.slots,
      pending,
      unknown: this.#unknown(segments, slots),
    });
  }

  /** With names in the place of topics' ids. */
  #named(reason: string): string {
    const { topics } = this.#replay.image;
    return reason.replace(/topic ([\w-]{22})\b/g, (all, id: string) => {
      const name = topics.get(id as TopicId)?.name;
      return name === undefined ? all : `topic ${name}`;
    });
  }

  async #list(prefix: string): Promise<ReadonlyMap<string, number>> {
    const { store, env } = this.#ports;
    const listed = await untilAnswered(env, () => store.list(prefix));
    this.#objects += listed.length;
    for (const { bytes } of listed) this.#bytes += bytes;
    return new Map(listed.map(({ key, bytes }) => [key, bytes]));
  }

  *#slotOrphans(slots: ReadonlyMap<string, number>): Generator<Orphan, void, void> {
    const unneeded = unneededSlots(this.#replay.image);
    const orphans: string[] = [];
    for (const key of slots.keys()) {
      const name = parseSlotKey(key);
      const those = name === null ? undefined : unneeded.get(name.epoch);
      if (name !== null && those !== undefined && isUnneeded(name.slot, those)) orphans.push(key);
    }
    yield* orphansOf(orphans, slots);
  }

  /** Objects of epochs that the journal does not know (any more): no evidence that nobody needs them (I11). */
  #unknown(segments: ReadonlyMap<string, number>, slots: ReadonlyMap<string, number>): number {
    const { brokers } = this.#replay.image;
    const authors = [
      ...[...segments.keys()].map((key) => parseObjectKey(key)?.epoch),
      ...[...slots.keys()].map((key) => parseSlotKey(key)?.epoch),
    ];
    return authors.filter((epoch) => epoch !== undefined && !brokers.has(epoch as BrokerEpoch)).length;
  }

  #summary(facts: Partial<CheckSummary>): CheckSummary {
    const { clusterId, nextSlot, topics } = this.#replay.image;
    let partitions = 0;
    for (const topic of topics.values()) partitions += topic.partitions.length;
    const counted = { damages: 0, orphans: 0, orphanBytes: 0 } satisfies { [name in Counted]: number };
    return {
      kind: "summary",
      clusterId,
      slots: nextSlot,
      topics: topics.size,
      partitions,
      objects: this.#objects,
      bytes: this.#bytes,
      segments: 0,
      readBytes: 0,
      walSlots: 0,
      pending: 0,
      unknown: 0,
      ...counted,
      ...facts,
    };
  }
}

function* orphansOf(
  keys: Iterable<string>,
  listed: ReadonlyMap<string, number>,
): Generator<Orphan, void, void> {
  for (const object of keys) yield { kind: "orphan", object, bytes: listed.get(object) ?? 0 };
}

function byEpoch(slots: ReadonlyMap<string, number>): ReadonlyMap<BrokerEpoch, ReadonlySet<number>> {
  const found = new Map<BrokerEpoch, Set<number>>();
  for (const key of slots.keys()) {
    const name = parseSlotKey(key);
    if (name === null) continue;
    const known = found.get(name.epoch);
    if (known === undefined) found.set(name.epoch, new Set([name.slot]));
    else known.add(name.slot);
  }
  return found;
}
