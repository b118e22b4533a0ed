/**
 * One worker's life in a share group (KIP-932): heartbeats say that it is there and what it wants, and are told which
 * partitions it shall take from. Nothing has to be let go of when those change: a message is the worker's by its lock,
 * not by its partition, so others may take from the same partition at the same time.
 */
import type { TopicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ShareGroupHeartbeat,
  type ShareGroupHeartbeatRequest,
  type ShareGroupHeartbeatResponse,
} from "../../protocol/messages/share-group-heartbeat.ts";
import { isRetriable } from "../assignment.ts";
import type { Cluster } from "../cluster.ts";
import type { Coordinator } from "../coordinator.ts";
import { BrokerRefusedError } from "../errors.ts";
import { leaveTimeoutMs } from "../group/member.ts";
import type { RetryWatch } from "../retry-watch.ts";
import type { ShareSettings } from "./options.ts";

/** Epochs with a meaning of their own. */
const joining = 0;
const leaving = -1;

/** Until the coordinator says how often. */
const firstIntervalMs = 1_000;
/** Who was given nothing yet asks again soon: brokers may decide about assignments a little later than they answer. */
const firstAskMs = 100;
const askTimes = 5;

export interface SharePlace {
  readonly topic: string;
  readonly topicId: TopicId;
  readonly partition: number;
}

export interface MembershipAccess {
  readonly cluster: Cluster;
  readonly coordinator: Coordinator;
  readonly settings: ShareSettings;
  readonly watch: RetryWatch;
  readonly memberId: string;
  /** Everything that the worker shall take from, from now on. */
  readonly onAssigned: (places: readonly SharePlace[]) => void;
  readonly onFailure: (cause: Error) => void;
}

export class ShareMembership {
  readonly #access: MembershipAccess;
  #epoch = joining;
  #intervalMs = firstIntervalMs;
  #timesAsked = 0;
  #count = 0;
  /** The next heartbeat says everything, since nobody knows what the coordinator heard of the last. */
  #saysAll = true;
  #isLeaving = false;
  /** A heartbeat is under way: behind it, the group may know of this worker. */
  #isBeating = false;
  #wake: () => void = () => undefined;
  #isStarted = false;

  constructor(access: MembershipAccess) {
    this.#access = access;
  }

  get epoch(): number {
    return this.#epoch;
  }

  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    void this.#live();
  }

  /** So that the group need not wait for the session's end. */
  async leave(): Promise<void> {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#wake();
    if (this.#epoch === joining && !this.#isBeating) return;
    // Whether it is heard or not, the worker is gone; the session's end tells the group as well.
    await this.#send({ ...this.#word(), memberEpoch: leaving }, leaveTimeoutMs).catch(() => undefined);
    this.#epoch = joining;
  }

  async #live(): Promise<void> {
    try {
      while (!this.#isLeaving) await this.#pause(await this.#beat());
    } catch (cause) {
      if (!this.#isLeaving) this.#access.onFailure(cause as Error);
    }
  }

  /** Resolves with how long to wait before the next, in ms. */
  async #beat(): Promise<number> {
    const { settings, cluster, watch, onAssigned } = this.#access;
    let answer: ShareGroupHeartbeatResponse;
    this.#isBeating = true;
    try {
      answer = await this.#send(this.#word(), cluster.settings.requestTimeoutMs);
    } catch (cause) {
      this.#saysAll = true;
      if (this.#isLeaving || !isRetriable(cause)) throw cause;
      return watch.failed(this.#what, cause);
    } finally {
      this.#isBeating = false;
    }
    if (this.#isLeaving) return 0;
    const { errorCode } = answer;
    if (errorCode === ErrorCode.UNKNOWN_MEMBER_ID || errorCode === ErrorCode.FENCED_MEMBER_EPOCH) {
      // The group thought it was dead. It joins again under the same name, so that locks which still hold stay its own.
      this.#epoch = joining;
      this.#saysAll = true;
      this.#timesAsked = 0;
      return watch.failed(this.#what, new BrokerRefusedError(this.#what, errorCode, answer.errorMessage));
    }
    if (errorCode !== ErrorCode.NONE) {
      throw new BrokerRefusedError(`Belonging to group ${settings.group}`, errorCode, answer.errorMessage);
    }
    watch.succeeded(this.#what);
    this.#saysAll = false;
    this.#epoch = answer.memberEpoch;
    this.#intervalMs = answer.heartbeatIntervalMs;
    if (answer.assignment !== null) {
      const { places, isComplete } = await this.#resolve(answer.assignment.topicPartitions);
      if (this.#isLeaving) return 0;
      // It is told again what it could not make out: else nobody would take from those partitions.
      if (!isComplete) this.#saysAll = true;
      this.#count = places.length;
      onAssigned(places);
    }
    if (this.#count > 0 || this.#timesAsked >= askTimes) return this.#intervalMs;
    return Math.min(this.#intervalMs, firstAskMs * 2 ** this.#timesAsked++);
  }

  #word(): ShareGroupHeartbeatRequest {
    const { settings, memberId } = this.#access;
    const all = this.#saysAll || this.#epoch === joining;
    return {
      groupId: settings.group,
      memberId,
      memberEpoch: this.#epoch,
      rackId: all ? settings.rack : null,
      subscribedTopicNames: all ? settings.topics : null,
    };
  }

  #send(request: ShareGroupHeartbeatRequest, timeoutMs: number): Promise<ShareGroupHeartbeatResponse> {
    return this.#access.coordinator.call(ShareGroupHeartbeat, request, {
      what: this.#what,
      codeOf: ({ errorCode }) => errorCode,
      again: () => undefined,
      timeoutMs,
    });
  }

  /** Topics are told by their ids; the broker that was asked for them may know of less, or of other ones, yet. */
  async #resolve(
    told: NonNullable<ShareGroupHeartbeatResponse["assignment"]>["topicPartitions"],
  ): Promise<{ readonly places: readonly SharePlace[]; readonly isComplete: boolean }> {
    const { cluster, settings, watch } = this.#access;
    const names = new Map<TopicId, string>();
    const learn = (): void => {
      for (const topic of settings.topics) {
        const view = cluster.peek(topic);
        if (view !== undefined) names.set(view.id, topic);
      }
    };
    learn();
    if (told.some(({ topicId }) => !names.has(topicId))) {
      const asked = settings.topics.map((topic) => cluster.askTopic(topic));
      for (const result of await Promise.allSettled(asked)) {
        if (result.status === "rejected" && isRetriable(result.reason))
          watch.failed(this.#what, result.reason);
      }
      learn();
    }
    const places = told.flatMap(({ topicId, partitions }) => {
      const topic = names.get(topicId);
      return topic === undefined ? [] : partitions.map((partition) => ({ topic, topicId, partition }));
    });
    return { places, isComplete: told.every(({ topicId }) => names.has(topicId)) };
  }

  #pause(ms: number): Promise<void> {
    if (this.#isLeaving || ms <= 0) return Promise.resolve();
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
    return `The heartbeat of share group ${this.#access.settings.group}`;
  }
}
