/**
 * Which partitions this broker serves: those that the journal gives it, once it has made of them what their
 * former owners left. A partition is served only after the command that ended its former owner was applied
 * here (F6), and never from less than everything that its dependencies name: who began earlier would give
 * offsets away again that were acknowledged.
 */
import { HoldfastError } from "../../base/errors.ts";
import type { BrokerEpoch, WalPosition } from "../../base/ids.ts";
import { type Env, type ObjectStore, sleep } from "../../base/ports.ts";
import { type DeadEntries, readSealed, SlotMissingError } from "../../log/object-wal-seal.ts";
import type { Partition } from "../../log/partition.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { SegmentIndex } from "../../log/segment-index.ts";
import type { CommandKind } from "../../metadata/commands.ts";
import type { Journal } from "../../metadata/journal.ts";
import type { JournalEvent } from "../../metadata/outcomes.ts";
import type { PartitionState } from "../../metadata/state.ts";
import { type EndedWal, loadEntries, openPartitions, type Wanted } from "../partition-loading.ts";
import type { Topics } from "../topics.ts";

export interface OwnershipOptions {
  readonly env: Env;
  readonly store: ObjectStore;
  readonly journal: Journal;
  readonly partitions: Partitions;
  readonly topics: Topics;
  readonly index: SegmentIndex;
  /** Partitions were loaded: there may be much to flush. */
  readonly onLoaded: () => void;
  readonly onFailure: (cause: Error) => void;
}

/** After which commands somebody else may own something. */
const changes: ReadonlySet<CommandKind> = new Set(["topic", "partitions", "recover", "move", "drop"]);
/** Until what is damaged is looked at again. */
const damagedRetryMs = 5_000;
/** Until a store that did not answer is asked again. */
const unansweredRetryMs = 200;

export class Ownership {
  readonly #options: OwnershipOptions;
  /** What the take-over of an epoch has read already, from this position on. */
  readonly #read = new Map<BrokerEpoch, { readonly from: WalPosition; readonly wal: DeadEntries }>();
  #loading: Promise<void> | null = null;
  #closed = false;
  #unfollow: () => void = () => undefined;
  readonly #settled = new Set<() => void>();

  constructor(options: OwnershipOptions) {
    this.#options = options;
  }

  /** From now on partitions follow the journal. */
  start(): void {
    this.#unfollow = this.#options.journal.onApplied((event) => this.#onApplied(event));
    this.#reconcile();
  }

  /** Waits for what is being loaded; nothing is loaded afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#unfollow();
    await this.#loading;
    for (const wake of this.#settled) wake();
  }

  /** Whether everything that the journal gives this broker is served. */
  get isSettled(): boolean {
    return this.#loading === null && this.#missing().length === 0;
  }

  /** Resolves when `isSettled`, or the room closes. */
  async whenSettled(): Promise<void> {
    while (!this.#closed && !this.isSettled) {
      await new Promise<void>((resolve) => this.#settled.add(resolve));
    }
  }

  /** What a take-over read of a sealed log, so that it need not be read twice. */
  remember(epoch: BrokerEpoch, from: WalPosition, wal: DeadEntries): void {
    this.#read.set(epoch, { from, wal });
  }
  forget(epoch: BrokerEpoch): void {
    this.#read.delete(epoch);
  }

  #onApplied(event: JournalEvent): void {
    const mayChange =
      event.kind === "reloaded" ||
      event.commands.some(({ command, outcome }) => outcome.kind === "applied" && changes.has(command.kind));
    if (mayChange) this.#reconcile();
  }

  /** Closes at once what somebody else owns, and begins to load what is ours. */
  #reconcile(): void {
    if (this.#closed) return;
    const { partitions } = this.#options;
    for (const partition of Array.from(partitions)) {
      if (!this.#isOurs(partition)) partitions.close(partition.topicId, partition.partition);
    }
    if (this.#loading === null && this.#missing().length > 0) this.#load();
  }

  /** In the stay for which it was opened: it may have gone and come back, with records that we do not know. */
  #isOurs({ topicId, partition, leaderEpoch }: Partition): boolean {
    const { journal } = this.#options;
    const state = journal.state.topics.get(topicId)?.partitions[partition];
    return state?.owner === journal.epoch && state?.leaderEpoch === leaderEpoch;
  }

  #missing(): readonly Wanted[] {
    const { journal, partitions } = this.#options;
    const missing: Wanted[] = [];
    for (const topic of journal.state.topics.values()) {
      for (const partition of topic.partitions) {
        if (partition.owner !== journal.epoch) continue;
        if (partitions.get(topic.id, partition.index)?.isServing !== true) missing.push({ topic, partition });
      }
    }
    return missing;
  }

  #load(): void {
    const { onFailure } = this.#options;
    this.#loading = this.#loadAll()
      .catch((cause: unknown) => {
        if (!this.#closed) onFailure(cause as Error);
      })
      .finally(() => {
        this.#loading = null;
        for (const wake of this.#settled) wake();
        this.#settled.clear();
        if (!this.#closed && this.#missing().length > 0) this.#load();
      });
  }

  /** One round: what is missing now. What is given to us meanwhile is for the next one. */
  async #loadAll(): Promise<void> {
    const { env, journal, partitions, onLoaded } = this.#options;
    const begunMs = env.clock.monotonicMs();
    const wanted = this.#missing();
    try {
      const wals = await this.#readWals(wanted);
      const { log } = env;
      const refresh = (): Promise<void> => journal.catchUp();
      const opened = await openPartitions(wanted, wals, journal.state, { ...this.#options, log, refresh });
      this.#discardLost(opened);
      const entries = loadEntries(opened, wals, journal.state, partitions);
      for (const partition of opened.values()) partitions.serve(partition);
      const tookMs = Math.round(env.clock.monotonicMs() - begunMs);
      if (entries > 0) log.info("partitions.loaded", { partitions: opened.size, entries, tookMs });
    } catch (cause) {
      for (const { topic, partition } of wanted) {
        if (partitions.get(topic.id, partition.index)?.isServing === false) {
          partitions.close(topic.id, partition.index);
        }
      }
      if (cause instanceof SlotMissingError) await this.#afterMissingSlot(cause, wanted);
      // The store does not answer: what is ours stays ours, and is loaded when it does.
      else if (cause instanceof HoldfastError && cause.retriable) await sleep(env.clock, unansweredRetryMs);
      else throw cause;
      return;
    }
    for (const { partition } of wanted) this.#forgetRead(partition);
    onLoaded();
  }

  /** Ownership may have moved on while we read: what is not ours any more, or was dropped, is not served. */
  #discardLost(opened: Map<Wanted, Partition>): void {
    for (const [wanted, partition] of opened) {
      if (partition.isClosed || !this.#isOurs(partition)) {
        opened.delete(wanted);
        this.#options.partitions.close(partition.topicId, partition.partition);
      }
    }
  }

  /** The former view named a slot that is gone: either the journal has moved on, or acknowledged data was deleted. */
  async #afterMissingSlot(cause: SlotMissingError, wanted: readonly Wanted[]): Promise<void> {
    const { journal, env } = this.#options;
    await journal.catchUp();
    const isAsBefore = wanted.every(({ topic, partition }) => {
      const now = journal.state.topics.get(topic.id)?.partitions[partition.index];
      return now !== undefined && sameDependencies(now, partition);
    });
    if (!isAsBefore || this.#closed) return;
    env.log.error(
      "partitions.unreadable: acknowledged records are missing in the store; nothing was changed",
      {
        cause: cause.message,
        partitions: wanted.map(({ topic, partition }) => `${topic.name}-${partition.index}`).slice(0, 100),
      },
    );
    await sleep(env.clock, damagedRetryMs);
  }

  async #readWals(wanted: readonly Wanted[]): Promise<ReadonlyMap<BrokerEpoch, EndedWal>> {
    const ranges = new Map<BrokerEpoch, { from: WalPosition; to: WalPosition }>();
    for (const { partition } of wanted) {
      for (const { epoch, from, to } of partition.dependencies) {
        const range = ranges.get(epoch);
        if (range === undefined) ranges.set(epoch, { from, to });
        else {
          if (from < range.from) range.from = from;
          if (to > range.to) range.to = to;
        }
      }
    }
    const read = Array.from(ranges, async ([epoch, { from, to }]) => {
      const known = this.#read.get(epoch);
      const wal =
        known !== undefined && known.from <= from ? known.wal : await this.#readWal(epoch, from, to);
      return [epoch, wal] as const;
    });
    return new Map(await Promise.all(read));
  }

  #readWal(epoch: BrokerEpoch, from: WalPosition, to: WalPosition): Promise<DeadEntries> {
    const { store, journal, env } = this.#options;
    const { clusterId } = journal.state;
    return readSealed({ store, ports: env, clusterId, epoch, released: from }, from, to);
  }

  #forgetRead({ dependencies }: PartitionState): void {
    for (const { epoch } of dependencies) this.#read.delete(epoch);
  }
}

function sameDependencies(a: PartitionState, b: PartitionState): boolean {
  return (
    a.dependencies.length === b.dependencies.length &&
    a.dependencies.every(({ epoch, from }, at) => {
      const other = b.dependencies[at];
      return other?.epoch === epoch && other.from === from;
    })
  );
}
