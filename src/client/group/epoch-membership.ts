/**
 * One member's life in a group of the new protocol (KIP-848): heartbeats say everything. The coordinator
 * decides who gets what and tells each member its own part; the member lets go of what is not its any
 * more, says so, and is then given what others let go of. Its epoch fences its commits.
 */
import { partitionIndex, type TopicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ConsumerGroupHeartbeat,
  type ConsumerGroupHeartbeatRequest,
  type ConsumerGroupHeartbeatResponse,
} from "../../protocol/messages/consumer-group-heartbeat.ts";
import { isRetriable } from "../assignment.ts";
import { BrokerRefusedError, UnknownTopicError } from "../errors.ts";
import { nameOf, type TopicPartition } from "./assignor.ts";
import { FencedMemberError } from "./errors.ts";
import { byTopic } from "./leader.ts";
import { type Identity, leaveTimeoutMs, type Member, type MemberAccess, without } from "./member.ts";

/** Epochs with a meaning of their own. */
const joining = 0;
const leaving = -1;
/** A static member goes, and its partitions wait for it until its session ends. */
const leavingForNow = -2;

/**
 * Apache Kafka decides about assignments once a second, and tells them with a later heartbeat. A member that
 * has just joined and has nothing asks again soon: first after so long, then after twice as long, so many
 * times. After that nothing is for it.
 */
const firstAskMs = 100;
const askTimes = 5;

type Told = NonNullable<ConsumerGroupHeartbeatResponse["assignment"]>["topicPartitions"];

export class EpochMembership implements Member {
  readonly #access: MemberAccess;
  /** Its own choice, and the same for its whole life. */
  readonly #memberId: string;
  #epoch = joining;
  #intervalMs: number;
  /** What the coordinator says that the member shall have; `undefined`: nothing was said yet. */
  #target: readonly TopicPartition[] | undefined = undefined;
  /** The next heartbeat says everything, since nobody knows what the coordinator heard of the last. */
  #saysAll = true;
  /** What was said last, by name. */
  #saidOwned = "";
  #saidTopics = "";
  /** Since it joined, while it was given nothing. */
  #timesAsked = 0;
  #isReconciling = false;
  #confirmedMs = Number.NEGATIVE_INFINITY;
  /** Since when another process holds the instance id; `undefined`: none does. */
  #refusedSinceMs: number | undefined = undefined;
  #isStarted = false;
  #isLeaving = false;
  #isOver = false;
  #isPoked = false;
  #wake: () => void = () => undefined;

  constructor(access: MemberAccess) {
    this.#access = access;
    this.#memberId = Buffer.from(access.cluster.settings.random.bytes(16)).toString("base64url");
    this.#intervalMs = access.settings.heartbeatIntervalMs;
  }

  /** The coordinator notices by itself when topics get partitions. */
  readonly isLeader = false;

  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    void this.#live();
  }

  get identity(): Identity | undefined {
    const { instanceId } = this.#access.settings;
    if (this.#epoch <= joining) return undefined;
    return { memberId: this.#memberId, generation: this.#epoch, instanceId };
  }

  get isStable(): boolean {
    if (this.#epoch <= joining || this.#target === undefined || this.#isReconciling) return false;
    return this.#target.length > 0 || this.#timesAsked >= askTimes;
  }

  get isAlive(): boolean {
    const { cluster, settings } = this.#access;
    return cluster.settings.clock.monotonicMs() - this.#confirmedMs < settings.sessionTimeoutMs;
  }

  rejoin(): void {
    this.#poke();
  }

  suspect(_code: number, generation: number): void {
    if (generation === this.#epoch) this.#poke();
  }

  async leave(): Promise<void> {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#wake();
    if (!this.#isStarted || this.#isOver) return;
    const isStatic = this.#access.settings.instanceId !== null;
    const farewell = { ...this.#word(), memberEpoch: isStatic ? leavingForNow : leaving };
    // Whether it is heard or not, the member is gone; the session's end tells the group as well.
    await this.#send(farewell, leaveTimeoutMs).catch(() => undefined);
    this.#epoch = joining;
  }

  async #live(): Promise<void> {
    try {
      while (!this.#isLeaving) await this.#pause(await this.#beat());
    } catch (cause) {
      if (this.#isLeaving) return;
      this.#isOver = true;
      await this.#lose();
      this.#access.onFailure(cause as Error);
    }
  }

  /** Resolves with how long to wait before the next, in ms. */
  async #beat(): Promise<number> {
    const { settings, cluster, watch, owned, topics, onChange } = this.#access;
    const { clock, requestTimeoutMs } = cluster.settings;
    const request = this.#word();
    const ownedNow = namesOf(owned());
    const topicsNow = topics().join("\n");
    this.#isPoked = false;
    const sentMs = clock.monotonicMs();
    let answer: ConsumerGroupHeartbeatResponse;
    try {
      answer = await this.#send(request, Math.min(requestTimeoutMs, settings.sessionTimeoutMs));
    } catch (cause) {
      this.#saysAll = true;
      if (this.#isLeaving || !isRetriable(cause)) throw cause;
      return watch.failed(this.#what, cause);
    }
    if (this.#isLeaving) return 0;
    if (answer.errorCode !== ErrorCode.NONE) return this.#refused(answer);
    watch.succeeded(this.#what);
    this.#refusedSinceMs = undefined;
    this.#saysAll = false;
    this.#saidOwned = ownedNow;
    this.#saidTopics = topicsNow;
    this.#confirmedMs = sentMs;
    this.#epoch = answer.memberEpoch;
    this.#intervalMs = answer.heartbeatIntervalMs;
    if (answer.assignment !== null) this.#target = await this.#resolve(answer.assignment.topicPartitions);
    void this.#reconcile();
    const waitMs = this.#target?.length === 0 ? this.#askAgainMs() : this.#intervalMs;
    onChange();
    return waitMs;
  }

  #askAgainMs(): number {
    if (this.#timesAsked >= askTimes) return this.#intervalMs;
    return Math.min(this.#intervalMs, firstAskMs * 2 ** this.#timesAsked++);
  }

  async #refused({ errorCode, errorMessage }: ConsumerGroupHeartbeatResponse): Promise<number> {
    const { settings, cluster, watch } = this.#access;
    const nowMs = cluster.settings.clock.monotonicMs();
    const cause = new BrokerRefusedError(`Belonging to group ${settings.group}`, errorCode, errorMessage);
    this.#saysAll = true;
    switch (errorCode) {
      case ErrorCode.UNKNOWN_MEMBER_ID:
      case ErrorCode.FENCED_MEMBER_EPOCH:
        await this.#lose();
        return 0;
      case ErrorCode.UNRELEASED_INSTANCE_ID:
        // One that died holds it until its session ends; one that lives holds it for good.
        this.#refusedSinceMs ??= nowMs;
        if (nowMs - this.#refusedSinceMs > settings.sessionTimeoutMs + settings.rebalanceTimeoutMs)
          throw cause;
        return watch.failed(this.#what, cause);
      case ErrorCode.FENCED_INSTANCE_ID:
        throw new FencedMemberError(settings.group, settings.instanceId ?? "");
      default:
        throw cause;
    }
  }

  /** What it has is somebody else's by now, for all it knows. */
  async #lose(): Promise<void> {
    const { owned, release } = this.#access;
    this.#epoch = joining;
    this.#target = undefined;
    this.#timesAsked = 0;
    if (owned().length > 0) await release(owned(), "lost");
  }

  /** What is to be said now. What did not change since it was heard is left out. */
  #word(): ConsumerGroupHeartbeatRequest {
    const { settings, topics, owned } = this.#access;
    const all = this.#saysAll || this.#epoch === joining;
    const saysTopics = all || topics().join("\n") !== this.#saidTopics;
    const saysOwned = all || namesOf(owned()) !== this.#saidOwned;
    return {
      groupId: settings.group,
      memberId: this.#memberId,
      memberEpoch: this.#epoch,
      instanceId: settings.instanceId,
      rackId: all ? settings.rack : null,
      rebalanceTimeoutMs: all ? settings.rebalanceTimeoutMs : -1,
      subscribedTopicNames: saysTopics ? topics() : null,
      subscribedTopicRegex: null,
      serverAssignor: all ? settings.serverAssignor : null,
      topicPartitions: saysOwned ? this.#owned() : null,
    };
  }

  #owned(): Told {
    const { cluster, owned } = this.#access;
    // Who joins has nothing yet.
    if (this.#epoch === joining) return [];
    return byTopic(owned()).flatMap(({ topic, partitions }) => {
      const topicId = cluster.peek(topic)?.id;
      return topicId === undefined ? [] : [{ topicId, partitions: partitions.map(partitionIndex) }];
    });
  }

  #send(request: ConsumerGroupHeartbeatRequest, timeoutMs: number): Promise<ConsumerGroupHeartbeatResponse> {
    return this.#access.coordinator.call(ConsumerGroupHeartbeat, request, {
      what: this.#what,
      codeOf: ({ errorCode }) => (errorCode === ErrorCode.UNRELEASED_INSTANCE_ID ? 0 : errorCode),
      again: () => undefined,
      timeoutMs,
    });
  }

  /** Topics are told by their ids. One that is gone again is left out; so it is let go of. */
  async #resolve(told: Told): Promise<readonly TopicPartition[]> {
    const { cluster, topics, watch } = this.#access;
    const names = new Map<TopicId, string>();
    const learn = (): void => {
      for (const topic of topics()) {
        const view = cluster.peek(topic);
        if (view !== undefined) names.set(view.id, topic);
      }
    };
    learn();
    if (told.some(({ topicId }) => !names.has(topicId))) {
      const asked = topics().map((topic) => cluster.askTopic(topic));
      for (const result of await Promise.allSettled(asked)) {
        if (result.status === "fulfilled" || result.reason instanceof UnknownTopicError) continue;
        watch.failed(this.#what, result.reason as Error);
        // Nothing is let go of because nobody could be asked for a name: the next answer tells it again.
        this.#saysAll = true;
        return this.#target ?? [];
      }
      learn();
    }
    return told.flatMap(({ topicId, partitions }) => {
      const topic = names.get(topicId);
      return topic === undefined ? [] : partitions.map((partition) => ({ topic, partition }));
    });
  }

  /** Until it has what it shall have, as of then. Heartbeats go on meanwhile. */
  async #reconcile(): Promise<void> {
    if (this.#isReconciling) return;
    const { owned, release, onAssigned, onChange } = this.#access;
    this.#isReconciling = true;
    while (this.#target !== undefined && !this.#isLeaving) {
      const target = this.#target;
      const gone = without(owned(), target);
      const added = without(target, owned());
      if (gone.length === 0 && added.length === 0) break;
      if (gone.length > 0) await release(gone, "revoked");
      // Something else may have been said meanwhile.
      else onAssigned(added);
      this.#poke();
    }
    this.#isReconciling = false;
    onChange();
  }

  /** The next heartbeat leaves now. */
  #poke(): void {
    this.#isPoked = true;
    this.#wake();
  }

  #pause(ms: number): Promise<void> {
    if (this.#isPoked || this.#isLeaving || ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.#wake = () => undefined;
        resolve();
      };
      const timer = this.#access.cluster.settings.clock.schedule(ms, wake);
      this.#wake = wake;
    });
  }

  get #what(): string {
    return `The heartbeat of group ${this.#access.settings.group}`;
  }
}

const namesOf = (parts: readonly TopicPartition[]): string => parts.map(nameOf).toSorted().join("\n");
