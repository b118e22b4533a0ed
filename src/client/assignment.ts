/**
 * The partitions that a consumer reads: finds them, who leads each and where reading begins, and notices
 * when a topic grows, goes away, or is another one under the same name. What a broker may mend by itself
 * is tried again for as long as it takes; what it cannot makes the partition stand still with an error.
 */
import { type LeaderEpoch, NO_TOPIC_ID, type Offset } from "../base/ids.ts";
import { sleep } from "../base/ports.ts";
import { AssignedPartition } from "./assigned-partition.ts";
import type { Cluster, TopicView } from "./cluster.ts";
import { ConsumerUsageError, type LossReason, LostPositionError } from "./consumer-errors.ts";
import type { ConsumerSettings, PartitionRef, StartingPoint } from "./consumer-options.ts";
import { NoBrokerError, NotKafkaError, UnknownPartitionError, UnknownTopicError } from "./errors.ts";
import type { Links } from "./links.ts";
import type { RetryWatch } from "./retry-watch.ts";
import { findPlaces, type Place } from "./starting-points.ts";

export interface AssignmentAccess {
  readonly cluster: Cluster;
  /** For questions; fetches have links of their own, since one that waits holds up what is behind it. */
  readonly links: Links;
  readonly settings: ConsumerSettings;
  readonly watch: RetryWatch;
  /** Something can be fetched, or has failed. */
  readonly onChange: () => void;
}

/** How long one attempt to reach a broker may search before it counts as failed, in ms. */
const searchMs = 1_000;

export class Assignment {
  readonly #access: AssignmentAccess;
  readonly partitions: AssignedPartition[] = [];
  #failed: readonly AssignedPartition[] = [];
  readonly #byName = new Map<string, AssignedPartition>();
  /** Of the settings, and of what was taken. */
  readonly #topics: Set<string>;
  /** Rises when partitions are added or taken away. */
  changes = 0;
  readonly #rechecking = new Set<string>();
  #isPlacing = false;
  #isStarted = false;
  #isClosed = false;
  #stopListening: () => void = () => undefined;

  constructor(access: AssignmentAccess) {
    this.#access = access;
    this.#topics = new Set(access.settings.topics);
  }

  /**
   * Finds the partitions and where to begin. Rejects with `UnknownTopicError`, `UnknownPartitionError`,
   * `BrokerRefusedError`, or, when no broker could be reached at all, `NoBrokerError`.
   */
  async start(): Promise<void> {
    const { cluster, settings } = this.#access;
    for (const topic of settings.topics) this.#adopt(await this.#findTopic(topic), "first");
    this.#stopListening = cluster.onChange(() => this.#onMetadata());
    this.#isStarted = true;
    await this.#place();
  }

  close(): void {
    this.#isClosed = true;
    this.#stopListening();
  }

  /**
   * Reads one more partition, after `start`; it fails by itself when the topic does not have it. `epoch`: of
   * the record before an offset to begin at.
   */
  take(view: TopicView, index: number, from: StartingPoint, epoch?: LeaderEpoch): AssignedPartition {
    const taken = new AssignedPartition(view.name, index, view.id, from, epoch);
    this.#topics.add(view.name);
    this.#add(taken);
    this.#follow(taken, view);
    return taken;
  }

  /** Does not read it any more. */
  drop(partition: AssignedPartition): void {
    const index = this.partitions.indexOf(partition);
    if (index < 0) return;
    this.partitions.splice(index, 1);
    this.#byName.delete(partition.name);
    this.changes++;
    partition.withdraw();
    if (this.partitions.some(({ topic }) => topic === partition.topic)) return;
    if (!this.#access.settings.topics.includes(partition.topic)) this.#topics.delete(partition.topic);
  }

  #add(partition: AssignedPartition): void {
    this.#byName.set(partition.name, partition);
    this.partitions.push(partition);
    this.changes++;
  }

  /** Those that stand still with an error. */
  get failed(): readonly AssignedPartition[] {
    return this.#failed;
  }

  /** After a partition failed, or was moved. */
  noteFailures(): void {
    this.#failed = this.partitions.filter(({ state }) => state.kind === "failed");
  }

  /** Throws `ConsumerUsageError` when it is not read by this consumer. */
  find(ref: PartitionRef): AssignedPartition {
    const topic = ref.topic ?? (this.#topics.size === 1 ? [...this.#topics][0] : undefined);
    if (topic === undefined) {
      throw new ConsumerUsageError(
        `The consumer reads several topics; say which partition ${ref.partition}.`,
      );
    }
    const found = this.#byName.get(`${topic}/${ref.partition}`);
    if (found === undefined) {
      const state = this.#isStarted
        ? "is not read by this consumer"
        : "is not known yet: await ready() first";
      throw new ConsumerUsageError(`${topic}/${ref.partition} ${state}.`);
    }
    return found;
  }

  /** Looks up the starting points that are not known yet; one round at a time. */
  placeUnplaced(): void {
    if (this.#isPlacing || this.#isClosed || !this.#isStarted) return;
    if (this.partitions.some(({ state }) => state.kind === "unplaced")) void this.#place();
  }

  /** What is known of a topic turned out to be wrong: asks until it is right, or the topic is gone. */
  recheck(topic: string): void {
    if (this.#rechecking.has(topic) || this.#isClosed) return;
    this.#rechecking.add(topic);
    void this.#recheck(topic).finally(() => this.#rechecking.delete(topic));
  }

  /** The records at the place of the next fetch are gone: an error, or a jump if the settings say so. */
  assessLoss(partition: AssignedPartition, reason: LossReason | undefined): void {
    const { generation } = partition;
    partition.inquiries++;
    void this.#persist(`look up the range of ${partition.name}`, partition, async () => {
      const place = await this.#range(partition);
      if (partition.generation !== generation || this.#isClosed) return;
      const at = partition.fetchOffset;
      // A log that has grown to the position since the broker refused it is read on. One that refuses it again
      // knows nothing of the epoch of the record before it.
      const isThere = reason === undefined && place.start <= at && at <= place.end;
      if (isThere && (partition.fetchEpoch < 0 || partition.refusedAt !== at)) {
        partition.refusedAt = at;
        return;
      }
      this.#lose(partition, isThere ? "truncated" : (reason ?? lossReason(partition, place)), place);
    }).finally(() => {
      partition.inquiries--;
      this.#changed();
    });
  }

  async #findTopic(topic: string): Promise<TopicView> {
    const { cluster, watch } = this.#access;
    const operation = `find topic ${topic}`;
    for (;;) {
      try {
        const view = await cluster.askTopic(topic);
        watch.succeeded(operation);
        return view;
      } catch (cause) {
        const isUnreached = cause instanceof NoBrokerError || cause instanceof NotKafkaError;
        if (!isRetriable(cause) || isUnreached || this.#isClosed) throw cause;
        await this.#pause(watch.failed(operation, cause, { topic }));
      }
    }
  }

  /** Partitions of a topic that are to be read and are not yet. */
  #adopt(view: TopicView, when: "first" | "later"): void {
    const { settings } = this.#access;
    for (const { partition, from } of this.#wanted(view, when)) {
      const name = `${view.name}/${partition}`;
      if (this.#byName.has(name)) continue;
      const adopted = new AssignedPartition(view.name, partition, view.id, from);
      this.#add(adopted);
      this.#follow(adopted, view);
      // Reading up to the end as of the beginning has no place for what came later.
      if (when === "later" && settings.until === "end") adopted.state = { kind: "done" };
    }
  }

  #wanted(
    view: TopicView,
    when: "first" | "later",
  ): readonly { readonly partition: number; readonly from: StartingPoint }[] {
    const { assignment, partitions, from } = this.#access.settings;
    if (assignment !== null) {
      const named = assignment.filter(({ topic }) => topic === view.name);
      return named.map(({ partition, from: own }) => ({ partition, from: own ?? from }));
    }
    if (partitions !== null) return partitions.map((partition) => ({ partition, from }));
    // All records of a partition that was added are younger than the consumer.
    return view.partitions.map(({ index }) => ({
      partition: index,
      from: when === "first" ? from : "start",
    }));
  }

  /** Takes over leader and epoch; false when the partition does not exist. */
  #follow(partition: AssignedPartition, view: TopicView): boolean {
    const found = view.partitions[partition.partition];
    if (found === undefined) {
      const count = view.partitions.length;
      partition.fail(new UnknownPartitionError(view.name, partition.partition, count));
      return false;
    }
    partition.leader = found.leader;
    partition.leaderEpoch = found.leaderEpoch;
    return true;
  }

  #onMetadata(): void {
    if (this.#isClosed) return;
    for (const topic of this.#topics) {
      const view = this.#access.cluster.peek(topic);
      if (view === undefined) {
        this.recheck(topic);
        continue;
      }
      const own = this.partitions.filter((partition) => partition.topic === topic);
      for (const partition of own) this.#update(partition, view);
      this.#adopt(view, "later");
    }
    this.#changed();
  }

  #update(partition: AssignedPartition, view: TopicView): void {
    const isOther = view.id !== partition.topicId && partition.topicId !== NO_TOPIC_ID;
    partition.topicId = view.id;
    if (partition.state.kind === "failed" && !isOther) return;
    if (!this.#follow(partition, view)) return;
    if (isOther && (partition.state.kind === "placed" || partition.state.kind === "failed")) {
      // No answer to a question about the other topic may still come in.
      partition.generation++;
      this.assessLoss(partition, "recreated");
    }
  }

  async #recheck(topic: string): Promise<void> {
    const { cluster, watch } = this.#access;
    const operation = `find topic ${topic}`;
    while (!this.#isClosed) {
      try {
        await cluster.askTopic(topic, { searchMs });
        watch.succeeded(operation, { topic });
        return;
      } catch (cause) {
        if (cause instanceof UnknownTopicError || !isRetriable(cause)) {
          if (!this.#isClosed) this.#failTopic(topic, cause as Error);
          return;
        }
        await this.#pause(watch.failed(operation, cause, { topic }));
      }
    }
  }

  #failTopic(topic: string, cause: Error): void {
    for (const partition of this.partitions) {
      if (partition.topic === topic && partition.state.kind !== "done") partition.fail(cause);
    }
    this.#changed();
  }

  async #place(): Promise<void> {
    this.#isPlacing = true;
    const { cluster, links, settings } = this.#access;
    const unplaced = this.partitions.flatMap((partition) =>
      partition.state.kind === "unplaced"
        ? [{ partition, generation: partition.generation, ...partition.state }]
        : [],
    );
    const withEnds = settings.until === "end";
    await this.#persist("look up where to begin", undefined, async () => {
      const questions = unplaced.map(({ partition: { topic, partition }, to }) => ({ topic, partition, to }));
      const { isolation } = settings;
      const places = await findPlaces({ cluster, links }, questions, { isolation, withEnds });
      for (const [index, { partition, generation, epoch }] of unplaced.entries()) {
        const place = places[index] as Place;
        if (partition.generation === generation) this.#settle(partition, place, withEnds, epoch);
      }
    }).catch((cause: unknown) => {
      for (const { partition, generation } of unplaced) {
        if (partition.generation === generation) partition.fail(cause as Error);
      }
    });
    this.#isPlacing = false;
    this.#changed();
  }

  #settle(
    partition: AssignedPartition,
    { at, range }: Place,
    withEnds: boolean,
    epoch: LeaderEpoch | undefined,
  ): void {
    const isFirst = partition.stopAt === Number.POSITIVE_INFINITY;
    if (withEnds && isFirst && range !== undefined) partition.stopAt = range.end;
    if (withEnds && range !== undefined && at > range.end) {
      partition.place(at);
      this.#lose(partition, "beyond-end", range);
      return;
    }
    partition.place(at, epoch);
  }

  async #range({ topic, partition }: AssignedPartition): Promise<{ start: Offset; end: Offset }> {
    const { cluster, links, settings } = this.#access;
    const questions = [{ topic, partition, to: "end" }] as const;
    const { isolation } = settings;
    const [place] = await findPlaces({ cluster, links }, questions, { isolation, withEnds: true });
    return (place as Place).range as { start: Offset; end: Offset };
  }

  #lose(
    partition: AssignedPartition,
    reason: LossReason,
    range: { readonly start: Offset; readonly end: Offset },
  ): void {
    const { topic, fetchOffset: at } = partition;
    const { onLostPosition, onSkipped, until } = this.#access.settings;
    const { start, end } = range;
    if (reason === "recreated" && until === "end") partition.stopAt = end;
    if (onLostPosition === "error") {
      const facts = { topic, partition: partition.partition, offset: at, reason };
      partition.fail(new LostPositionError({ ...facts, availableStart: start, availableEnd: end }));
      return;
    }
    const to = onLostPosition === "end" ? end : nearest(reason, range);
    partition.leap(to);
    onSkipped({ topic, partition: partition.partition, from: at, to, reason });
  }

  /** Tries until it is done. A failure that no broker mends by itself is the partition's, or is thrown. */
  async #persist(
    operation: string,
    partition: AssignedPartition | undefined,
    run: () => Promise<void>,
  ): Promise<void> {
    const { watch } = this.#access;
    while (!this.#isClosed) {
      try {
        await run();
        watch.succeeded(operation);
        return;
      } catch (cause) {
        if (this.#isClosed) return;
        if (!isRetriable(cause)) {
          if (partition === undefined) throw cause;
          partition.fail(cause as Error);
          return;
        }
        await this.#pause(watch.failed(operation, cause));
      }
    }
  }

  #changed(): void {
    this.noteFailures();
    this.#access.onChange();
  }

  #pause(ms: number): Promise<void> {
    return sleep(this.#access.cluster.settings.clock, ms);
  }
}

/** Where what was not read yet begins again. */
function nearest(
  reason: LossReason,
  { start, end }: { readonly start: Offset; readonly end: Offset },
): Offset {
  return reason === "truncated" || reason === "beyond-end" ? end : start;
}

function lossReason(partition: AssignedPartition, range: { readonly start: Offset }): LossReason {
  if (partition.fetchOffset < range.start) return "trimmed";
  return partition.fetchEpoch >= 0 ? "truncated" : "beyond-end";
}

/** Whether a broker that was reached before may get over it: also one that ends each connection for a while. */
export function isRetriable(cause: unknown): cause is Error {
  if (cause instanceof NotKafkaError) return true;
  return cause instanceof Error && (cause as { readonly retriable?: unknown }).retriable === true;
}
