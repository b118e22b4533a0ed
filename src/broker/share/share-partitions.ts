/**
 * The share-partitions of this broker, and the share sessions that read them. One is made when a member first reads
 * it, and goes when its partition does, when it was fenced, or when no member of its group reads here any more: the
 * group's offsets may be altered then, and its members may never come back. Bounded in number and in what their
 * deliveries take in memory.
 */
import type { Env, Timer } from "../../base/ports.ts";
import type { DeliveryCounts, HoldEnd } from "../../coordinator/share/delivery/table.ts";
import type { Partition } from "../../log/partition.ts";
import type { Partitions } from "../../log/partitions.ts";
import type { Wal } from "../../log/wal.ts";
import type { Journal } from "../../metadata/journal.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { AwakeClock } from "../awake-clock.ts";
import type { BrokerConfig } from "../config.ts";
import { memoryShares } from "../memory.ts";
import type { LetterServices } from "./dead-letters.ts";
import type { SharePartitionKey, SharePersister } from "./persister.ts";
import { ReadAhead } from "./read-ahead.ts";
import { type ShareSettings, shareSettingsOf } from "./settings.ts";
import { ShareMetrics } from "./share-metrics.ts";
import { SharePartition } from "./share-partition.ts";
import { type ShareSession, ShareSessions, placeKey } from "./share-session.ts";
import type { Persisted } from "./state-line.ts";

export interface SharePartitionsOptions {
  readonly env: Env;
  readonly config: BrokerConfig;
  readonly journal: Journal;
  readonly partitions: Partitions;
  readonly wal: Wal;
  readonly persister: SharePersister;
  readonly letters: LetterServices;
}

/** Each takes some KiB beside its deliveries. */
const sharePartitionsMax = 20_000;
/** About what a range of alike records takes, with its lock. */
const rangeBytes = 100;
/** Of what the deliveries may take in memory together: a quarter of what groups may. */
const deliveryShare = 4;
/** Of what may be read ahead of segments for all of them: a quarter of what answers may take, which it becomes. */
const aheadShare = 4;
/** What is held of settings: a group's are read again when they were changed. */
const settingsKeptMax = 1_000;

export class SharePartitions {
  readonly sessions: ShareSessions;
  readonly metrics: ShareMetrics;
  readonly #options: SharePartitionsOptions;
  readonly #bytesMax: number;
  readonly #ahead: ReadAhead;
  /** By group, then by place. */
  readonly #groups = new Map<string, Map<string, SharePartition>>();
  readonly #byPartition = new Map<Partition, Set<SharePartition>>();
  #count = 0;
  /** Of all of them. */
  #ranges = 0;
  /** Of share-partitions that ended, what is still on its way: who comes next waits for it. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #settings = new Map<string, ShareSettings>();
  /** A broker that stood still hears its members before it takes their records away. */
  readonly #clock: AwakeClock;
  #timer: { readonly atMs: number; readonly timer: Timer } | null = null;
  #isClosed = false;

  constructor(options: SharePartitionsOptions) {
    this.#options = options;
    const { config, env } = options;
    this.#clock = new AwakeClock(env.clock);
    const { groupBytesMax, answerBytesMax } = memoryShares(config);
    this.#bytesMax = groupBytesMax / deliveryShare;
    this.#ahead = new ReadAhead(env.clock, answerBytesMax / aheadShare);
    this.sessions = new ShareSessions({
      sessionsMax: () => config.get("group.share.max.share.sessions"),
      onEnd: (session, isLast) => this.#onSessionEnd(session, isLast),
    });
    this.metrics = new ShareMetrics(env.meter, {
      sessions: () => this.sessions.count,
      sharePartitions: () => this.#count,
      ready: () => this.#sum((each) => each.readyCount),
      inFlight: () => this.#sumCounts((counts) => counts.acquired),
      archiving: () => this.#sumCounts((counts) => counts.archiving),
      oldestSeconds: () => this.#oldestMs() / 1000,
      bytes: () => this.bytes,
    });
  }

  start(): void {
    const { partitions, journal } = this.#options;
    partitions.onStop((partition) => {
      for (const share of this.#byPartition.get(partition) ?? []) share.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    });
    journal.onApplied(() => this.#settings.clear());
  }

  get count(): number {
    return this.#count;
  }
  get bytes(): number {
    return this.#ranges * rangeBytes;
  }
  /** What was read for members and not taken yet. */
  get aheadBytes(): number {
    return this.#ahead.bytes;
  }

  /** As the group's settings are now. */
  settingsOf(groupId: string): ShareSettings {
    const known = this.#settings.get(groupId);
    if (known !== undefined) return known;
    const { journal, config } = this.#options;
    const settings = shareSettingsOf(groupId, journal.state, config);
    if (this.#settings.size >= settingsKeptMax) this.#settings.clear();
    this.#settings.set(groupId, settings);
    return settings;
  }

  /** One that is served, or being loaded. */
  get(groupId: string, partition: Partition): SharePartition | undefined {
    const { topicId } = partition;
    return this.#groups.get(groupId)?.get(placeKey({ topicId, partition: partition.partition }));
  }

  all(): readonly SharePartition[] {
    return Array.from(this.#groups.values()).flatMap((group) => [...group.values()]);
  }

  /** Made if it is not there, and loaded then. `partition`: takes appends here. A code: there are too many. */
  open(groupId: string, partition: Partition): SharePartition | ErrorCode {
    const known = this.get(groupId, partition);
    if (known !== undefined) return known;
    if (this.#isClosed) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    if (this.#count >= sharePartitionsMax) return ErrorCode.SHARE_SESSION_LIMIT_REACHED;
    const { env, persister, partitions, wal } = this.#options;
    const key = { groupId, topicId: partition.topicId, partition: partition.partition };
    const share = new SharePartition({
      key,
      partition,
      env: { log: env.log, clock: this.#clock },
      arm: (atMs) => this.#arm(atMs),
      persister,
      partitions,
      wal,
      settings: () => this.settingsOf(groupId),
      mayGrow: () => this.bytes < this.#bytesMax,
      onRanges: (more) => {
        this.#ranges += more;
      },
      metrics: this.metrics,
      ahead: this.#ahead,
      letters: this.#options.letters,
      before: this.#leaving.get(leavingKey(key)) ?? Promise.resolve(),
      onOver: (over) => this.#drop(over),
    });
    this.#add(share);
    void share.load();
    return share;
  }

  #add(share: SharePartition): void {
    const { groupId } = share.key;
    let group = this.#groups.get(groupId);
    if (group === undefined) this.#groups.set(groupId, (group = new Map()));
    group.set(placeKey(share.key), share);
    const { partition } = share;
    let shares = this.#byPartition.get(partition);
    if (shares === undefined) this.#byPartition.set(partition, (shares = new Set()));
    shares.add(share);
    this.#count++;
  }

  #drop(share: SharePartition): void {
    const { groupId } = share.key;
    const group = this.#groups.get(groupId);
    if (group?.delete(placeKey(share.key)) !== true) return;
    if (group.size === 0) this.#groups.delete(groupId);
    const shares = this.#byPartition.get(share.partition);
    shares?.delete(share);
    if (shares?.size === 0) this.#byPartition.delete(share.partition);
    this.#count--;
    const key = leavingKey(share.key);
    const leaving = Promise.all([this.#leaving.get(key), share.idle()]).then(() => {
      if (this.#leaving.get(key) === leaving) this.#leaving.delete(key);
    });
    this.#leaving.set(key, leaving);
  }

  /** What the member holds in its group's share-partitions here is free. Resolves when that is durable. */
  release(groupId: string, memberId: string, end: HoldEnd): Promise<readonly Persisted[]> {
    const group = this.#groups.get(groupId);
    if (group === undefined) return Promise.resolve([]);
    return Promise.all(Array.from(group.values(), (share) => share.release(memberId, end)));
  }

  #onSessionEnd({ groupId, memberId, isClosing }: ShareSession, isLast: boolean): void {
    if (this.#isClosed) return;
    const released = this.release(groupId, memberId, isClosing ? "closed" : "lost");
    const end = (): void => {
      if (!isLast || this.sessions.hasGroup(groupId)) return;
      for (const share of this.#groups.get(groupId)?.values() ?? [])
        share.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    };
    // The log closed: then nobody is served anyway.
    released.then(end, () => undefined);
  }

  #sum(of: (share: SharePartition) => number): number {
    let sum = 0;
    for (const group of this.#groups.values()) for (const share of group.values()) sum += of(share);
    return sum;
  }

  #sumCounts(of: (counts: DeliveryCounts) => number): number {
    return this.#sum(({ counts }) => (counts === null ? 0 : of(counts)));
  }

  #oldestMs(): number {
    const nowMs = this.#clock.monotonicMs();
    let oldestMs = 0;
    for (const share of this.all()) oldestMs = Math.max(oldestMs, nowMs - (share.stuckSinceMs ?? nowMs));
    return oldestMs;
  }

  // ── Time: one timer for the locks of all of them ──

  #arm(atMs: number): void {
    if (this.#isClosed || atMs === Infinity || (this.#timer !== null && this.#timer.atMs <= atMs)) return;
    this.#timer?.timer.cancel();
    const delayMs = Math.max(0, atMs - this.#clock.monotonicMs());
    this.#timer = { atMs, timer: this.#clock.schedule(delayMs, () => this.#onTime()) };
  }

  #onTime(): void {
    this.#timer = null;
    const nowMs = this.#clock.monotonicMs();
    const shares = this.all();
    for (const share of shares) if (share.nextDeadlineMs <= nowMs) share.onTime(nowMs);
    for (const share of shares) this.#arm(share.nextDeadlineMs);
  }

  /** The broker stops: nothing is given any more, and who waits is answered. */
  close(): void {
    this.#isClosed = true;
    this.#timer?.timer.cancel();
    for (const share of this.all()) share.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }
}

const leavingKey = (key: SharePartitionKey): string => `${placeKey(key)}/${key.groupId}`;
