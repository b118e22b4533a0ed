/**
 * The states of share-partitions that this broker looks after: those whose partition of `__share_group_state` it
 * owns. What they are is decided in `coordinator/share/` and lies there; who asks goes through the persister,
 * or comes from another broker (api/*-share-group-state.ts). Here their topic is made and kept short, and what
 * belonged to deleted topics goes.
 */
import type { Env, Timer } from "../../base/ports.ts";
import {
  type ShareStateKey,
  type ShareStateRecord,
  shareStateRecords,
  type ShareStateTurn,
} from "../../coordinator/share/records.ts";
import { ShareStateShard } from "../../coordinator/share/shard.ts";
import type { ShardRuntime } from "../../coordinator/runtime.ts";
import type { AppendSession } from "../../log/memory-tail.ts";
import type { Partition } from "../../log/partition.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { Wal } from "../../log/wal.ts";
import type { Journal } from "../../metadata/journal.ts";
import type { JournalEvent } from "../../metadata/outcomes.ts";
import type { PartitionState } from "../../metadata/state.ts";
import type { BrokerConfig } from "../config.ts";
import { memoryShares } from "../memory.ts";
import { type Away, Shards } from "../shards.ts";
import type { Topics } from "../topics.ts";

export const shareStateTopic = "__share_group_state";
/** As Kafka makes it: nothing expires by itself, and of updates each counts, so it is not compacted either. */
const topicConfigs = new Map([
  ["cleanup.policy", "delete"],
  ["compression.type", "uncompressed"],
  ["retention.bytes", "-1"],
  ["retention.ms", "-1"],
  ["segment.bytes", "104857600"],
]);

export interface ShareStatesOptions {
  readonly env: Env;
  readonly config: BrokerConfig;
  readonly topics: Topics;
  readonly partitions: Partitions;
  readonly journal: Journal;
  readonly wal: Wal;
  /** A log that cannot be read ends the broker: without the states what was acknowledged would be delivered again. */
  readonly onFailure: (cause: Error) => void;
}

/** How often it is looked for records that nothing needs any more; as Kafka's `share.coordinator.state.topic.prune.interval.ms`. */
const pruneMs = 5 * 60_000;
/** A log may hold so many records per share-partition, and so many besides, before old snapshots are written anew. */
const recordsPerState = 4;
const spareRecords = 10_000;

type Shard = ShardRuntime<ShareStateShard, ShareStateRecord>;

export class ShareStates {
  readonly #options: ShareStatesOptions;
  readonly #shards: Shards<ShareStateShard, ShareStateRecord>;
  #pruneTimer: Timer | null = null;

  constructor(options: ShareStatesOptions) {
    this.#options = options;
    const { env, topics, partitions, wal, config, onFailure } = options;
    const { shareStateBytesMax } = memoryShares(config);
    const settings = {
      updatesPerSnapshot: config.get("share.coordinator.snapshot.update.records.per.snapshot"),
      hasPartition: (topic: ShareStateKey["topicId"], partition: number): boolean =>
        topics.byId(topic)?.partitions[partition] !== undefined,
      mayGrow: (bytes: number): boolean => this.bytes + bytes <= shareStateBytesMax,
    };
    this.#shards = new Shards({
      env,
      topics,
      partitions,
      wal,
      topic: {
        name: shareStateTopic,
        partitionCount: () => config.get("share.coordinator.state.topic.num.partitions"),
        configs: topicConfigs,
      },
      codec: shareStateRecords,
      makeShard: () => new ShareStateShard(settings),
      // What was deleted between its last record and now.
      onOpen: (shard) => this.#shards.runAloneIn(shard, (each, turn) => this.#forgetDeleted(each, turn)),
      onFailure,
    });
    const { meter } = env;
    meter.gauge("holdfast_share_states_bytes", "About what share states take in memory.", () => this.bytes);
    meter.gauge(
      "holdfast_share_states_count",
      "Share-partitions whose state is kept here.",
      () => this.count,
    );
  }

  /** Begins to read what is there, and follows the journal. */
  start(): void {
    this.#shards.start();
    this.#options.journal.onApplied((event) => this.#onApplied(event));
    this.#armPrune();
  }

  /** About what they take in memory. */
  get bytes(): number {
    return this.#shards.all.reduce((sum, { shard }) => sum + shard.bytes, 0);
  }
  get count(): number {
    return this.#shards.all.reduce((sum, { shard }) => sum + shard.count, 0);
  }

  /** See `Shards.enter`. */
  enter(keys: readonly ShareStateKey[], bytes = 0): Promise<void> | undefined {
    return this.#shards.enter(keys.map(coordinatorKey), bytes);
  }

  /** Resolves when their topic is made, by us or by another broker; undefined: it is there. */
  whenMade(): Promise<void> | undefined {
    return this.#shards.whenMade();
  }

  /** Why nothing can be decided about it here and now; null: it can. */
  away(key: ShareStateKey): Away | null {
    return this.#shards.away(coordinatorKey(key));
  }

  /** The partition of the topic in which it lies, as the journal has it; undefined: the topic is not made. */
  placeOf(key: ShareStateKey): PartitionState | undefined {
    const states = this.#options.topics.byName(shareStateTopic)?.partitions;
    return states?.[this.#shards.partitionOf(coordinatorKey(key))];
  }

  /** Decides where it is not away; resolves when that, and all it relies on, is durable. */
  run<T>(
    key: ShareStateKey,
    decide: (shard: ShareStateShard, turn: ShareStateTurn) => T,
    admittedBytes = 0,
  ): Promise<T> {
    return this.#shards.run(coordinatorKey(key), decide, admittedBytes);
  }

  /** As `run`, into a session of the caller's, whose `commit` must follow in the same step. */
  runInto<T>(
    session: AppendSession,
    key: ShareStateKey,
    decide: (shard: ShareStateShard, turn: ShareStateTurn) => T,
  ): T {
    return this.#shards.runInto(coordinatorKey(key), session, decide);
  }

  // ── What happens by itself ──

  #onApplied(event: JournalEvent): void {
    const isDrop =
      event.kind === "reloaded" ||
      event.commands.some(({ command, outcome }) => command.kind === "drop" && outcome.kind !== "void");
    if (!isDrop || this.#shards.isOver) return;
    this.#shards.runAlone((shard, turn) => this.#forgetDeleted(shard, turn));
  }

  #forgetDeleted(shard: ShareStateShard, turn: ShareStateTurn): void {
    const { topics } = this.#options;
    shard.forgetTopics(turn, (id) => !topics.has(id));
  }

  #armPrune(): void {
    this.#pruneTimer = this.#options.env.clock.schedule(pruneMs, () => {
      this.prune();
      if (!this.#shards.isOver) this.#armPrune();
    });
  }

  /** Lets go what lies before the oldest snapshot that counts, and writes those anew that hold up too much. */
  prune(): void {
    if (this.#shards.isOver) return;
    for (const one of this.#shards.all) {
      this.#trim(one);
      this.#shards.runAloneIn(one, (shard, turn) => {
        const { logStart, logEnd } = one.partition;
        const recordsMax = shard.count * recordsPerState + spareRecords;
        if (logEnd - logStart > recordsMax) shard.refresh(turn, middle(one.partition));
      });
    }
  }

  #trim({ shard, partition }: Shard): void {
    const { partitions, env } = this.#options;
    if (!partition.takesAppends) return;
    const needed = shard.neededFrom ?? partition.logEnd;
    const start = needed < partition.durableEnd ? needed : partition.durableEnd;
    if (start <= partition.logStart) return;
    const session = partitions.begin();
    // After the snapshots in the log, so that no crash leaves the one without the other.
    partition.trim(session, start, env.clock.wallMs());
    session.commit();
  }

  /** The broker stops. */
  close(): void {
    this.#pruneTimer?.cancel();
    this.#shards.close();
  }
}

/** As Kafka names a share-partition to find its coordinator. */
export const coordinatorKey = ({ groupId, topicId, partition }: ShareStateKey): string =>
  `${groupId}:${topicId}:${partition}`;

const middle = ({ logStart, logEnd }: Partition) =>
  (logStart + Math.ceil((logEnd - logStart) / 2)) as typeof logEnd;
