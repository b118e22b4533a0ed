/**
 * A group of KIP-848: each member tells what it wants and has, and is told what to have; nobody waits for
 * anybody. A change of members, subscriptions or topics begins a new epoch of the group; for it a target
 * is worked out, and each member goes towards it on its own, step by step. Everything but time-outs is in
 * records: what `apply` has made of them is the state, after a restart as before it.
 */
import type { PartitionIndex, TopicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { ConsumerMemberValue, ConsumerRecord, GroupTurn } from "./records.ts";
import { hashTopics, type TopicFacts, type TopicView } from "../topic-view.ts";
import { assignors, assignorOf, defaultAssignor } from "./assign/assignors.ts";
import { epochsOf, noEpochs } from "./assignment-epochs.ts";
import { mostVoted } from "./classic-member.ts";
import type { OffsetToCommit } from "./commits.ts";
import { ConsumerSessions } from "./consumer-sessions.ts";
import type { Claim } from "./classic-request.ts";
import {
  aboutNobody,
  type ConsumerMember,
  consumerMemberBytes,
  fromCurrent,
  holdsNothing,
  isCurrent,
  isSameAddress,
  isSameWish,
  toCurrent,
} from "./consumer-member.ts";
import {
  type ConsumerHeartbeat,
  type HeartbeatAnswer,
  MemberEpoch,
  refusedBeat,
} from "./consumer-request.ts";
import {
  contains,
  each,
  minus,
  noPartitions,
  type PartitionSet,
  partitionSet,
  same,
  topicPartitions,
} from "./partition-set.ts";
import { Members } from "./members.ts";
import { MemberState, nextStep } from "./reconcile.ts";
import type { GroupSettings } from "./settings.ts";
import type { Migrant } from "./migration.ts";
import { matchTopics } from "./topic-regex.ts";

export type ConsumerPhase = "Empty" | "Assigning" | "Reconciling" | "Stable";

/** As Kafka's: at epoch 1 a group has nobody and nothing to divide. */
const firstEpoch = 2;

export class ConsumerGroup {
  readonly id: string;
  readonly #settings: GroupSettings;
  readonly #topics: TopicView;
  #epoch = 0;
  #targetEpoch = 0;
  #metadataHash = 0;
  readonly #members = new Members(consumerMemberBytes);
  readonly #sessions = new ConsumerSessions();
  /** Of the topics, when the hash was last compared. */
  #seenVersion = -1;

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
  get members(): Iterable<ConsumerMember> {
    return this.#members;
  }
  get isEmpty(): boolean {
    return this.#members.size === 0;
  }
  /** About what its members take in memory. */
  get bytes(): number {
    return this.#members.bytes;
  }
  get phase(): ConsumerPhase {
    if (this.isEmpty) return "Empty";
    if (this.#epoch > this.#targetEpoch) return "Assigning";
    for (const { held } of this.#members) {
      if (held.state !== MemberState.stable || held.epoch !== this.#targetEpoch) return "Reconciling";
    }
    return "Stable";
  }

  /** The one that most members ask for. */
  get assignorName(): string {
    const votes = Array.from(this.#members, ({ about }) => about.serverAssignor);
    return mostVoted(votes.filter((vote) => vote !== null)) ?? defaultAssignor;
  }

  // ── A heartbeat ──

  /** `classic`: who speaks through classic-door.ts is this. */
  heartbeat(
    turn: GroupTurn,
    beat: ConsumerHeartbeat,
    classic: ConsumerMemberValue | null = null,
  ): HeartbeatAnswer {
    const refused = this.#check(beat, classic !== null);
    if (refused !== null) return refusedBeat(beat, ...refused);
    if (beat.memberEpoch === MemberEpoch.leave || beat.memberEpoch === MemberEpoch.leaveForNow) {
      return this.#leave(turn, beat);
    }
    const former = this.#members.get(beat.memberId);
    const before = former?.held;
    const isOther = this.#admit(turn, beat, classic);
    this.#beginEpoch(turn, isOther);
    if (this.#epoch > this.#targetEpoch) this.#aim(turn);
    const member = this.#members.get(beat.memberId) as ConsumerMember;
    this.#move(turn, member, beat.owned);
    this.#watch(turn, member);
    // Who cannot know whether its last answer came tells everything again, and is told everything.
    const isTold = beat.topicNames !== null || beat.topicRegex !== null;
    const isFull = beat.rebalanceTimeoutMs !== -1 && isTold && beat.owned !== null;
    const isNew = before === undefined || beat.memberEpoch === MemberEpoch.join;
    const changed = before === undefined || !same(before.assigned, member.held.assigned);
    return {
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      memberId: member.id,
      memberEpoch: member.held.epoch,
      assignment: isFull || isNew || changed ? member.held.assigned : null,
    };
  }

  #check(beat: ConsumerHeartbeat, isClassic: boolean): readonly [ErrorCode, string] | null {
    const { memberId, memberEpoch, instanceId } = beat;
    if (memberEpoch === MemberEpoch.join) {
      if (beat.assignor !== null && !assignors.has(beat.assignor)) {
        const known = [...assignors.keys()].join(", ");
        return [ErrorCode.UNSUPPORTED_ASSIGNOR, `The assignor ${beat.assignor} is not served; ${known} are.`];
      }
      if (this.#members.get(memberId) === undefined && this.#members.size >= this.#settings.consumersMax) {
        const staying = instanceId === null ? undefined : this.byInstance(instanceId);
        if (staying === undefined) {
          const message = `The group has ${this.#members.size} members, as many as group.consumer.max.size allows.`;
          return [ErrorCode.GROUP_MAX_SIZE_REACHED, message];
        }
      }
      const named = instanceId === null ? undefined : this.byInstance(instanceId);
      const mayTakeOver = isClassic || named?.held.epoch === MemberEpoch.leaveForNow;
      if (named === undefined || named.id === memberId || mayTakeOver) return null;
      return [ErrorCode.UNRELEASED_INSTANCE_ID, `The instance id ${instanceId} is in use by another member.`];
    }
    if (instanceId !== null) {
      const named = this.byInstance(instanceId);
      if (named === undefined)
        return [ErrorCode.UNKNOWN_MEMBER_ID, `No member has the instance id ${instanceId}.`];
      if (named.id !== memberId) {
        return [ErrorCode.FENCED_INSTANCE_ID, `The instance id ${instanceId} belongs to another member now.`];
      }
    }
    const member = this.#members.get(memberId);
    if (member === undefined) return [ErrorCode.UNKNOWN_MEMBER_ID, `Member ${memberId} is not in the group.`];
    if (memberEpoch < 0 || isCurrent(member, memberEpoch, beat.owned)) return null;
    const message = `Member ${memberId} is at epoch ${member.held.epoch}, not ${memberEpoch}; it must join again.`;
    return [ErrorCode.FENCED_MEMBER_EPOCH, message];
  }

  byInstance(instanceId: string): ConsumerMember | undefined {
    for (const member of this.#members) if (member.about.instanceId === instanceId) return member;
    return undefined;
  }

  /** Writes who the member is, if that is new. Returns whether it is new to the group or wants something else than before. */
  #admit(turn: GroupTurn, beat: ConsumerHeartbeat, classic: ConsumerMemberValue | null): boolean {
    const away = beat.instanceId === null ? undefined : this.byInstance(beat.instanceId);
    if (away !== undefined && away.id !== beat.memberId) this.#replace(turn, away, beat.memberId);
    const about = this.#members.get(beat.memberId)?.about ?? aboutNobody;
    this.#sessions.uninvite(beat.memberId);
    const next: ConsumerMemberValue = classic ?? {
      ...about,
      classicMemberMetadata: null,
      instanceId: beat.instanceId ?? about.instanceId,
      rackId: beat.rackId ?? about.rackId,
      clientId: beat.clientId,
      clientHost: beat.clientHost,
      subscribedTopicNames:
        beat.topicNames === null ? about.subscribedTopicNames : [...beat.topicNames].sort(),
      subscribedTopicRegex:
        beat.topicRegex === null
          ? about.subscribedTopicRegex
          : beat.topicRegex === ""
            ? null
            : beat.topicRegex,
      rebalanceTimeoutMs: beat.rebalanceTimeoutMs === -1 ? about.rebalanceTimeoutMs : beat.rebalanceTimeoutMs,
      serverAssignor: beat.assignor ?? about.serverAssignor,
    };
    const wantsSame = about !== aboutNobody && isSameWish(about, next);
    if (wantsSame && isSameAddress(about, next)) return false;
    turn.write({ kind: "member", key: this.#key(beat.memberId), value: next });
    return !wantsSame;
  }

  /** A static member came back under another id: it takes over what its former self had (KIP-345). */
  #replace(turn: GroupTurn, former: ConsumerMember, id: string): void {
    const { about, target, held } = former;
    this.#forget(turn, former.id);
    turn.write({ kind: "member", key: this.#key(id), value: about });
    turn.write({
      kind: "target",
      key: this.#key(id),
      value: { topicPartitions: topicPartitions(target) },
    });
    const back = { ...held, epoch: MemberEpoch.join, previousEpoch: held.epoch };
    turn.write({ kind: "current", key: this.#key(id), value: toCurrent(back) });
  }

  #leave(turn: GroupTurn, { memberId, memberEpoch }: ConsumerHeartbeat): HeartbeatAnswer {
    const member = this.#members.get(memberId) as ConsumerMember;
    if (memberEpoch === MemberEpoch.leaveForNow && member.about.instanceId !== null) {
      // Its partitions wait for it until its session ends.
      const away = { ...member.held, epoch: MemberEpoch.leaveForNow, previousEpoch: member.held.epoch };
      turn.write({ kind: "current", key: this.#key(memberId), value: toCurrent(away) });
      this.#sessions.endRevocation(memberId);
    } else {
      this.drop(turn, new Set([memberId]));
    }
    return { errorCode: ErrorCode.NONE, errorMessage: null, memberId, memberEpoch, assignment: null };
  }

  /** One epoch for all of them. */
  drop(turn: GroupTurn, memberIds: ReadonlySet<string>): void {
    for (const id of memberIds) this.#forget(turn, id);
    if (memberIds.size > 0) this.#writeEpoch(turn, this.#hash());
  }

  #forget(turn: GroupTurn, memberId: string): void {
    for (const kind of ["current", "target", "member"] as const) {
      turn.write({ kind, key: this.#key(memberId), value: null });
    }
    this.#sessions.forget(memberId);
  }

  // ── Epoch, target, steps ──

  /** Members, what they want, or the topics are others than before. */
  #beginEpoch(turn: GroupTurn, isOther: boolean): void {
    if (!isOther && this.#seenVersion === this.#topics.version) return;
    this.#seenVersion = this.#topics.version;
    const hash = this.#hash();
    if (isOther || hash !== this.#metadataHash) this.#writeEpoch(turn, hash);
  }

  #writeEpoch(turn: GroupTurn, metadataHash: number): void {
    const value = { epoch: Math.max(firstEpoch, this.#epoch + 1), metadataHash };
    turn.write({ kind: "consumer", key: { group: this.id }, value });
  }

  /** What a member wants, of what is there. */
  #wanted({ about }: ConsumerMember): readonly TopicFacts[] {
    return this.#found(about.subscribedTopicNames, [about.subscribedTopicRegex]);
  }

  #found(names: Iterable<string>, patterns: Iterable<string | null>): readonly TopicFacts[] {
    const all = new Set(names);
    for (const pattern of patterns) {
      for (const name of pattern === null ? [] : matchTopics(pattern, this.#topics)) all.add(name);
    }
    return Array.from(all, (name) => this.#topics.find(name)).filter((topic) => topic !== undefined);
  }

  /** Topics that some member wants. */
  wantedTopics(): ReadonlyMap<TopicId, TopicFacts> {
    const patterns = new Set(Array.from(this.#members, ({ about }) => about.subscribedTopicRegex));
    return new Map(this.#found(this.#members.wantedNames, patterns).map((topic) => [topic.id, topic]));
  }

  #hash(): number {
    return hashTopics(this.wantedTopics().values());
  }

  #aim(turn: GroupTurn): void {
    const members = [...this.#members];
    const counts = new Map(
      Array.from(this.wantedTopics(), ([id, { partitionCount }]) => [id, partitionCount]),
    );
    const candidates = members.map((member) => ({
      memberId: member.id,
      topics: new Set(this.#wanted(member).map(({ id }) => id)),
      target: member.target,
    }));
    const targets = assignorOf(this.assignorName)(candidates, counts);
    for (const { id, target } of members) {
      const next = targets.get(id) ?? noPartitions;
      if (same(next, target)) continue;
      turn.write({
        kind: "target",
        key: this.#key(id),
        value: { topicPartitions: topicPartitions(next) },
      });
    }
    this.#writeTargetEpoch(turn);
  }

  #writeTargetEpoch(turn: GroupTurn): void {
    const value = { assignmentEpoch: this.#epoch, assignmentTimestamp: turn.wallMs };
    turn.write({ kind: "targetEpoch", key: { group: this.id }, value });
  }

  #move(turn: GroupTurn, member: ConsumerMember, owned: PartitionSet | null): void {
    const next = nextStep(member.held, {
      epoch: this.#targetEpoch,
      target: member.target,
      owned,
      isFree: (topicId, partition) => this.#isFree(topicId, partition, member),
    });
    const isSame =
      next === member.held ||
      (next.epoch === member.held.epoch &&
        next.state === member.held.state &&
        same(next.assigned, member.held.assigned) &&
        same(next.revoking, member.held.revoking));
    if (isSame && member.held.epoch !== MemberEpoch.join) return;
    turn.write({ kind: "current", key: this.#key(member.id), value: toCurrent(next) });
  }

  #isFree(topicId: TopicId, partition: PartitionIndex, asking: ConsumerMember): boolean {
    for (const { id, held } of this.#members) {
      if (id === asking.id) continue;
      if (contains(held.assigned, topicId, partition) || contains(held.revoking, topicId, partition))
        return false;
    }
    return true;
  }

  // ── Members of the classic protocol among the others: see classic-door.ts ──

  member(id: string): ConsumerMember | undefined {
    return this.#members.get(id);
  }
  /** Somebody was told this id and may join with it until then (monotonic ms). */
  invite(id: string, untilMs: number): void {
    this.#sessions.invite(id, untilMs);
  }
  isInvited(id: string): boolean {
    return this.#sessions.isInvited(id);
  }

  /** A sign of life that says nothing else. */
  hear(turn: GroupTurn, id: string): void {
    this.#beginEpoch(turn, false);
    const member = this.#members.get(id);
    if (member !== undefined) this.#watch(turn, member);
  }

  /** Whether a member has something to hear, or to give up. */
  hasNews(id: string): boolean {
    const member = this.#members.get(id);
    if (member === undefined) return false;
    const { held, target } = member;
    if (held.epoch < this.#epoch || held.state === MemberState.unrevoked) return true;
    if (held.state !== MemberState.unreleased) return false;
    for (const [topicId, partition] of each(minus(target, held.assigned))) {
      if (this.#isFree(topicId, partition, member)) return true;
    }
    return false;
  }

  /** Takes over members with what they have, at the generation that they know as their epoch. */
  adopt(turn: GroupTurn, migrants: readonly Migrant[], generation: number): void {
    const epoch = Math.max(1, generation);
    for (const { id, about, assigned } of migrants) {
      turn.write({ kind: "member", key: this.#key(id), value: about });
      turn.write({
        kind: "target",
        key: this.#key(id),
        value: { topicPartitions: topicPartitions(assigned) },
      });
      const since = epochsOf(assigned, noEpochs, epoch);
      const held = { ...holdsNothing, epoch, previousEpoch: epoch, assigned, since };
      turn.write({ kind: "current", key: this.#key(id), value: toCurrent(held) });
    }
    turn.write({ kind: "consumer", key: { group: this.id }, value: { epoch, metadataHash: this.#hash() } });
    this.#writeTargetEpoch(turn);
    for (const member of this.#members) this.#watch(turn, member);
  }

  // ── Time ──

  #watch(turn: GroupTurn, member: ConsumerMember): void {
    this.#watchFrom(turn.monotonicMs, member);
    if (member.held.state !== MemberState.unrevoked) this.#sessions.endRevocation(member.id);
  }

  #watchFrom(nowMs: number, { id, about, held }: ConsumerMember): void {
    const { classicMemberMetadata, rebalanceTimeoutMs } = about;
    const sessionMs =
      classicMemberMetadata?.sessionTimeoutMs ?? this.#settings.consumerSessionTimeoutMs(this.id);
    this.#sessions.hear(id, nowMs + sessionMs);
    if (held.state !== MemberState.unrevoked) return;
    this.#sessions.awaitRevocation(id, nowMs + Math.max(0, rebalanceTimeoutMs));
  }

  /** Ends what ran out by now: a member that is not heard of, or that does not give up what others wait for. */
  onTime(turn: GroupTurn): void {
    this.drop(turn, this.#sessions.late(turn.monotonicMs));
  }

  /** Monotonic; `Infinity`: nothing will happen by itself. */
  get nextDeadlineMs(): number {
    return this.#sessions.nextDeadlineMs;
  }

  /** The log is read: every session begins anew, since nobody could be heard. `nowMs`: monotonic. */
  loaded(nowMs: number): void {
    for (const member of this.#members) this.#watchFrom(nowMs, member);
  }

  // ── What else members may do ──

  /**
   * A member commits at its own epoch; at an older one, of which it knew before it heard of its new one, what
   * it has had since then (KIP-1251).
   */
  mayCommit(claim: Claim, offsets: readonly OffsetToCommit[]): ErrorCode {
    const { held } = this.#members.get(claim.memberId) ?? {};
    const verdict = this.verify(claim);
    if (verdict !== ErrorCode.STALE_MEMBER_EPOCH || held === undefined) return verdict;
    const hadThem = offsets.every(({ topicId, partition }) => {
      const since = held.since.get(topicId)?.get(partition);
      return since !== undefined && since <= claim.generation;
    });
    return hadThem && claim.generation < held.epoch ? ErrorCode.NONE : verdict;
  }

  /** A member reads its offsets at its own epoch only. */
  verify({ memberId, generation }: Claim): ErrorCode {
    if (generation < 0 && this.isEmpty) return ErrorCode.NONE;
    const member = this.#members.get(memberId);
    if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
    if (member.held.epoch === generation) return ErrorCode.NONE;
    return member.about.classicMemberMetadata === null
      ? ErrorCode.STALE_MEMBER_EPOCH
      : ErrorCode.ILLEGAL_GENERATION;
  }

  // ── Records ──

  #key(memberId: string) {
    return { group: this.id, memberId };
  }

  /** Everything of it goes. */
  remove(turn: GroupTurn): void {
    for (const { id } of this.#members) this.#forget(turn, id);
    for (const kind of ["targetEpoch", "consumer"] as const) {
      turn.write({ kind, key: { group: this.id }, value: null });
    }
  }

  apply(record: ConsumerRecord): void {
    switch (record.kind) {
      case "consumer":
        this.#epoch = record.value?.epoch ?? 0;
        this.#metadataHash = record.value?.metadataHash ?? 0;
        break;
      case "targetEpoch":
        this.#targetEpoch = record.value?.assignmentEpoch ?? 0;
        break;
      case "member":
        if (record.value === null) this.#members.delete(record.key.memberId);
        else this.#change(record.key.memberId, { about: record.value });
        break;
      case "target":
        if (record.value === null) break;
        this.#change(record.key.memberId, { target: partitionSet(record.value.topicPartitions) });
        break;
      case "current":
        if (record.value !== null) this.#change(record.key.memberId, { held: fromCurrent(record.value) });
        break;
      default:
        return record satisfies never;
    }
  }

  /** In place: whoever looks at the member sees it. */
  #change(id: string, change: Partial<ConsumerMember>): void {
    const known = this.#members.get(id);
    const member = known ?? { id, about: aboutNobody, target: noPartitions, held: holdsNothing };
    this.#members.set(Object.assign(member, change));
  }
}
