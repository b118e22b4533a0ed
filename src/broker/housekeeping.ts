/** What goes on beside serving: retention, compaction, scrubbing, garbage, and what is left of WALs that nothing needs. */
import { ZERO_OFFSET } from "../base/ids.ts";
import type { Env, ObjectStore, Timer } from "../base/ports.ts";
import { Compaction } from "../log/compaction.ts";
import { Garbage, type Listings } from "../log/garbage.ts";
import type { ObjectNames } from "../log/object-names.ts";
import type { Partitions } from "../log/partitions.ts";
import { Retention } from "../log/retention.ts";
import { Scrub } from "../log/scrub.ts";
import type { SegmentIndex } from "../log/segment-index.ts";
import type { Journal } from "../metadata/journal.ts";
import { garbageView } from "../metadata/unneeded.ts";
import type { BrokerConfig } from "./config.ts";
import type { DiskFloor } from "./disk-floor.ts";
import { memoryShares } from "./memory.ts";

export interface HousekeepingOptions {
  readonly env: Env;
  readonly store: ObjectStore;
  readonly journal: Journal;
  readonly partitions: Partitions;
  readonly names: ObjectNames;
  readonly index: SegmentIndex;
  readonly config: BrokerConfig;
  readonly diskFloor: Pick<DiskFloor, "isNear" | "refusing">;
  /** Removes the parts of WALs that nothing needs any more. Rejects when its store or disk failed for good. */
  readonly deadWals: { sweep(): Promise<void> };
  /** When and by whom the store is listed for garbage. Default: by this broker at each check of retention. */
  readonly listings?: Listings;
  /** Where others change the journal too: brings the view up to date. */
  readonly refresh?: () => Promise<void>;
  readonly onFailure: (cause: Error) => void;
}

/** How often it is asked what of WALs is no longer needed. */
const deadWalsMs = 5_000;

export class Housekeeping {
  readonly retention: Retention;
  readonly compaction: Compaction;
  readonly scrub: Scrub;
  readonly garbage: Garbage;
  readonly #deadWals: HousekeepingOptions["deadWals"];
  readonly #env: Env;
  readonly #onFailure: (cause: Error) => void;
  #timer: Timer | null = null;
  #sweeping: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: HousekeepingOptions) {
    const { env, store, index, names, journal, config, partitions, diskFloor, onFailure } = options;
    this.#env = env;
    this.#onFailure = onFailure;
    const shared = options.refresh === undefined ? {} : { refresh: options.refresh };
    const intervalMs = config.get("log.retention.check.interval.ms");
    this.retention = new Retention({
      env,
      store,
      names,
      index,
      sources: () => partitions.serving(),
      publishTrim: async (trim) => {
        const { topicId, partition, leaderEpoch, start, footer } = trim;
        const outcome = await journal.append({
          kind: "trim",
          topicId,
          partition,
          leaderEpoch,
          start,
          footer,
        });
        return outcome.kind === "applied" ? "published" : "void";
      },
      intervalMs,
      onFailure,
    });
    this.compaction = new Compaction({
      env,
      store,
      names,
      index,
      sources: () => partitions.serving(),
      known: ({ topicId, partition }) => journal.state.topics.get(topicId)?.partitions[partition] ?? unknown,
      publishReplace: async (replacement) => {
        const outcome = await journal.append({ kind: "replace", ...replacement });
        return outcome.kind === "applied" ? "published" : "void";
      },
      settings: () => ({
        // It needs room before it makes some, and below the floor that is kept for what was accepted.
        isEnabled: config.get("log.cleaner.enable") && !diskFloor.refusing,
        intervalMs: config.get("log.cleaner.backoff.ms"),
        keyBytesMax: Math.min(
          config.get("log.cleaner.dedupe.buffer.size"),
          memoryShares(config).compactionKeyBytesMax,
        ),
        bytesPerSecondMax: config.get("log.cleaner.io.max.bytes.per.second"),
      }),
      onFailure,
    });
    this.scrub = new Scrub({
      env,
      store,
      index,
      sources: () => partitions.serving(),
      settings: () => ({
        intervalMs: config.get("holdfast.scrub.interval.ms"),
        bytesPerSecondMax: config.get("holdfast.scrub.bytes.per.second"),
      }),
      ...shared,
      onFailure,
    });
    this.garbage = new Garbage({
      env,
      store,
      index,
      view: () => garbageView(journal.state),
      graceMs: config.get("log.segment.delete.delay.ms"),
      isUrgent: () => diskFloor.isNear,
      intervalMs,
      ...(options.listings === undefined ? {} : { listings: options.listings }),
      ...shared,
      onFailure,
    });
    this.#deadWals = options.deadWals;
  }

  start(): void {
    this.retention.start();
    this.compaction.start();
    this.scrub.start();
    this.garbage.start();
    this.#arm();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#sweeping;
    await this.retention.close();
    await this.compaction.close();
    await this.scrub.close();
    await this.garbage.close();
  }

  #arm(): void {
    if (this.#closed) return;
    this.#timer = this.#env.clock.schedule(deadWalsMs, () => {
      this.#sweeping = this.#deadWals.sweep().then(
        () => this.#arm(),
        (cause: unknown) => this.#onFailure(cause as Error),
      );
    });
  }
}

/** Of a topic that was deleted meanwhile. */
const unknown = { start: ZERO_OFFSET, compacted: null };
