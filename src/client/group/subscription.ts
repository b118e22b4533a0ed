/**
 * What a member wants to read: topics by name, or all that an expression matches. Looks from time to time,
 * and tells when the group has to be assigned anew: another topic matches, or a topic has got partitions.
 */
import { sleep, type Timer } from "../../base/ports.ts";
import { isRetriable } from "../assignment.ts";
import type { Cluster } from "../cluster.ts";
import { NoBrokerError, NotKafkaError, UnknownTopicError } from "../errors.ts";
import type { RetryWatch } from "../retry-watch.ts";
import type { GroupSettings } from "./options.ts";

export interface SubscriptionAccess {
  readonly cluster: Cluster;
  readonly settings: GroupSettings;
  readonly watch: RetryWatch;
  readonly onChange: () => void;
  /** The leader answers for partitions that are added. */
  readonly isLeader: () => boolean;
}

export class Subscription {
  readonly #access: SubscriptionAccess;
  #topics: readonly string[] = [];
  /** Partitions by topic, as of the last look. */
  #counts = new Map<string, number>();
  #timer: Timer | undefined = undefined;
  #isClosed = false;

  constructor(access: SubscriptionAccess) {
    this.#access = access;
  }

  get topics(): readonly string[] {
    return this.#topics;
  }

  /** Rejects with `UnknownTopicError` for a name that is mistyped, and when no broker could be reached at all. */
  async start(): Promise<void> {
    const what = "find the topics of a group";
    const { watch, cluster } = this.#access;
    for (;;) {
      try {
        await this.#look();
        watch.succeeded(what);
        this.#schedule();
        return;
      } catch (cause) {
        const isUnreached = cause instanceof NoBrokerError || cause instanceof NotKafkaError;
        if (!isRetriable(cause) || isUnreached || this.#isClosed) throw cause;
        await sleep(cluster.settings.clock, watch.failed(what, cause));
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  /** Whether anything is other than before. */
  async #look(): Promise<boolean> {
    const { cluster, settings } = this.#access;
    const counts = new Map<string, number>();
    if (settings.topics === null) {
      for (const { name, isInternal, partitions } of await cluster.listTopics()) {
        if (!isInternal && settings.pattern?.test(name) === true) counts.set(name, partitions.length);
      }
    } else {
      const views = await Promise.all(settings.topics.map((topic) => cluster.askTopic(topic)));
      for (const { name, partitions } of views) counts.set(name, partitions.length);
    }
    const before = this.#counts;
    this.#counts = counts;
    this.#topics = settings.topics ?? [...counts.keys()].toSorted();
    const isOtherSet = counts.size !== before.size || [...counts.keys()].some((name) => !before.has(name));
    const isGrown = [...counts].some(([name, count]) => before.get(name) !== count);
    return isOtherSet || (isGrown && this.#access.isLeader());
  }

  #schedule(): void {
    if (this.#isClosed) return;
    const { cluster, settings, onChange, watch } = this.#access;
    const what = "look for topics and partitions that were added";
    this.#timer = cluster.settings.clock.schedule(settings.reading.refreshMs, () => {
      this.#look().then(
        (isOther) => {
          watch.succeeded(what);
          if (isOther && !this.#isClosed) onChange();
          this.#schedule();
        },
        (cause: unknown) => {
          // A topic that was deleted is told by who reads it; all else is tried again.
          if (!(cause instanceof UnknownTopicError)) watch.failed(what, cause as Error);
          this.#schedule();
        },
      );
    });
  }
}
