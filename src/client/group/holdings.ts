/**
 * The partitions that the group has given to a member: finds where the group stands in new ones, reads
 * them from there, and forgets those that were taken away.
 */
import { offset } from "../../base/ids.ts";
import { sleep } from "../../base/ports.ts";
import type { AssignedPartition } from "../assigned-partition.ts";
import { isRetriable } from "../assignment.ts";
import type { Cluster, TopicView } from "../cluster.ts";
import { ConsumerUsageError } from "../consumer-errors.ts";
import { UnknownTopicError } from "../errors.ts";
import type { Reader } from "../reader.ts";
import type { RetryWatch } from "../retry-watch.ts";
import { nameOf, type TopicPartition } from "./assignor.ts";
import type { Wish } from "./commits.ts";
import type { Coordinator } from "../coordinator.ts";
import { byTopic } from "./leader.ts";
import { fetchOffsets } from "./offsets.ts";
import type { CommitRequest, GroupSettings } from "./options.ts";
import { Share } from "./share.ts";
import { startingPlaceOf } from "./starting-place.ts";

export interface HoldingsAccess {
  readonly cluster: Cluster;
  readonly settings: GroupSettings;
  readonly watch: RetryWatch;
  readonly coordinator: Coordinator;
  readonly reader: Reader;
  readonly isClosing: () => boolean;
}

export class Holdings {
  readonly #access: HoldingsAccess;
  readonly #shares = new Map<string, Share>();
  readonly #byReading = new Map<AssignedPartition, Share>();
  /** Taken away while they were ahead, by name: what was made of their records must not be committed. */
  readonly #lost = new Map<string, Share>();

  constructor(access: HoldingsAccess) {
    this.#access = access;
  }

  get all(): readonly Share[] {
    return [...this.#shares.values()];
  }

  of(reading: AssignedPartition): Share | undefined {
    return this.#byReading.get(reading);
  }

  find(part: TopicPartition): Share | undefined {
    return this.#shares.get(nameOf(part));
  }

  holds(share: Share): boolean {
    return this.find(share) === share;
  }

  /** Rejects with what no broker gets over. */
  async add(parts: readonly TopicPartition[], generation: number): Promise<void> {
    const shares = parts.map((part) => new Share(part, generation));
    for (const share of shares) this.#shares.set(nameOf(share), share);
    await this.#place(shares);
  }

  /** Reads on where the group stands, which is to be asked: what it was told last may not have been heard. Rejects as `add` does. */
  async relocate(shares: readonly Share[]): Promise<void> {
    for (const share of shares) {
      this.#unread(share);
      share.reading = undefined;
    }
    this.#access.reader.moved();
    await this.#place(shares);
  }

  async #place(shares: readonly Share[]): Promise<void> {
    const views = new Map<string, TopicView>();
    for (const topic of new Set(shares.map((share) => share.topic))) {
      const view = await this.#findTopic(topic, shares);
      if (view !== undefined) views.set(topic, view);
    }
    const { settings, coordinator, reader, watch, isClosing } = this.#access;
    const { group, from } = settings;
    const asked =
      from === "start"
        ? byTopic(shares)
        : [...views.values()].map(({ name, partitions }) => ({
            topic: name,
            partitions: partitions.map(({ index }) => index),
          }));
    const what = `look up the offsets of group ${group}`;
    const committed = await fetchOffsets(coordinator, group, asked, {
      what,
      again: (cause) => (isClosing() ? undefined : watch.failed(what, cause)),
    });
    watch.succeeded(what);
    for (const share of shares) {
      const view = views.get(share.topic);
      if (view === undefined || !this.holds(share) || share.isLeaving) continue;
      const place = startingPlaceOf(share, { committed, count: view.partitions.length, from });
      const { to, epoch } =
        place.committed === undefined && share.anchor !== undefined
          ? { to: share.anchor.offset, epoch: share.anchor.epoch }
          : { to: place.to, epoch: place.committed?.epoch };
      share.committed = place.committed;
      share.metadata = place.metadata;
      share.reading = reader.assignment.take(view, share.partition, to, epoch);
      this.#byReading.set(share.reading, share);
    }
    reader.moved();
  }

  drop(share: Share): void {
    if (this.holds(share)) this.#shares.delete(nameOf(share));
    if (share.isAhead) this.#lost.set(nameOf(share), share);
    if (share.reading === undefined) return;
    this.#unread(share);
    this.#access.reader.moved();
  }

  #unread(share: Share): void {
    const { reading } = share;
    if (reading === undefined) return;
    this.#byReading.delete(reading);
    this.#access.reader.assignment.drop(reading);
  }

  /** Those that were taken away, while they were ahead, since this was asked for before. */
  takeLost(): readonly Share[] {
    const lost = [...this.#lost.values()];
    this.#lost.clear();
    return lost;
  }

  /** What it was ahead by is committed. */
  forgive(share: Share): void {
    if (this.#lost.get(nameOf(share)) === share) this.#lost.delete(nameOf(share));
  }

  /** To commit what is finished of everything. */
  wishes(): readonly Wish[] {
    return this.all.map((share) => ({ share }));
  }

  /** To commit what the caller says. `nextOrder`: see `Wish`. Throws `ConsumerUsageError`. */
  named(offsets: readonly CommitRequest[], nextOrder: () => number): readonly Wish[] {
    return offsets.map(({ topic, partition, offset: at, metadata = null }) => {
      const [only, ...more] = new Set(this.all.map((share) => share.topic));
      const name = topic ?? (more.length === 0 ? only : undefined);
      const share = name === undefined ? undefined : this.find({ topic: name, partition });
      if (share === undefined) {
        throw new ConsumerUsageError(
          `${name ?? "?"}/${partition} is not this member's: it can commit only what the group has given to it.`,
        );
      }
      if (!Number.isSafeInteger(at) || at < 0) {
        throw new ConsumerUsageError(`An offset to commit is a whole number from 0 on, not ${String(at)}.`);
      }
      return { share, place: { offset: offset(at), metadata, order: nextOrder() } };
    });
  }

  /** `undefined`: the shares were taken away before it was found. */
  async #findTopic(topic: string, shares: readonly Share[]): Promise<TopicView | undefined> {
    const { cluster, watch, isClosing } = this.#access;
    const what = `find topic ${topic}`;
    while (!isClosing() && shares.some(({ isLeaving }) => !isLeaving)) {
      try {
        const view = await cluster.topic(topic);
        watch.succeeded(what, { topic });
        return view;
      } catch (cause) {
        // One that was deleted is taken from the member when the group hears of it.
        if (!isRetriable(cause) && !(cause instanceof UnknownTopicError)) throw cause;
        await sleep(cluster.settings.clock, watch.failed(what, cause, { topic }));
      }
    }
    return undefined;
  }
}
