/**
 * The groups whose state lies in one partition of `__consumer_offsets`, and every decision about them.
 * No I/O and no clock: what time it is comes with each turn, what is written and answered goes out with
 * it. A record changes the state the same way when it is written and when it is read again at a start.
 */
import { NO_TOPIC_ID, type ProducerId, type TopicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { JoinGroupResponse } from "../../protocol/messages/join-group.ts";
import type { SyncGroupResponse } from "../../protocol/messages/sync-group.ts";
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
import {
  type CommitRequest,
  commitOffsets,
  deleteAllOffsets,
  deleteOffsets,
  expireOffsets,
  forgetTopics,
  type HeldData,
} from "./commits.ts";
import { classicBytes, consumerBytes } from "./member-bytes.ts";
import type { CommittedOffset, PartitionName } from "./offsets.ts";
import type { GroupSettings } from "./settings.ts";
import { classicMembers, migrantsOf } from "./migration.ts";
import { refusePattern } from "./topic-regex.ts";
import {
  type GroupMetadataValue,
  type GroupRecord,
  type GroupTurn,
  isShareRecord,
  type OffsetCommitValue,
} from "./records.ts";
import { ShareGroups } from "./share-groups.ts";
import type { TopicView } from "../topic-view.ts";
import type { Participant, TransactionOutcome } from "../shard.ts";
import type { Ticket } from "../turn.ts";

/** A committed offset that was moved back: legal, and worth to be seen (what lies between is read again). */
export interface Regression extends PartitionName {
  readonly group: string;
  readonly from: number;
  readonly to: number;
}

export interface ExpiredOffset extends PartitionName {
  readonly group: string;
  readonly committed: CommittedOffset;
}

export class GroupShard implements Participant<GroupRecord> {
  readonly #settings: GroupSettings;
  readonly #topics: TopicView;
  readonly #onBackward: (regression: Regression) => void;
  readonly #groups = new Map<string, Group>();
  /** Groups of which each producer's open transaction holds offsets. */
  readonly #holders = new Map<ProducerId, Set<string>>();
  /** Commits that the log has told of. */
  #order = 0;
  readonly #deadlines = new Deadlines();
  /** About what each group takes in memory, as it was when it was last looked at, and all together. */
  readonly #weights = new Map<string, number>();
  #bytes = 0;
  /** While it is loaded: the newest record of each group. */
  #found: Map<string, GroupMetadataValue | null> | null = new Map();
  readonly share: ShareGroups;

  /** `onBackward` is told of each commit that moves a group back. */
  constructor(
    settings: GroupSettings,
    topics: TopicView,
    onBackward: (regression: Regression) => void = () => undefined,
  ) {
    this.#settings = settings;
    this.#topics = topics;
    this.#onBackward = onBackward;
    this.share = new ShareGroups({
      find: (id) => this.#groups.get(id),
      grow: (id) => this.#grow(id),
      settle: (group) => this.#settle(group),
      mayGrow: (bytes) => settings.mayGrow(bytes),
    });
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
      group.share?.loaded(nowMs);
      this.#settle(group);
    }
  }

  apply(record: GroupRecord): void {
    const group = this.#grow(record.key.group);
    switch (record.kind) {
      case "offset":
        return this.#changeOffsets(group, () => {
          if (record.value !== null) return this.#take(group, record.key, this.#committed(record.value));
          group.offsets.delete(record.key);
          group.pending.forget(record.key);
        });
      case "classic":
        if (record.value === null) group.forgetClassic();
        else group.asClassic().noteWritten();
        break;
      default:
        if (isShareRecord(record)) group.applyShare(record);
        else group.applyConsumer(record);
    }
    this.#shrink(group);
  }

  #committed({
    offset,
    leaderEpoch,
    metadata,
    commitTimestamp,
    topicId,
  }: OffsetCommitValue): CommittedOffset {
    return { offset, leaderEpoch, metadata, commitTimestamp, topicId, order: ++this.#order };
  }

  #take(group: Group, { topic, partition }: PartitionName, committed: CommittedOffset): void {
    const former = group.offsets.get(topic, partition);
    group.offsets.set({ topic, partition }, committed);
    if (this.#found !== null || former === undefined || former.offset <= committed.offset) return;
    if (!isSameTopic(former.topicId, committed.topicId)) return;
    this.#onBackward({ group: group.id, topic, partition, from: former.offset, to: committed.offset });
  }

  // ── Records inside transactions of producers ──

  /** A record of an open transaction: what it says waits for the marker. */
  hold(producer: ProducerId, record: GroupRecord): void {
    if (record.kind !== "offset" || record.value === null) return this.apply(record);
    const { group: id, topic, partition } = record.key;
    const group = this.#grow(id);
    const committed = this.#committed(record.value);
    this.#changeOffsets(group, () => group.pending.hold(producer, { topic, partition }, committed));
    const holders = this.#holders.get(producer);
    if (holders === undefined) this.#holders.set(producer, new Set([id]));
    else holders.add(id);
  }

  /** The producer's transaction ended; without an open one nothing happens. */
  settle(producer: ProducerId, outcome: TransactionOutcome): void {
    const holders = this.#holders.get(producer) ?? [];
    this.#holders.delete(producer);
    for (const id of holders) {
      const group = this.#groups.get(id);
      if (group === undefined) continue;
      this.#changeOffsets(group, () => {
        const held = group.pending.take(producer);
        if (held === undefined || outcome === "abort") return;
        for (const { topic, partition, committed } of held.all()) {
          // What was committed since, beside the transaction, holds: compaction keeps the later record, too.
          const former = group.offsets.get(topic, partition);
          if (former !== undefined && former.order > committed.order) continue;
          this.#take(group, { topic, partition }, committed);
        }
      });
    }
  }

  /** Producers whose transactions hold something here. */
  holders(): Iterable<ProducerId> {
    return this.#holders.keys();
  }

  #grow(id: string): Group {
    let group = this.#groups.get(id);
    if (group === undefined) this.#groups.set(id, (group = new Group(id, this.#settings, this.#topics)));
    return group;
  }

  /** Members stay as they are: to weigh all of them for each commit would make commits of large groups dear. */
  #changeOffsets(group: Group, change: () => void): void {
    const before = group.offsetBytes;
    change();
    const weight = this.#weights.get(group.id);
    if (weight === undefined || group.isIdle) return this.#shrink(group);
    const more = group.offsetBytes - before;
    this.#bytes += more;
    this.#weights.set(group.id, weight + more);
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
    if (this.#groups.get(groupId)?.share) {
      return turn.reply(ticket, refusedJoin(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, join.memberId));
    }
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
    const isMade = former?.consumer ? true : beat.memberEpoch === MemberEpoch.join && !former?.share;
    if (!isMade) {
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

  /** Returns the answer for each offset, in the order in which they were given. */
  commit(turn: GroupTurn, request: CommitRequest): readonly ErrorCode[] {
    return commitOffsets(turn, this.#groups.get(request.groupId), request, this.#settings);
  }

  /** Offsets of topics that the group does not read now. */
  deleteOffsets(
    turn: GroupTurn,
    groupId: string,
    names: readonly PartitionName[],
  ): { readonly errorCode: ErrorCode; readonly errorCodes: readonly ErrorCode[] } {
    return deleteOffsets(turn, this.#groups.get(groupId), names);
  }

  deleteGroup(turn: GroupTurn, groupId: string): ErrorCode {
    const group = this.#groups.get(groupId);
    if (group === undefined) return ErrorCode.GROUP_ID_NOT_FOUND;
    if (group.hasMembers) return ErrorCode.NON_EMPTY_GROUP;
    deleteAllOffsets(turn, group);
    group.consumer?.remove(turn);
    group.share?.remove(turn);
    if (group.classic?.isWritten === true)
      turn.write({ kind: "classic", key: { group: groupId }, value: null });
    this.#groups.delete(groupId);
    this.#weigh(group);
    return ErrorCode.NONE;
  }

  /** What was committed for topics that are not there any more says nothing of those that come after them. */
  forgetTopics(turn: GroupTurn, isGone: (topicId: TopicId) => boolean): void {
    for (const group of this.#groups.values()) {
      forgetTopics(turn, group, isGone);
      group.share?.forgetTopics(turn, isGone);
    }
  }

  /** Ends what nobody has used for `offsets.retention.minutes` (KIP-211). Returns what is gone. */
  expire(turn: GroupTurn, data: HeldData): readonly ExpiredOffset[] {
    const gone: ExpiredOffset[] = [];
    for (const group of this.#groups.values()) {
      for (const each of expireOffsets(turn, group, this.#settings.offsetsRetentionMs, data)) {
        gone.push({ group: group.id, ...each });
      }
      if (!group.pending.isEmpty) continue;
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
      group?.share?.onTime(turn);
      this.#downgrade(turn, id);
      if (group !== undefined) this.#settle(this.#grow(id));
    }
  }

  /** The broker stops: whoever waits looks for its coordinator anew. */
  dismiss(turn: GroupTurn): void {
    for (const group of this.#groups.values()) group.classic?.dismiss(turn, ErrorCode.NOT_COORDINATOR);
  }
}

const isSameTopic = (a: TopicId, b: TopicId): boolean => a === b || a === NO_TOPIC_ID || b === NO_TOPIC_ID;
