/**
 * The groups whose state lies in one partition of `__consumer_offsets`, and every decision about them.
 * No I/O and no clock: what time it is comes with each turn, what is written and answered goes out with
 * it. A record changes the state the same way when it is written and when it is read again at a start.
 */
import type { TopicId } from "../../base/ids.ts";
import { NO_TOPIC_ID } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { JoinGroupResponse } from "../../protocol/messages/join-group.ts";
import type { SyncGroupResponse } from "../../protocol/messages/sync-group.ts";
import { utf8Length } from "../../base/bytes.ts";
import { Deadlines } from "../deadlines.ts";
import {
  type Claim,
  type Identity,
  type Join,
  refusedJoin,
  refusedSync,
  type Sync,
} from "./classic-request.ts";
import type { ClassicGroup } from "./classic.ts";
import { ClassicDoor } from "./classic-door.ts";
import { Group } from "./group.ts";
import {
  type ConsumerHeartbeat,
  type HeartbeatAnswer,
  MemberEpoch,
  refusedBeat,
} from "./consumer-request.ts";
import { expiredOffsets } from "./expiry.ts";
import { classicBytes, consumerBytes } from "./member-bytes.ts";
import { type CommittedOffset, committedBytes, type PartitionName } from "./offsets.ts";
import type { GroupSettings } from "./settings.ts";
import { classicMembers, migrantsOf } from "./migration.ts";
import { refusePattern } from "./topic-regex.ts";
import type { GroupMetadataValue, GroupRecord, GroupTurn } from "./records.ts";
import type { TopicView } from "../topic-view.ts";
import type { Shard } from "../shard.ts";
import type { Ticket } from "../turn.ts";

export interface OffsetToCommit extends PartitionName, Omit<CommittedOffset, "commitTimestamp"> {}

/** A committed offset that was moved back: legal, and worth to be seen (what lies between is read again). */
export interface Regression extends PartitionName {
  readonly group: string;
  readonly from: number;
  readonly to: number;
}

export interface CommitOutcome {
  /** Of each offset, in the order in which they were given. */
  readonly errorCodes: readonly ErrorCode[];
  readonly regressions: readonly Regression[];
}

export interface ExpiredOffset extends PartitionName {
  readonly group: string;
  readonly committed: CommittedOffset;
}

/** What the log knows of a partition whose offset may expire. */
export interface HeldData {
  /** Whether records are there that this offset says something of. */
  holds(name: PartitionName, committed: CommittedOffset): boolean;
}

export class GroupShard implements Shard<GroupRecord> {
  readonly #settings: GroupSettings;
  readonly #topics: TopicView;
  readonly #groups = new Map<string, Group>();
  readonly #deadlines = new Deadlines();
  /** About what each group takes in memory, as it was when it was last looked at, and all together. */
  readonly #weights = new Map<string, number>();
  #bytes = 0;
  /** While it is loaded: the newest record of each group. */
  #found: Map<string, GroupMetadataValue | null> | null = new Map();

  constructor(settings: GroupSettings, topics: TopicView) {
    this.#settings = settings;
    this.#topics = topics;
  }

  get groupCount(): number {
    return this.#groups.size;
  }
  /** About what all of it takes in memory. */
  get bytes(): number {
    return this.#bytes;
  }
  group(id: string): Group | undefined {
    return this.#groups.get(id);
  }
  groups(): Iterable<Group> {
    return this.#groups.values();
  }

  // ── Records ──

  /** Loading: the next record of the log. */
  load(record: GroupRecord): void {
    if (record.kind !== "classic") return this.apply(record);
    this.#found?.set(record.key.group, record.value);
  }

  /** The whole log is read: groups are what their newest records say. */
  loaded(nowMs: number): void {
    for (const [id, value] of this.#found ?? []) {
      if (value === null) continue;
      this.#grow(id).asClassic().restore(value, nowMs);
    }
    this.#found = null;
    for (const group of this.#groups.values()) {
      group.consumer?.loaded(nowMs);
      this.#settle(group);
    }
  }

  apply(record: GroupRecord): void {
    const group = this.#grow(record.key.group);
    switch (record.kind) {
      case "offset":
        group.offsets.apply(record.key, record.value);
        break;
      case "classic":
        if (record.value === null) group.forgetClassic();
        else group.asClassic().noteWritten();
        break;
      default:
        group.applyConsumer(record);
    }
    this.#shrink(group);
  }

  #grow(id: string): Group {
    let group = this.#groups.get(id);
    if (group === undefined) this.#groups.set(id, (group = new Group(id, this.#settings, this.#topics)));
    return group;
  }

  /** What nothing is known of takes no room. */
  #shrink(group: Group): void {
    if (group.isIdle) this.#groups.delete(group.id);
    this.#weigh(group);
  }

  #weigh(group: Group): void {
    const bytes = this.#groups.has(group.id) ? group.bytes : 0;
    this.#bytes += bytes - (this.#weights.get(group.id) ?? 0);
    if (bytes === 0) this.#weights.delete(group.id);
    else this.#weights.set(group.id, bytes);
  }

  // ── Members of the classic protocol ──

  join(turn: GroupTurn, groupId: string, join: Join, ticket: Ticket<JoinGroupResponse>): void {
    if (groupId === "") return turn.reply(ticket, refusedJoin(ErrorCode.INVALID_GROUP_ID, join.memberId));
    const isMember = this.#groups.get(groupId)?.hasMember(join.memberId) ?? false;
    if (!isMember && !this.#settings.mayGrow(classicBytes(join.protocols))) {
      return turn.reply(ticket, refusedJoin(ErrorCode.GROUP_MAX_SIZE_REACHED, join.memberId));
    }
    const isKnown = this.#groups.get(groupId)?.isKnown ?? false;
    if (join.memberId !== "" && !isKnown) {
      return turn.reply(ticket, refusedJoin(ErrorCode.UNKNOWN_MEMBER_ID, join.memberId));
    }
    const former = this.#groups.get(groupId)?.consumer ?? null;
    if (former !== null && !former.isEmpty) {
      const answer = new ClassicDoor(former, this.#topics).join(turn, join);
      this.#settle(this.#grow(groupId));
      return turn.reply(ticket, answer);
    }
    former?.remove(turn);
    const group = this.#grow(groupId);
    if (former !== null) group.asClassic().adopt(turn, [], former.epoch);
    group.asClassic().join(turn, join, ticket);
    this.#settle(group);
  }

  // ── Members of KIP-848 ──

  beat(turn: GroupTurn, groupId: string, beat: ConsumerHeartbeat): HeartbeatAnswer {
    const wrong =
      beat.topicRegex === null || beat.topicRegex === ""
        ? null
        : refusePattern(beat.topicRegex, this.#topics);
    if (wrong !== null) {
      const message = `The regular expression "${beat.topicRegex}" cannot be used: ${wrong}.`;
      return refusedBeat(beat, ErrorCode.INVALID_REGULAR_EXPRESSION, message);
    }
    const isMember = this.#groups.get(groupId)?.hasMember(beat.memberId) ?? false;
    if (!isMember && !this.#settings.mayGrow(consumerBytes(beat.topicNames ?? []))) {
      const message = "The broker has no memory left for members of groups (holdfast.groups.bytes.max).";
      return refusedBeat(beat, ErrorCode.GROUP_MAX_SIZE_REACHED, message);
    }
    const former = this.#groups.get(groupId);
    if ((former?.consumer ?? null) === null && beat.memberEpoch !== MemberEpoch.join) {
      return refusedBeat(beat, ErrorCode.GROUP_ID_NOT_FOUND, `Group ${groupId} is not a consumer group.`);
    }
    if (!this.#upgrade(turn, groupId)) {
      const message = `Group ${groupId} has members of the classic protocol that cannot be joined.`;
      return refusedBeat(beat, ErrorCode.GROUP_ID_NOT_FOUND, message);
    }
    const answer = this.#grow(groupId).asConsumer().heartbeat(turn, beat);
    this.#downgrade(turn, groupId);
    // A mere sign of life moves a deadline away: the one that is noted comes too early, and is looked at then.
    if (turn.records.length > 0) this.#settle(this.#grow(groupId));
    else this.#shrink(this.#grow(groupId));
    return answer;
  }

  /** The first member of KIP-848 joins a group of the classic protocol: from now on it is one of KIP-848. */
  #upgrade(turn: GroupTurn, groupId: string): boolean {
    const classic = this.#classic(groupId);
    if (classic === null) return true;
    const migrants = classic.isEmpty
      ? []
      : this.#settings.mayUpgrade
        ? migrantsOf(classic, this.#topics)
        : null;
    if (migrants === null) return false;
    const { generation } = classic;
    classic.dismiss(turn, ErrorCode.REBALANCE_IN_PROGRESS);
    if (classic.isWritten) turn.write({ kind: "classic", key: { group: groupId }, value: null });
    const group = this.#grow(groupId);
    group.forgetClassic();
    // Numbers go on, so that none is ever given twice.
    if (generation > 0) group.asConsumer().adopt(turn, migrants, generation);
    return true;
  }

  /** The last member of KIP-848 is gone, and those that are left speak the classic protocol: so does the group. */
  #downgrade(turn: GroupTurn, groupId: string): void {
    const consumer = this.#groups.get(groupId)?.consumer ?? null;
    if (consumer === null || consumer.isEmpty || !this.#settings.mayDowngrade) return;
    const members = classicMembers(consumer.members, this.#topics, turn.monotonicMs);
    if (members === null) return;
    const { epoch } = consumer;
    consumer.remove(turn);
    this.#grow(groupId).asClassic().adopt(turn, members, epoch);
  }

  sync(turn: GroupTurn, groupId: string, sync: Sync, ticket: Ticket<SyncGroupResponse>): void {
    if (groupId === "") return turn.reply(ticket, refusedSync(ErrorCode.INVALID_GROUP_ID));
    const group = this.#groups.get(groupId);
    if (group?.consumer) turn.reply(ticket, new ClassicDoor(group.consumer, this.#topics).sync(turn, sync));
    else if (group?.classic) group.classic.sync(turn, sync, ticket);
    else return turn.reply(ticket, refusedSync(ErrorCode.UNKNOWN_MEMBER_ID));
    this.#settle(this.#grow(groupId));
  }

  heartbeat(turn: GroupTurn, groupId: string, claim: Claim): ErrorCode {
    if (groupId === "") return ErrorCode.INVALID_GROUP_ID;
    const group = this.#groups.get(groupId);
    if (group?.consumer) return new ClassicDoor(group.consumer, this.#topics).heartbeat(turn, claim);
    // A heartbeat only moves a deadline away: the one that is noted comes too early, and is looked at then.
    return group?.classic?.heartbeat(turn, claim) ?? ErrorCode.UNKNOWN_MEMBER_ID;
  }

  leave(
    turn: GroupTurn,
    groupId: string,
    leaving: readonly Identity[],
  ): { readonly errorCode: ErrorCode; readonly members: readonly ErrorCode[] } {
    if (groupId === "") return { errorCode: ErrorCode.INVALID_GROUP_ID, members: [] };
    const { classic = null, consumer = null } = this.#groups.get(groupId) ?? {};
    const members = leaving.map((claim) => {
      if (consumer !== null) return new ClassicDoor(consumer, this.#topics).leave(turn, claim);
      return classic?.leave(turn, claim) ?? ErrorCode.UNKNOWN_MEMBER_ID;
    });
    classic?.left(turn);
    this.#downgrade(turn, groupId);
    if (classic !== null || consumer !== null) this.#settle(this.#grow(groupId));
    return { errorCode: ErrorCode.NONE, members };
  }

  #classic(groupId: string): ClassicGroup | null {
    return this.#groups.get(groupId)?.classic ?? null;
  }

  #settle(group: Group): void {
    this.#deadlines.set(group.id, group.nextDeadlineMs);
    this.#shrink(group);
  }

  // ── Committed offsets ──

  commit(turn: GroupTurn, groupId: string, claim: Claim, offsets: readonly OffsetToCommit[]): CommitOutcome {
    const refused = this.#mayCommit(turn, groupId, claim);
    const regressions: Regression[] = [];
    const errorCodes = offsets.map(({ topic, partition, offset, leaderEpoch, metadata, topicId }) => {
      if (refused !== ErrorCode.NONE) return refused;
      if (utf8Length(metadata) > this.#settings.metadataBytesMax) return ErrorCode.OFFSET_METADATA_TOO_LARGE;
      const former = this.#groups.get(groupId)?.offsets.get(topic, partition);
      if (former === undefined && !this.#settings.mayGrow(committedBytes(topic, metadata))) {
        // Clients try again, and what is committed already may go on.
        return ErrorCode.COORDINATOR_NOT_AVAILABLE;
      }
      if (former !== undefined && former.offset > offset && isSameTopic(former.topicId, topicId)) {
        regressions.push({ group: groupId, topic, partition, from: former.offset, to: offset });
      }
      turn.write({
        kind: "offset",
        key: { group: groupId, topic, partition },
        value: { offset, leaderEpoch, metadata, commitTimestamp: turn.wallMs, expireTimestamp: -1, topicId },
      });
      return ErrorCode.NONE;
    });
    return { errorCodes, regressions };
  }

  #mayCommit(turn: GroupTurn, groupId: string, claim: Claim): ErrorCode {
    const group = this.#groups.get(groupId);
    if (group?.consumer) return group.consumer.verify(claim);
    if (group?.classic) return group.classic.mayCommit(turn, claim);
    // Nobody ever joined: whoever assigns partitions by itself may commit, a member of what is gone may not.
    return claim.generation < 0 ? ErrorCode.NONE : ErrorCode.ILLEGAL_GENERATION;
  }

  /** Offsets of topics that the group does not read now. */
  deleteOffsets(
    turn: GroupTurn,
    groupId: string,
    names: readonly PartitionName[],
  ): { readonly errorCode: ErrorCode; readonly errorCodes: readonly ErrorCode[] } {
    const group = this.#groups.get(groupId);
    if (group === undefined) return { errorCode: ErrorCode.GROUP_ID_NOT_FOUND, errorCodes: [] };
    const subscribed = group.subscribedTopics();
    if (subscribed === null) return { errorCode: ErrorCode.NON_EMPTY_GROUP, errorCodes: [] };
    const errorCodes = names.map(({ topic, partition }) => {
      if (subscribed.has(topic)) return ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC;
      if (group.offsets.get(topic, partition) !== undefined) forget(turn, groupId, { topic, partition });
      return ErrorCode.NONE;
    });
    return { errorCode: ErrorCode.NONE, errorCodes };
  }

  deleteGroup(turn: GroupTurn, groupId: string): ErrorCode {
    const group = this.#groups.get(groupId);
    if (group === undefined) return ErrorCode.GROUP_ID_NOT_FOUND;
    if (group.hasMembers) return ErrorCode.NON_EMPTY_GROUP;
    for (const name of group.offsets.all()) forget(turn, groupId, name);
    group.consumer?.remove(turn);
    if (group.classic?.isWritten === true)
      turn.write({ kind: "classic", key: { group: groupId }, value: null });
    this.#groups.delete(groupId);
    this.#weigh(group);
    return ErrorCode.NONE;
  }

  /** What was committed for topics that are not there any more says nothing of those that come after them. */
  forgetTopics(turn: GroupTurn, isGone: (topicId: TopicId) => boolean): void {
    for (const group of this.#groups.values()) {
      for (const { topic, partition, committed } of group.offsets.all()) {
        if (committed.topicId === NO_TOPIC_ID || !isGone(committed.topicId)) continue;
        forget(turn, group.id, { topic, partition });
      }
    }
  }

  /** Ends what nobody has used for `offsets.retention.minutes` (KIP-211). Returns what is gone. */
  expire(turn: GroupTurn, data: HeldData): readonly ExpiredOffset[] {
    const gone: ExpiredOffset[] = [];
    for (const group of this.#groups.values()) {
      for (const each of expiredOffsets(group, turn.wallMs, this.#settings.offsetsRetentionMs, data)) {
        gone.push({ group: group.id, ...each });
        forget(turn, group.id, each);
      }
      const { classic } = group;
      if (group.offsets.isEmpty && classic?.phase === "Empty" && classic.isWritten) {
        turn.write({ kind: "classic", key: { group: group.id }, value: null });
      }
      if (group.offsets.isEmpty && group.consumer?.isEmpty === true) group.consumer.remove(turn);
    }
    return gone;
  }

  // ── Time ──

  /** Monotonic ms; `Infinity`: nothing will happen by itself. */
  get nextDeadlineMs(): number {
    return this.#deadlines.nextMs;
  }

  onTime(turn: GroupTurn): void {
    for (const id of this.#deadlines.due(turn.monotonicMs)) {
      const group = this.#groups.get(id);
      group?.classic?.onTime(turn);
      group?.consumer?.onTime(turn);
      this.#downgrade(turn, id);
      if (group !== undefined) this.#settle(this.#grow(id));
    }
  }

  /** The broker stops: whoever waits looks for its coordinator anew. */
  dismiss(turn: GroupTurn): void {
    for (const group of this.#groups.values()) group.classic?.dismiss(turn, ErrorCode.NOT_COORDINATOR);
  }
}

function forget(turn: GroupTurn, group: string, { topic, partition }: PartitionName): void {
  turn.write({ kind: "offset", key: { group, topic, partition }, value: null });
}

const isSameTopic = (a: TopicId, b: TopicId): boolean => a === b || a === NO_TOPIC_ID || b === NO_TOPIC_ID;
