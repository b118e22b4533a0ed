/**
 * One member's life in a group of the classic protocol: join, be assigned, stay, join again, leave
 * (KIP-345, KIP-394, KIP-429). It decides when partitions come and go; what that means for records and
 * commits is its owner's. It promises that its owner has let go of a partition, or was told that it is
 * lost, before the group can give it to another member because this one said so.
 */
import { sleep } from "../../base/ports.ts";
import {
  consumerProtocolType,
  decodeAssignment,
  encodeSubscription,
} from "../../protocol/consumer-protocol.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Heartbeat } from "../../protocol/messages/heartbeat.ts";
import { JoinGroup, type JoinGroupResponse } from "../../protocol/messages/join-group.ts";
import { LeaveGroup } from "../../protocol/messages/leave-group.ts";
import { SyncGroup, type SyncGroupRequest } from "../../protocol/messages/sync-group.ts";
import { isRetriable } from "../assignment.ts";
import { BrokerRefusedError } from "../errors.ts";
import type { Assignor } from "./assignor.ts";
import type { CoordinatorCall } from "../coordinator.ts";
import { FencedMemberError } from "./errors.ts";
import { Heart } from "./heart.ts";
import { assignmentsFor, byTopic } from "./leader.ts";
import { type Identity, leaveTimeoutMs, type Member, type MemberAccess, without } from "./member.ts";

const noGeneration = -1;

export class ClassicMembership implements Member {
  readonly #access: MemberAccess;
  readonly #heart: Heart;
  #memberId = "";
  #generation = noGeneration;
  /** As it was given what it owns. */
  #assignor: Assignor | undefined = undefined;
  #isLeader = false;
  /** Neither joining nor waiting for the leader's word. */
  #isStable = false;
  /** What is to be done about the group's news; the gravest counts. */
  #verdict: number = ErrorCode.NONE;
  #wake: () => void = () => undefined;
  #isLeaving = false;
  #isStarted = false;

  constructor(access: MemberAccess) {
    this.#access = access;
    const { settings, cluster, watch } = access;
    this.#heart = new Heart({
      clock: cluster.settings.clock,
      intervalMs: settings.heartbeatIntervalMs,
      sessionMs: settings.sessionTimeoutMs,
      beat: () => this.#beat(),
      onVerdict: (code) => this.#hear(code),
      onFailure: (cause) => void watch.failed(this.#beating, cause),
      onBeat: () => access.onChange(),
    });
  }

  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    void this.#live();
  }

  get identity(): Identity | undefined {
    if (this.#generation === noGeneration) return undefined;
    return {
      memberId: this.#memberId,
      generation: this.#generation,
      instanceId: this.#access.settings.instanceId,
    };
  }

  get isStable(): boolean {
    return this.#isStable;
  }

  get isLeader(): boolean {
    return this.#isLeader;
  }

  get isAlive(): boolean {
    return this.#heart.isAlive;
  }

  rejoin(): void {
    this.#hear(ErrorCode.REBALANCE_IN_PROGRESS);
  }

  suspect(code: number, generation: number): void {
    if (generation === this.#generation && this.#isStable) this.#hear(code);
  }

  /** Leaves, so that the others need not wait for the session's end; a static member only stops (KIP-345). */
  async leave(): Promise<void> {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#heart.stop();
    this.#wake();
    const { coordinator, settings } = this.#access;
    coordinator.interrupt();
    if (this.#memberId === "" || settings.instanceId !== null) return;
    const member = { memberId: this.#memberId, groupInstanceId: null, reason: "the consumer is closed" };
    const request = { groupId: settings.group, memberId: "", members: [member] };
    const what = `Leaving group ${settings.group}`;
    const again = (): undefined => undefined;
    const options = { what, codeOf: () => ErrorCode.NONE, again, timeoutMs: leaveTimeoutMs };
    // Whether it is heard or not, the member is gone; the session's end tells the others as well.
    await coordinator.call(LeaveGroup, request, options).catch(() => undefined);
    this.#generation = noGeneration;
  }

  async #live(): Promise<void> {
    try {
      while (!this.#isLeaving) {
        await this.#prepare();
        if (this.#isLeaving) return;
        const joined = await this.#join();
        if (joined === undefined) continue;
        if (await this.#sync(joined)) await this.#untilVerdict();
      }
    } catch (cause) {
      if (this.#isLeaving) return;
      this.#heart.stop();
      this.#isStable = false;
      await this.#lose();
      this.#access.onFailure(cause as Error);
    }
  }

  /** Lets go of what must not be owned while the group is assigned anew. */
  async #prepare(): Promise<void> {
    const verdict = this.#verdict;
    this.#verdict = ErrorCode.NONE;
    const { settings, owned, release } = this.#access;
    switch (verdict) {
      case ErrorCode.UNKNOWN_MEMBER_ID:
        this.#memberId = "";
        await this.#lose();
        break;
      case ErrorCode.ILLEGAL_GENERATION:
        await this.#lose();
        break;
      case ErrorCode.FENCED_INSTANCE_ID:
        throw new FencedMemberError(settings.group, settings.instanceId ?? "");
      case ErrorCode.NONE:
      case ErrorCode.REBALANCE_IN_PROGRESS:
        // Heartbeats go on meanwhile, and the group waits.
        if (!settings.isCooperative && owned().length > 0) await release(owned(), "revoked");
        break;
      default:
        throw new BrokerRefusedError(`The heartbeat of group ${settings.group}`, verdict);
    }
    // What was heard while letting go is answered by joining, unless it says that nothing was owned any more.
    if (this.#verdict === ErrorCode.REBALANCE_IN_PROGRESS) this.#verdict = ErrorCode.NONE;
    if (this.#verdict !== ErrorCode.NONE) await this.#prepare();
  }

  async #lose(): Promise<void> {
    const { owned, release } = this.#access;
    this.#generation = noGeneration;
    if (owned().length > 0) await release(owned(), "lost");
  }

  /** `undefined`: to be tried again at once. */
  async #join(): Promise<JoinGroupResponse | undefined> {
    const { settings, topics, owned, cluster } = this.#access;
    const { group, instanceId, rack, assignors, rebalanceTimeoutMs, sessionTimeoutMs } = settings;
    this.#isStable = false;
    this.#heart.stop();
    const metadata = encodeSubscription({
      topics: topics(),
      userData: null,
      ownedPartitions: byTopic(owned()),
      generationId: this.#generation,
      rackId: rack,
    });
    const request = {
      groupId: group,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      memberId: this.#memberId,
      groupInstanceId: instanceId,
      protocolType: consumerProtocolType,
      protocols: assignors.map(({ name }) => ({ name, metadata })),
      reason: null,
    };
    const answer = await this.#access.coordinator.call(JoinGroup, request, {
      ...this.#patiently(`Joining group ${group}`),
      codeOf: ({ errorCode }) => errorCode,
      waits: true,
      timeoutMs: rebalanceTimeoutMs + cluster.settings.requestTimeoutMs,
    });
    switch (answer.errorCode) {
      case ErrorCode.NONE:
        this.#memberId = answer.memberId;
        this.#generation = answer.generationId;
        this.#isLeader = answer.leader === answer.memberId;
        return answer;
      case ErrorCode.MEMBER_ID_REQUIRED:
        this.#memberId = answer.memberId;
        return undefined;
      case ErrorCode.UNKNOWN_MEMBER_ID:
      case ErrorCode.ILLEGAL_GENERATION:
      case ErrorCode.REBALANCE_IN_PROGRESS:
      case ErrorCode.FENCED_INSTANCE_ID:
        this.#verdict = answer.errorCode;
        return undefined;
      default:
        throw new BrokerRefusedError(
          `Joining group ${group}`,
          answer.errorCode,
          this.#hintFor(answer.errorCode),
        );
    }
  }

  /** False: the group has moved on, and must be joined again. */
  async #sync(joined: JoinGroupResponse): Promise<boolean> {
    const { settings, cluster, coordinator } = this.#access;
    const { group, assignors, instanceId, rebalanceTimeoutMs } = settings;
    const assignor = assignors.find(({ name }) => name === joined.protocolName);
    const isToAssign = this.#isLeader && !joined.skipAssignment && assignor !== undefined;
    const assignments = isToAssign ? await this.#assign(assignor, joined) : [];
    if (assignments === undefined) return false;
    const sentMs = cluster.settings.clock.monotonicMs();
    const request = {
      groupId: group,
      generationId: this.#generation,
      memberId: this.#memberId,
      groupInstanceId: instanceId,
      protocolType: consumerProtocolType,
      protocolName: joined.protocolName,
      assignments,
    };
    const answer = await coordinator.call(SyncGroup, request, {
      ...this.#patiently(`Being assigned by group ${group}`),
      codeOf: ({ errorCode }) => errorCode,
      waits: true,
      timeoutMs: rebalanceTimeoutMs + cluster.settings.requestTimeoutMs,
    });
    switch (answer.errorCode) {
      case ErrorCode.NONE:
        break;
      case ErrorCode.UNKNOWN_MEMBER_ID:
      case ErrorCode.ILLEGAL_GENERATION:
      case ErrorCode.REBALANCE_IN_PROGRESS:
      case ErrorCode.FENCED_INSTANCE_ID:
        this.#verdict = answer.errorCode;
        return false;
      default:
        throw new BrokerRefusedError(`Being assigned by group ${group}`, answer.errorCode);
    }
    if (this.#isLeaving) return false;
    this.#assignor = assignor;
    this.#isStable = true;
    this.#heart.start(sentMs);
    return this.#take(answer.assignment);
  }

  /** `undefined`: the topics could not be looked up now, and the group is to come together once more. */
  async #assign(
    assignor: Assignor,
    { members }: JoinGroupResponse,
  ): Promise<SyncGroupRequest["assignments"] | undefined> {
    const { cluster, watch, settings } = this.#access;
    const what = `look up the topics of group ${settings.group}`;
    try {
      const assignments = await assignmentsFor(cluster, assignor, members);
      watch.succeeded(what);
      return assignments;
    } catch (cause) {
      if (!isRetriable(cause)) throw cause;
      await sleep(cluster.settings.clock, watch.failed(what, cause));
      return undefined;
    }
  }

  /** False: something was let go of, and the group is to give it to another. */
  async #take(assignment: Uint8Array): Promise<boolean> {
    const { owned, onAssigned, release, onChange } = this.#access;
    const { assignedPartitions } =
      assignment.byteLength === 0 ? { assignedPartitions: [] } : decodeAssignment(assignment);
    const assigned = assignedPartitions.flatMap(({ topic, partitions }) =>
      partitions.map((partition) => ({ topic, partition })),
    );
    const before = owned();
    const gone = without(before, assigned);
    onAssigned(without(assigned, before));
    onChange();
    if (gone.length === 0) return true;
    await release(gone, "revoked");
    return this.#assignor?.isCooperative !== true;
  }

  #untilVerdict(): Promise<void> {
    if (this.#verdict !== ErrorCode.NONE || this.#isLeaving) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #hear(code: number): void {
    // That the group rebalances is no news to a member that is out of it.
    if (code === ErrorCode.REBALANCE_IN_PROGRESS && this.#verdict !== ErrorCode.NONE) return;
    this.#verdict = code;
    this.#wake();
  }

  async #beat(): Promise<number> {
    const { settings, coordinator, cluster, watch } = this.#access;
    const request = {
      groupId: settings.group,
      generationId: this.#generation,
      memberId: this.#memberId,
      groupInstanceId: settings.instanceId,
    };
    const timeoutMs = Math.min(cluster.settings.requestTimeoutMs, settings.sessionTimeoutMs);
    const again = (): undefined => undefined;
    const options = {
      what: this.#beating,
      codeOf: (answer: { readonly errorCode: number }): number => answer.errorCode,
      again,
      timeoutMs,
    };
    const { errorCode } = await coordinator.call(Heartbeat, request, options);
    watch.succeeded(this.#beating);
    return errorCode;
  }

  get #beating(): string {
    return `The heartbeat of group ${this.#access.settings.group}`;
  }

  /** For as long as it takes. */
  #patiently(what: string): Pick<CoordinatorCall<unknown>, "what" | "again"> {
    const { watch } = this.#access;
    return { what, again: (cause) => (this.#isLeaving ? undefined : watch.failed(what, cause)) };
  }

  #hintFor(code: number): string | null {
    const names = this.#access.settings.assignors.map(({ name }) => name).join(", ");
    return code === ErrorCode.INCONSISTENT_GROUP_PROTOCOL
      ? `its members have no assignor in common with this one, which offers ${names} (option assignors), or are no consumers`
      : null;
  }
}
