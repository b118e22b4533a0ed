/**
 * A share group (KIP-932): each member tells what it wants and is told what to read; several may read the same
 * partition, so nobody waits for anybody. A change of members, subscriptions or topics begins a new epoch of the
 * group, and whoever is heard next is told what it is to have then. A partition is assigned once its share state
 * has begun; what has to begin or end elsewhere is wished for (`work`) and settled. Everything but time-outs is in
 * records: what `apply` has made of them is the state, after a restart as before it.
 */
import { type Offset, offset, type PartitionIndex, partitionIndex, type TopicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { hashTopics, type TopicFacts, type TopicView } from "../topic-view.ts";
import { assignSimply } from "./assign/simple.ts";
import { MemberEpoch } from "./consumer-request.ts";
import { ConsumerSessions } from "./consumer-sessions.ts";
import { partitionsBytes } from "./member-bytes.ts";
import { Members } from "./members.ts";
import {
  contains,
  minus,
  noPartitions,
  only,
  type PartitionSet,
  same,
  topicPartitions,
  union,
} from "./partition-set.ts";
import type { GroupTurn, ShareRecord } from "./records.ts";
import type { GroupSettings } from "./settings.ts";
import { afterRecord, type ShareMember, shareMemberBytes } from "./share-member.ts";
import {
  refusedShareBeat,
  type ShareAnswer,
  type ShareHeartbeat,
  type ShareWork,
  type StateBeginning,
} from "./share-request.ts";
import {
  fromStateValue,
  isLater,
  isNothing,
  noShareState,
  type ShareState,
  topicsOf,
  toStateValue,
  withBeginning,
  withDeleting,
  withInitialized,
  withoutTopics,
} from "./share-state.ts";

export type SharePhase = "Empty" | "Stable";

/**
 * A group of more members than this is not divided anew for each that comes or goes, but once for all of so long a
 * time: to divide costs as much as there are members, and so it would for each of them.
 */
const promptMax = 100;
const pauseMs = 1_000;
/** What could not begin or end is left for so long: each heartbeat would try it again, and there are many. */
const restMs = 1_000;

/** −1: decided when it is first read. */
const undecided: Offset = offset(-1);
const firstOffset: Offset = offset(0);

export class ShareGroup {
  readonly id: string;
  readonly #settings: GroupSettings;
  readonly #topics: TopicView;
  #epoch = 0;
  #targetEpoch = 0;
  #metadataHash = 0;
  readonly #members = new Members(shareMemberBytes);
  readonly #sessions = new ConsumerSessions();
  /** When the target was worked out last (monotonic). */
  #aimedMs = -Infinity;
  #state = noShareState;
  /** Wished for, and nobody has said what came of it. */
  #underWay: PartitionSet = noPartitions;
  #ending: ReadonlySet<TopicId> = new Set();
  /** Until then nothing is wished for (monotonic). */
  #restUntilMs = -Infinity;
  /** Topics and share state as they were when everything was last found to follow from them. */
  #seenVersion = -1;
  #seenState: ShareState | null = null;
  /** Topics, epoch and share state as they were when nothing was left to begin or to end. */
  #settledAt: readonly unknown[] = [];

  constructor(id: string, settings: GroupSettings, topics: TopicView) {
    this.id = id;
    this.#settings = settings;
    this.#topics = topics;
  }

  get epoch(): number {
    return this.#epoch;
  }
  get targetEpoch(): number {
    return this.#targetEpoch;
  }
  get members(): Iterable<ShareMember> {
    return this.#members;
  }
  get memberCount(): number {
    return this.#members.size;
  }
  get isEmpty(): boolean {
    return this.#members.size === 0;
  }
  /** About what it takes in memory. */
  get bytes(): number {
    return this.#members.bytes + partitionsBytes(this.#state.initializing, this.#state.initialized);
  }
  get phase(): SharePhase {
    return this.isEmpty ? "Empty" : "Stable";
  }
  get state(): ShareState {
    return this.#state;
  }
  /** Nothing would be missed. */
  get isIdle(): boolean {
    return this.#epoch === 0 && this.isEmpty && isNothing(this.#state);
  }
  hasMember(id: string): boolean {
    return this.#members.get(id) !== undefined;
  }

  // ── A heartbeat ──

  heartbeat(turn: GroupTurn, beat: ShareHeartbeat): ShareAnswer {
    const refused = this.#check(beat);
    if (refused !== null) return refusedShareBeat(beat, ...refused);
    const { memberId, memberEpoch } = beat;
    if (memberEpoch === MemberEpoch.leave) {
      this.#drop(turn, new Set([memberId]));
      return { errorCode: ErrorCode.NONE, errorMessage: null, memberId, memberEpoch, assignment: null };
    }
    const before = this.#members.get(memberId)?.held.assigned;
    const isOther = this.#admit(turn, beat);
    this.#beginEpoch(turn, isOther);
    if (this.#epoch > this.#targetEpoch && this.#mayAim(turn.monotonicMs)) this.#aim(turn);
    this.#tell(turn, this.#members.get(memberId) as ShareMember);
    this.#hear(turn.monotonicMs, memberId);
    const { epoch, assigned } = (this.#members.get(memberId) as ShareMember).held;
    // Who cannot know whether its last answer came says everything again, and is told everything.
    const isTold = beat.topicNames !== null || memberEpoch === MemberEpoch.join;
    const changed = before === undefined || !same(before, assigned);
    const assignment = isTold || changed ? assigned : null;
    return { errorCode: ErrorCode.NONE, errorMessage: null, memberId, memberEpoch: epoch, assignment };
  }

  #check({ memberId, memberEpoch }: ShareHeartbeat): readonly [ErrorCode, string] | null {
    const member = this.#members.get(memberId);
    if (memberEpoch === MemberEpoch.join) {
      const { shareMembersMax: max } = this.#settings;
      if (member !== undefined || this.#members.size < max) return null;
      return [
        ErrorCode.GROUP_MAX_SIZE_REACHED,
        `The share group has ${max} members, as many as group.share.max.size allows.`,
      ];
    }
    if (member === undefined)
      return [ErrorCode.UNKNOWN_MEMBER_ID, `Member ${memberId} is not a member of group ${this.id}.`];
    if (memberEpoch === MemberEpoch.leave) return null;
    const { epoch, previousEpoch } = member.held;
    if (memberEpoch === epoch || memberEpoch === previousEpoch) return null;
    const message = `Member ${memberId} is at epoch ${epoch}, not ${memberEpoch}; it must join again.`;
    return [ErrorCode.FENCED_MEMBER_EPOCH, message];
  }

  /** Writes who the member is, if that is new. Returns whether it is new to the group or wants something else than before. */
  #admit(turn: GroupTurn, beat: ShareHeartbeat): boolean {
    const about = this.#members.get(beat.memberId)?.about;
    const subscribedTopicNames =
      beat.topicNames === null ? (about?.subscribedTopicNames ?? []) : [...new Set(beat.topicNames)].sort();
    const { clientId, clientHost } = beat;
    const rackId = beat.rackId ?? about?.rackId ?? null;
    const wantsSame =
      about !== undefined &&
      about.subscribedTopicNames.length === subscribedTopicNames.length &&
      about.subscribedTopicNames.every((name, at) => name === subscribedTopicNames[at]);
    const isSame =
      wantsSame && about.rackId === rackId && about.clientId === clientId && about.clientHost === clientHost;
    if (isSame) return false;
    const value = { rackId, clientId, clientHost, subscribedTopicNames };
    turn.write({ kind: "shareMember", key: this.#key(beat.memberId), value });
    return !wantsSame;
  }

  /** One epoch for all of them. */
  #drop(turn: GroupTurn, memberIds: ReadonlySet<string>): void {
    for (const id of memberIds) this.#forget(turn, id);
    if (memberIds.size > 0) this.#writeEpoch(turn, hashTopics(this.#wantedTopics().values()));
  }

  #forget(turn: GroupTurn, memberId: string): void {
    for (const kind of ["shareCurrent", "shareTarget", "shareMember"] as const) {
      turn.write({ kind, key: this.#key(memberId), value: null });
    }
    this.#sessions.forget(memberId);
  }

  // ── Epoch, target ──

  /** Members, what they want, the topics, or where there is share state are others than before. */
  #beginEpoch(turn: GroupTurn, isOther: boolean): void {
    const isSeen = this.#seenVersion === this.#topics.version && this.#seenState === this.#state;
    if (!isOther && isSeen) return;
    this.#seenVersion = this.#topics.version;
    this.#seenState = this.#state;
    const wanted = this.#wantedTopics();
    const hash = hashTopics(wanted.values());
    const isBehind = this.#epoch > this.#targetEpoch;
    if (isOther || hash !== this.#metadataHash || (!isBehind && this.#hasUnassigned(wanted))) {
      this.#writeEpoch(turn, hash);
    }
  }

  #writeEpoch(turn: GroupTurn, metadataHash: number): void {
    const value = { epoch: this.#epoch + 1, metadataHash };
    turn.write({ kind: "share", key: this.#ownKey, value });
  }

  /** Whether share state has begun somewhere since the target was worked out. */
  #hasUnassigned(wanted: ReadonlyMap<TopicId, TopicFacts>): boolean {
    const assigned = Array.from(this.#members, ({ target }) => target).reduce(union, noPartitions);
    const ready = only(this.#state.initialized, (topicId) => wanted.has(topicId));
    return minus(ready, assigned).size > 0;
  }

  #wanted({ about }: ShareMember): readonly TopicFacts[] {
    return about.subscribedTopicNames
      .map((name) => this.#topics.find(name))
      .filter((topic) => topic !== undefined);
  }

  /** Topics that some member wants, of those that are there. */
  #wantedTopics(): ReadonlyMap<TopicId, TopicFacts> {
    const topics = new Map<TopicId, TopicFacts>();
    for (const name of this.#members.wantedNames) {
      const topic = this.#topics.find(name);
      if (topic !== undefined) topics.set(topic.id, topic);
    }
    return topics;
  }

  /** Who has to wait for it is told what it is to have with the first of its heartbeats after that. */
  #mayAim(nowMs: number): boolean {
    return this.#members.size <= promptMax || this.#targetEpoch === 0 || nowMs >= this.#aimedMs + pauseMs;
  }

  #aim(turn: GroupTurn): void {
    this.#aimedMs = turn.monotonicMs;
    const members = [...this.#members];
    const candidates = members.map((member) => ({
      memberId: member.id,
      topics: new Set(this.#wanted(member).map(({ id }) => id)),
      target: member.target,
    }));
    const targets = assignSimply(candidates, this.#state.initialized);
    for (const { id, target } of members) {
      const next = targets.get(id) ?? noPartitions;
      if (same(next, target)) continue;
      const value = { topicPartitions: topicPartitions(next) };
      turn.write({ kind: "shareTarget", key: this.#key(id), value });
    }
    const value = { assignmentEpoch: this.#epoch, assignmentTimestamp: turn.wallMs };
    turn.write({ kind: "shareTargetEpoch", key: this.#ownKey, value });
  }

  #tell(turn: GroupTurn, { id, held, target }: ShareMember): void {
    if (held.epoch === this.#targetEpoch && same(held.assigned, target)) return;
    const value = {
      memberEpoch: this.#targetEpoch,
      previousMemberEpoch: held.epoch === this.#targetEpoch ? held.previousEpoch : held.epoch,
      state: 0,
      assignedPartitions: topicPartitions(target),
    };
    turn.write({ kind: "shareCurrent", key: this.#key(id), value });
  }

  // ── Share state, which is elsewhere ──

  /** What has to begin, or to end, and nobody is at already; null: nothing. */
  work(turn: GroupTurn): ShareWork | null {
    if (turn.monotonicMs < this.#restUntilMs) return null;
    const seen = [this.#topics.version, this.#epoch, this.#state];
    if (seen.every((each, at) => each === this.#settledAt[at])) return null;
    const { initialized, deleting } = this.#state;
    const beginning: StateBeginning[] = [];
    for (const { id: topicId, partitionCount } of this.#wantedTopics().values()) {
      // What is to go goes first: a late end would take a new beginning with it.
      if (deleting.has(topicId)) continue;
      for (let index = 0; index < partitionCount; index++) {
        const partition = partitionIndex(index);
        const isDone =
          contains(initialized, topicId, partition) || contains(this.#underWay, topicId, partition);
        if (isDone) continue;
        const startOffset = isLater(this.#state, topicId, partition) ? firstOffset : undecided;
        beginning.push({ topicId, partition, startOffset });
      }
    }
    const ending = [...deleting].filter((topicId) => !this.#ending.has(topicId));
    if (beginning.length === 0 && ending.length === 0) {
      if (this.#underWay.size === 0 && this.#ending.size === 0) this.#settledAt = seen;
      return null;
    }
    return this.#wish(turn, beginning, ending);
  }

  /** Of a group without members: delivery begins anew at these offsets. */
  restart(turn: GroupTurn, beginning: readonly StateBeginning[]): ShareWork {
    if (beginning.length > 0) this.#writeEpoch(turn, this.#metadataHash);
    return this.#wish(turn, beginning, []);
  }

  /**
   * Whether somebody is at what it knows of one of these topics: what began late would outlast its end, and what
   * ended late would take what begins after it along.
   */
  isAt(topics: Iterable<TopicId>): boolean {
    for (const topicId of topics) if (this.#underWay.has(topicId) || this.#ending.has(topicId)) return true;
    return false;
  }

  /** Of a group without members: what it knows of these topics goes. */
  end(turn: GroupTurn, topics: ReadonlySet<TopicId>): ShareWork {
    return this.#wish(turn, [], [...topics]);
  }

  #wish(turn: GroupTurn, beginning: readonly StateBeginning[], ending: readonly TopicId[]): ShareWork {
    const starting = startingOf(beginning);
    const known = union(this.#state.initialized, this.#state.initializing);
    const isNew = minus(starting, this.#state.initializing).size > 0;
    const goes = ending.some((topicId) => !this.#state.deleting.has(topicId));
    if (isNew || goes) {
      this.#writeState(turn, withDeleting(withBeginning(this.#state, starting), new Set(ending)));
    }
    this.#underWay = union(this.#underWay, starting);
    this.#ending = new Set([...this.#ending, ...ending]);
    return {
      stateEpoch: this.#epoch,
      beginning,
      ending: new Map(ending.map((topicId) => [topicId, this.#partitionsOf(topicId, known)])),
    };
  }

  /** Those that are known to have state, and those of which a crash may have left it unknown. */
  #partitionsOf(topicId: TopicId, known: PartitionSet): ReadonlySet<PartitionIndex> {
    const name = this.#topics.nameOf(topicId);
    const { partitionCount = 0 } = name === undefined ? {} : (this.#topics.find(name) ?? {});
    const all = Array.from({ length: partitionCount }, (_, index) => partitionIndex(index));
    return new Set([...(known.get(topicId) ?? []), ...all]);
  }

  /** What came of `work`: what began, topics of which all is gone. What is in neither is wished for again. */
  settled(turn: GroupTurn, work: ShareWork, began: PartitionSet, gone: ReadonlySet<TopicId>): void {
    const starting = startingOf(work.beginning);
    const isAll = minus(starting, began).size === 0 && [...work.ending.keys()].every((id) => gone.has(id));
    if (!isAll) this.#restUntilMs = turn.monotonicMs + restMs;
    this.#underWay = minus(this.#underWay, starting);
    this.#ending = new Set([...this.#ending].filter((topicId) => !work.ending.has(topicId)));
    const ended = new Set([...gone].filter((topicId) => this.#state.deleting.has(topicId)));
    const next = withoutTopics(withInitialized(this.#state, began), ended);
    const isSame = began.size === 0 && ended.size === 0;
    if (!isSame) this.#writeState(turn, next);
  }

  /** Topics that are not there any more have no share state. */
  forgetTopics(turn: GroupTurn, isGone: (topicId: TopicId) => boolean): void {
    const gone = new Set([...topicsOf(this.#state)].filter(isGone));
    if (gone.size > 0) this.#writeState(turn, withoutTopics(this.#state, gone));
  }

  #writeState(turn: GroupTurn, state: ShareState): void {
    const value = toStateValue(state, (id) => this.#topics.nameOf(id));
    turn.write({ kind: "shareState", key: this.#ownKey, value });
  }

  // ── Time ──

  #hear(nowMs: number, memberId: string): void {
    this.#sessions.hear(memberId, nowMs + this.#settings.shareSessionTimeoutMs(this.id));
  }

  /** Ends what ran out by now: members that are not heard of. */
  onTime(turn: GroupTurn): void {
    this.#drop(turn, this.#sessions.late(turn.monotonicMs));
  }

  /** Monotonic; `Infinity`: nothing will happen by itself. */
  get nextDeadlineMs(): number {
    return this.#sessions.nextDeadlineMs;
  }

  /** The log is read: every session begins anew, since nobody could be heard. `nowMs`: monotonic. */
  loaded(nowMs: number): void {
    for (const { id } of this.#members) this.#hear(nowMs, id);
  }

  // ── Records ──

  #key(memberId: string) {
    return { group: this.id, memberId };
  }
  get #ownKey() {
    return { group: this.id };
  }

  /** Everything of it goes. */
  remove(turn: GroupTurn): void {
    for (const { id } of this.#members) this.#forget(turn, id);
    for (const kind of ["shareState", "shareTargetEpoch", "share"] as const) {
      turn.write({ kind, key: this.#ownKey, value: null });
    }
  }

  apply(record: ShareRecord): void {
    switch (record.kind) {
      case "share":
        this.#epoch = record.value?.epoch ?? 0;
        this.#metadataHash = record.value?.metadataHash ?? 0;
        break;
      case "shareTargetEpoch":
        this.#targetEpoch = record.value?.assignmentEpoch ?? 0;
        break;
      case "shareState":
        this.#state = record.value === null ? noShareState : fromStateValue(record.value);
        break;
      default: {
        const { memberId } = record.key;
        const next = afterRecord(this.#members.get(memberId), record);
        if (next === undefined) this.#members.delete(memberId);
        else this.#members.set(next);
      }
    }
  }
}

function startingOf(beginning: readonly StateBeginning[]): PartitionSet {
  const starting = new Map<TopicId, Set<PartitionIndex>>();
  for (const { topicId, partition } of beginning) {
    const partitions = starting.get(topicId);
    if (partitions === undefined) starting.set(topicId, new Set([partition]));
    else partitions.add(partition);
  }
  return starting;
}
