/**
 * Simulated members of a group that reads one topic, one class for each protocol. Now and then one of them
 * is gone without a word, or sleeps longer than its session. They end when the whole group has committed
 * everything.
 */
import { partitionIndex, type TopicId } from "../base/ids.ts";
import { decodeAssignment, encodeAssignment, encodeSubscription } from "../protocol/consumer-protocol.ts";
import { ErrorCode, errorFacts } from "../protocol/errors.ts";
import { ConsumerGroupHeartbeat } from "../protocol/messages/consumer-group-heartbeat.ts";
import { Heartbeat } from "../protocol/messages/heartbeat.ts";
import { JoinGroup } from "../protocol/messages/join-group.ts";
import { LeaveGroup } from "../protocol/messages/leave-group.ts";
import { SyncGroup } from "../protocol/messages/sync-group.ts";
import type { Actor } from "./actor.ts";
import { Disconnected, type Caller } from "./client.ts";
import { GroupReader, type MemberOptions } from "./group-reader.ts";
import { TransformingReader } from "./transforming-reader.ts";

const joinVersion = 9;
const syncVersion = 5;
const heartbeatVersion = 4;
const leaveVersion = 5;
const consumerVersion = 1;

/** Rounds of reading between two heartbeats, as long as the session allows. */
async function rounds(actor: Actor, reader: GroupReader, client: Caller, sessionMs: number): Promise<void> {
  const until = actor.clock.monotonicMs() + sessionMs / 5;
  do await reader.read(client);
  while (actor.clock.monotonicMs() < until && actor.random.below(4) > 0);
  // As a stopped process, or a long collection of garbage.
  if (actor.random.below(150) === 0) await actor.wait(sessionMs * 3);
}

abstract class Member {
  protected readonly actor: Actor;
  protected readonly options: MemberOptions;
  protected reader: GroupReader;
  #lives = 0;
  /** Of what former lives left under way. */
  readonly #closing: Promise<void>[] = [];
  /** Under which id it asked last. */
  #asked = "";

  constructor(actor: Actor, options: MemberOptions) {
    this.actor = actor;
    this.options = options;
    this.reader = this.#born();
  }

  #born(): GroupReader {
    // As its transactions are called.
    const life = `.${++this.#lives}`;
    const { transform } = this.options;
    if (transform === undefined) return new GroupReader(this.actor, this.options, life);
    return new TransformingReader(this.actor, { ...this.options, transform }, life);
  }

  async run(isOver: () => boolean): Promise<void> {
    const { group, history } = this.options;
    while (!(isOver() && history.isDone(group))) {
      try {
        const client = await this.actor.connect(`member-${this.options.number}`);
        try {
          await this.session(client, () => isOver() && history.isDone(group));
        } finally {
          client.close();
        }
      } catch (cause) {
        if (!(cause instanceof Disconnected)) throw cause;
        await this.actor.pause(20);
      }
      if (this.reader.isLate) this.reader.drop();
      if (this.actor.hasDied() || this.reader.isDead || (!isOver() && this.actor.random.below(12) === 0))
        this.die();
    }
    this.reader.drop();
    await this.reader.close();
    await Promise.all(this.#closing);
  }

  /** The process ends; another one takes its place, and knows nothing. */
  protected die(): void {
    this.reader.drop();
    this.#closing.push(this.reader.close());
    this.reader = this.#born();
  }

  /** Whether it has never asked to be a member under this id. */
  protected isNew(memberId: string): boolean {
    const isNew = memberId !== this.#asked;
    this.#asked = memberId;
    return isNew;
  }

  /** One connection. */
  protected abstract session(client: Caller, isOver: () => boolean): Promise<void>;
}

export class ClassicMember extends Member {
  #memberId = "";

  protected override die(): void {
    super.die();
    this.#memberId = "";
  }

  protected override async session(client: Caller, isOver: () => boolean): Promise<void> {
    const { group, topic, sessionMs, history } = this.options;
    const subscription = {
      topics: [topic],
      userData: null,
      ownedPartitions: [],
      generationId: -1,
      rackId: null,
    };
    // Eager: whoever joins has nothing.
    this.reader.drop();
    const joinedMs = this.actor.clock.monotonicMs();
    const before = history.lifeBefore(group);
    const isNew = this.isNew(this.#memberId);
    const joined = await client.call(JoinGroup, joinVersion, {
      groupId: group,
      sessionTimeoutMs: sessionMs,
      rebalanceTimeoutMs: sessionMs * 2,
      memberId: this.#memberId,
      groupInstanceId: null,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: encodeSubscription(subscription) }],
      reason: null,
    });
    if (joined.errorCode === ErrorCode.MEMBER_ID_REQUIRED) {
      this.#memberId = joined.memberId;
      return;
    }
    if (joined.errorCode !== ErrorCode.NONE) return this.#refused(joined.errorCode);
    const told = { memberId: joined.memberId, epoch: joined.generationId };
    const synced = await client.call(SyncGroup, syncVersion, {
      groupId: group,
      generationId: told.epoch,
      memberId: told.memberId,
      groupInstanceId: null,
      protocolType: "consumer",
      protocolName: "range",
      assignments:
        joined.leader === told.memberId ? this.#divide(joined.members.map((each) => each.memberId)) : [],
    });
    if (synced.errorCode !== ErrorCode.NONE) return this.#refused(synced.errorCode);
    // What it was told by the join alone, a crash may still take back.
    const life = history.lifeOf(group, before, told.epoch, isNew);
    if (life === null) return;
    const as = { ...told, life };
    // Its session began when the broker answered the join, which was after it was sent.
    this.reader.renew(joinedMs);
    const assigned =
      synced.assignment.byteLength === 0 ? [] : decodeAssignment(synced.assignment).assignedPartitions;
    const partitions = assigned.flatMap((each) => each.partitions);
    if (this.reader.isLate || !(await this.reader.take(client, partitions, as))) return;
    while (!isOver()) {
      await rounds(this.actor, this.reader, client, sessionMs);
      if (this.actor.random.below(2) === 0 || this.reader.isLate) {
        const refused = await this.reader.commit(client, as);
        if (refused !== ErrorCode.NONE) return this.#refused(refused);
      }
      const sentMs = this.actor.clock.monotonicMs();
      const { errorCode } = await client.call(Heartbeat, heartbeatVersion, {
        groupId: group,
        generationId: as.epoch,
        memberId: as.memberId,
        groupInstanceId: null,
      });
      if (errorCode === ErrorCode.REBALANCE_IN_PROGRESS) {
        await this.reader.commit(client, as);
        return;
      }
      if (errorCode !== ErrorCode.NONE) return this.#refused(errorCode);
      this.reader.renew(sentMs);
      if (this.actor.isWanted(LeaveGroup) || this.actor.random.below(60) === 0)
        return this.#leave(client, as.memberId);
      // It joins anew on its next connection.
      if (this.actor.isWanted(JoinGroup) || this.actor.isWanted(SyncGroup)) return;
    }
  }

  #divide(memberIds: readonly string[]) {
    const parts = memberIds.map((memberId) => ({ memberId, partitions: [] as number[] }));
    for (let partition = 0; partition < this.options.partitionCount; partition++) {
      parts[partition % parts.length]?.partitions.push(partition);
    }
    const { topic } = this.options;
    return parts.map(({ memberId, partitions }) => {
      const assignedPartitions = [{ topic, partitions }];
      return { memberId, assignment: encodeAssignment({ assignedPartitions, userData: null }) };
    });
  }

  async #leave(client: Caller, memberId: string): Promise<void> {
    this.die();
    const members = [{ memberId, groupInstanceId: null, reason: null }];
    await client.call(LeaveGroup, leaveVersion, { groupId: this.options.group, memberId: "", members });
  }

  #refused(errorCode: ErrorCode): Promise<void> {
    this.actor.record(`member ${this.#memberId}: ${errorFacts(errorCode).name}`);
    if (errorCode === ErrorCode.UNKNOWN_MEMBER_ID) this.#memberId = "";
    return this.actor.pause(20);
  }
}

export class ConsumerMember extends Member {
  #topicId: TopicId | null = null;
  #memberId = "";
  #epoch = 0;
  /** Of the group. */
  #life = 0;

  protected override die(): void {
    super.die();
    this.#memberId = "";
  }

  protected override async session(client: Caller, isOver: () => boolean): Promise<void> {
    const { group, topic, sessionMs, history } = this.options;
    if (this.#memberId === "") {
      this.#memberId = `m${this.actor.random.u32()}`;
      this.#epoch = 0;
    }
    // The answer to the last one may be lost: the first of a connection tells everything, and is told everything.
    for (let isFull = true; !isOver(); isFull = this.#epoch === 0) {
      if (this.reader.isLate) this.reader.drop();
      const isJoining = this.#epoch === 0;
      if (isJoining) this.reader.drop();
      const sentMs = this.actor.clock.monotonicMs();
      const owned = this.reader.partitions;
      const before = history.lifeBefore(group);
      const isNew = isJoining && this.isNew(this.#memberId);
      const answer = await client.call(ConsumerGroupHeartbeat, consumerVersion, {
        groupId: group,
        memberId: this.#memberId,
        memberEpoch: this.#epoch,
        instanceId: null,
        rackId: null,
        rebalanceTimeoutMs: isFull ? sessionMs * 2 : -1,
        subscribedTopicNames: isFull ? [topic] : null,
        subscribedTopicRegex: null,
        serverAssignor: null,
        topicPartitions:
          this.#topicId === null || isJoining
            ? []
            : [{ topicId: this.#topicId, partitions: owned.map(partitionIndex) }],
      });
      if (answer.errorCode !== ErrorCode.NONE) {
        this.actor.record(`member ${this.#memberId}: ${errorFacts(answer.errorCode).name}`);
        this.reader.drop();
        this.#epoch = 0;
        return this.actor.pause(20);
      }
      const life = isJoining
        ? history.lifeOf(group, before, answer.memberEpoch, isNew)
        : history.stays(group, this.#life, answer.memberEpoch);
      if (life === null) continue;
      this.#life = life;
      this.#epoch = answer.memberEpoch;
      this.reader.renew(sentMs);
      if (this.reader.isLate) continue;
      const as = { memberId: this.#memberId, epoch: this.#epoch, life };
      if (answer.assignment !== null) {
        const partitions: number[] = answer.assignment.topicPartitions.flatMap((each) => [
          ...each.partitions,
        ]);
        this.#topicId = answer.assignment.topicPartitions[0]?.topicId ?? this.#topicId;
        const gone = this.reader.partitions.filter((partition) => !partitions.includes(partition));
        if (gone.length > 0) await this.reader.commit(client, as);
        this.reader.drop(gone);
        if (this.reader.isLate || !(await this.reader.take(client, partitions, as))) {
          this.reader.drop();
          this.#epoch = 0;
          continue;
        }
      }
      await rounds(this.actor, this.reader, client, sessionMs);
      if (this.reader.isLate || this.actor.random.below(2) === 0) await this.reader.commit(client, as);
      if (this.actor.random.below(60) === 0) {
        const memberId = this.#memberId;
        this.die();
        await client.call(ConsumerGroupHeartbeat, consumerVersion, { ...leaving, groupId: group, memberId });
        return;
      }
    }
  }
}

const leaving = {
  memberEpoch: -1,
  instanceId: null,
  rackId: null,
  rebalanceTimeoutMs: -1,
  subscribedTopicNames: null,
  subscribedTopicRegex: null,
  serverAssignor: null,
  topicPartitions: null as
    | readonly { readonly topicId: never; readonly partitions: readonly never[] }[]
    | null,
};
