/**
 * A group of the classic protocol: members join, one of them (the leader) divides the partitions, all
 * hear their part, and whenever somebody comes or goes it begins anew with the next generation. A
 * generation is written before any member hears of it, so a restarted broker never gives the same number
 * to other members (the commits of the former ones would count). What is written is the generation with
 * its members and their parts; who waits for whom, and time-outs, live in memory only.
 */
import { consumerProtocolType } from "../../protocol/consumer-protocol.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { JoinGroupResponse } from "../../protocol/messages/join-group.ts";
import type { SyncGroupResponse } from "../../protocol/messages/sync-group.ts";
import type { GroupMetadataValue, GroupTurn } from "./records.ts";
import type { Ticket } from "../turn.ts";
import {
  candidate,
  type ClassicMember,
  electProtocol,
  memberFrom,
  memberOf,
  memberRecord,
  noBytes,
  offersSame,
} from "./classic-member.ts";
import {
  type Claim,
  type Identity,
  isUnnamed,
  type Join,
  refusedJoin,
  refusedSync,
  refuseWaiting,
  type Sync,
} from "./classic-request.ts";
import { Roster } from "./roster.ts";
import type { GroupSettings } from "./settings.ts";

/** Kafka's names; ListGroups and DescribeGroups show them. */
export type ClassicPhase = "Empty" | "PreparingRebalance" | "CompletingRebalance" | "Stable";

export class ClassicGroup {
  readonly id: string;
  readonly #settings: GroupSettings;
  #phase: ClassicPhase = "Empty";
  #generation = 0;
  #protocolType: string | null = null;
  #protocol: string | null = null;
  #leader: string | null = null;
  /** Wall clock ms of the last written change; since when an empty group is empty. */
  #stateTimestampMs = -1;
  readonly #members = new Roster();
  #joinDeadlineMs = Infinity;
  /** While a group that was empty waits for more members: how much longer it may, and whether one came. */
  #initial: { remainingMs: number; somebodyCame: boolean } | null = null;
  /** Who has not asked for its part of this generation yet, and until when it may. */
  readonly #unsynced = new Set<string>();
  #syncDeadlineMs = Infinity;
  #written = false;
  #hasLeft = false;

  constructor(id: string, settings: GroupSettings) {
    this.id = id;
    this.#settings = settings;
  }

  get phase(): ClassicPhase {
    return this.#phase;
  }
  get generation(): number {
    return this.#generation;
  }
  get protocolType(): string | null {
    return this.#protocolType;
  }
  get protocol(): string | null {
    return this.#protocol;
  }
  get stateTimestampMs(): number {
    return this.#stateTimestampMs;
  }
  get members(): Iterable<ClassicMember> {
    return this.#members;
  }
  get isEmpty(): boolean {
    return this.#members.isEmpty;
  }
  hasMember(id: string): boolean {
    return this.#members.get(id) !== undefined;
  }
  get isWritten(): boolean {
    return this.#written;
  }
  get isIdle(): boolean {
    return this.isEmpty && this.#members.invitedCount === 0 && !this.#written;
  }

  // ── Joining ──

  join(turn: GroupTurn, join: Join, ticket: Ticket<JoinGroupResponse>): void {
    const { sessionTimeoutMinMs, sessionTimeoutMaxMs, membersMax } = this.#settings;
    const refuse = (errorCode: ErrorCode) => turn.reply(ticket, refusedJoin(errorCode, join.memberId));
    if (join.sessionTimeoutMs < sessionTimeoutMinMs || join.sessionTimeoutMs > sessionTimeoutMaxMs) {
      return refuse(ErrorCode.INVALID_SESSION_TIMEOUT);
    }
    if (!this.#speaksWith(join)) return refuse(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    if (join.memberId === "") return this.#joinUnknown(turn, join, ticket);

    const claimed = this.#members.verify(join);
    if (claimed !== ErrorCode.NONE && !(this.#members.isInvited(join.memberId) && join.instanceId === null)) {
      return refuse(claimed);
    }
    const member = this.#members.get(join.memberId);
    if (member === undefined) {
      if (this.#members.isFull(join.memberId, membersMax)) return refuse(ErrorCode.GROUP_MAX_SIZE_REACHED);
      return this.#add(turn, join.memberId, join, ticket);
    }
    this.#rejoin(turn, member, join, ticket);
  }

  #joinUnknown(turn: GroupTurn, join: Join, ticket: Ticket<JoinGroupResponse>): void {
    const { instanceId } = join;
    const id = `${instanceId ?? join.clientId}-${join.freshId}`;
    const former = instanceId === null ? undefined : this.#members.byInstance(instanceId);
    if (former !== undefined) return this.#replaceStatic(turn, former, id, join, ticket);
    if (this.#members.isFull(id, this.#settings.membersMax)) {
      return turn.reply(ticket, refusedJoin(ErrorCode.GROUP_MAX_SIZE_REACHED, ""));
    }
    if (instanceId !== null || !join.mustKnowId) return this.#add(turn, id, join, ticket);
    this.#members.invite(id, turn.monotonicMs + join.sessionTimeoutMs);
    turn.reply(ticket, refusedJoin(ErrorCode.MEMBER_ID_REQUIRED, id));
  }

  #speaksWith({ protocolType, protocols }: Join): boolean {
    if (protocolType === "" || protocols.length === 0) return false;
    if (this.isEmpty) return true;
    return (
      protocolType === this.#protocolType && this.#members.sharesProtocol(protocols.map(({ name }) => name))
    );
  }

  #add(turn: GroupTurn, id: string, join: Join, ticket: Ticket<JoinGroupResponse>): void {
    if (this.isEmpty) this.#protocolType = join.protocolType;
    this.#members.add(memberOf(id, join, ticket));
    if (this.#initial !== null) this.#initial.somebodyCame = true;
    this.#rebalance(turn);
  }

  #rejoin(turn: GroupTurn, member: ClassicMember, join: Join, ticket: Ticket<JoinGroupResponse>): void {
    const changed = !offersSame(member.protocols, join.protocols);
    switch (this.#phase) {
      case "CompletingRebalance":
        if (!changed) return turn.reply(ticket, this.#joined(member)); // The first answer was lost.
        break;
      case "Stable":
        if (!changed && member.id !== this.#leader) return turn.reply(ticket, this.#joined(member));
        break;
      case "PreparingRebalance":
        break;
      case "Empty":
        return turn.reply(ticket, refusedJoin(ErrorCode.UNKNOWN_MEMBER_ID, join.memberId));
      default:
        return this.#phase satisfies never;
    }
    this.#await(turn, member, join, ticket);
    this.#rebalance(turn);
  }

  #await(turn: GroupTurn, member: ClassicMember, join: Join, ticket: Ticket<JoinGroupResponse>): void {
    refuseWaiting(turn, member, ErrorCode.REBALANCE_IN_PROGRESS);
    member.protocols = join.protocols;
    member.sessionTimeoutMs = join.sessionTimeoutMs;
    member.rebalanceTimeoutMs = join.rebalanceTimeoutMs;
    member.joining = ticket;
    member.deadlineMs = Infinity;
  }

  /** A static member came back under a new id: whoever still uses the former one is fenced (KIP-345). */
  #replaceStatic(
    turn: GroupTurn,
    formerId: string,
    id: string,
    join: Join,
    ticket: Ticket<JoinGroupResponse>,
  ): void {
    const former = this.#members.get(formerId) as ClassicMember;
    refuseWaiting(turn, former, ErrorCode.FENCED_INSTANCE_ID);
    const member: ClassicMember = {
      ...former,
      id,
      clientId: join.clientId,
      clientHost: join.clientHost,
    };
    this.#members.remove(former);
    this.#members.add(member);
    if (this.#unsynced.delete(formerId)) this.#unsynced.add(id);
    const wasLeader = this.#leader === formerId;
    if (wasLeader) this.#leader = id;
    if (this.#phase === "Stable" && offersSame(member.protocols, join.protocols)) {
      // It keeps its part, and nobody else notices.
      member.deadlineMs = turn.monotonicMs + member.sessionTimeoutMs;
      this.#write(turn);
      const joined = this.#joined(member);
      if (!wasLeader || join.maySkipAssignment) {
        return turn.reply(ticket, { ...joined, skipAssignment: wasLeader });
      }
      // An older leader would divide anew: it is told that somebody else leads.
      return turn.reply(ticket, { ...joined, leader: formerId, members: [] });
    }
    this.#await(turn, member, join, ticket);
    this.#rebalance(turn);
  }

  // ── The rebalance: everybody joins, then a generation begins ──

  /** Begins one, or goes on with the one that has begun. */
  #rebalance(turn: GroupTurn): void {
    if (this.#phase !== "PreparingRebalance") {
      for (const member of this.#members) this.#endSync(turn, member, ErrorCode.REBALANCE_IN_PROGRESS);
      this.#unsynced.clear();
      this.#syncDeadlineMs = Infinity;
      const timeoutMs = this.#members.rebalanceTimeoutMs;
      const delayMs = this.#settings.initialRebalanceDelayMs;
      const isFirst = this.#phase === "Empty" && delayMs > 0;
      this.#initial = isFirst ? { remainingMs: Math.max(0, timeoutMs - delayMs), somebodyCame: false } : null;
      this.#joinDeadlineMs = turn.monotonicMs + (isFirst ? delayMs : timeoutMs);
      this.#phase = "PreparingRebalance";
    }
    this.#beginIfAllJoined(turn);
  }

  #beginIfAllJoined(turn: GroupTurn): void {
    if (this.#phase !== "PreparingRebalance") return;
    if (this.#initial !== null && !this.isEmpty) return;
    if (this.#members.invitedCount > 0 && !this.isEmpty) return;
    if (this.#members.allJoining) this.#beginGeneration(turn);
  }

  #joinTimeIsUp(turn: GroupTurn): void {
    if (this.#initial !== null) {
      const { somebodyCame, remainingMs } = this.#initial;
      if (somebodyCame && remainingMs > 0) {
        const delayMs = Math.min(this.#settings.initialRebalanceDelayMs, remainingMs);
        this.#initial = { remainingMs: remainingMs - delayMs, somebodyCame: false };
        this.#joinDeadlineMs = turn.monotonicMs + delayMs;
        return;
      }
    }
    for (const member of this.#members) {
      // Static members keep their place while they are away, until their session ends.
      if (member.joining === null && member.instanceId === null) this.#drop(turn, member);
    }
    if (!this.isEmpty && this.#members.firstJoining === undefined) {
      this.#joinDeadlineMs = turn.monotonicMs + this.#members.rebalanceTimeoutMs;
      return;
    }
    this.#beginGeneration(turn);
  }

  #beginGeneration(turn: GroupTurn): void {
    this.#initial = null;
    this.#joinDeadlineMs = Infinity;
    this.#generation++;
    this.#protocol = electProtocol(this.#members);
    for (const member of this.#members) member.assignment = noBytes;
    if (this.isEmpty) {
      this.#phase = "Empty";
      this.#leader = null;
      this.#write(turn);
      return;
    }
    this.#phase = "CompletingRebalance";
    const leader = this.#leader === null ? undefined : this.#members.get(this.#leader);
    if (leader === undefined || leader.joining === null) {
      this.#leader = (this.#members.firstJoining as ClassicMember).id;
    }
    // I1: the generation is in the log before anybody hears its number.
    this.#write(turn);
    this.#syncDeadlineMs = turn.monotonicMs + this.#members.rebalanceTimeoutMs;
    for (const member of this.#members) {
      this.#unsynced.add(member.id);
      if (member.joining === null) continue;
      turn.reply(member.joining, this.#joined(member));
      member.joining = null;
      member.deadlineMs = turn.monotonicMs + member.sessionTimeoutMs;
    }
  }

  #joined(member: ClassicMember): JoinGroupResponse {
    const isLeader = member.id === this.#leader;
    const members = isLeader ? [...this.#members] : [];
    return {
      throttleTimeMs: 0,
      errorCode: ErrorCode.NONE,
      generationId: this.#generation,
      protocolType: this.#protocolType,
      protocolName: this.#protocol,
      leader: this.#leader ?? "",
      skipAssignment: false,
      memberId: member.id,
      members: members.map((each) => candidate(each, this.#protocol)),
    };
  }

  // ── Hearing the part of one's own ──

  sync(turn: GroupTurn, sync: Sync, ticket: Ticket<SyncGroupResponse>): void {
    const claimed = this.#members.verify(sync);
    const member = this.#members.get(sync.memberId);
    if (claimed !== ErrorCode.NONE || member === undefined) return turn.reply(ticket, refusedSync(claimed));
    if (sync.generation !== this.#generation)
      return turn.reply(ticket, refusedSync(ErrorCode.ILLEGAL_GENERATION));
    const isOther =
      (sync.protocolType !== null && sync.protocolType !== this.#protocolType) ||
      (sync.protocol !== null && sync.protocol !== this.#protocol);
    if (isOther) return turn.reply(ticket, refusedSync(ErrorCode.INCONSISTENT_GROUP_PROTOCOL));
    switch (this.#phase) {
      case "Empty":
        return turn.reply(ticket, refusedSync(ErrorCode.UNKNOWN_MEMBER_ID));
      case "PreparingRebalance":
        return turn.reply(ticket, refusedSync(ErrorCode.REBALANCE_IN_PROGRESS));
      case "CompletingRebalance":
        this.#unsynced.delete(member.id);
        this.#endSync(turn, member, ErrorCode.REBALANCE_IN_PROGRESS);
        member.syncing = ticket;
        member.deadlineMs = Infinity;
        if (member.id === this.#leader) this.#divide(turn, sync.assignments);
        return;
      case "Stable":
        this.#unsynced.delete(member.id);
        member.deadlineMs = turn.monotonicMs + member.sessionTimeoutMs;
        return turn.reply(ticket, this.#synced(member));
      default:
        return this.#phase satisfies never;
    }
  }

  #divide(turn: GroupTurn, assignments: Sync["assignments"]): void {
    for (const { memberId, assignment } of assignments) {
      const member = this.#members.get(memberId);
      if (member !== undefined) member.assignment = Uint8Array.from(assignment);
    }
    this.#phase = "Stable";
    this.#write(turn);
    for (const member of this.#members) {
      if (member.syncing === null) continue;
      turn.reply(member.syncing, this.#synced(member));
      member.syncing = null;
      member.deadlineMs = turn.monotonicMs + member.sessionTimeoutMs;
    }
  }

  #synced({ assignment }: ClassicMember): SyncGroupResponse {
    const part = { protocolType: this.#protocolType, protocolName: this.#protocol, assignment };
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, ...part };
  }

  #endSync(turn: GroupTurn, member: ClassicMember, errorCode: ErrorCode): void {
    if (member.syncing === null) return;
    turn.reply(member.syncing, refusedSync(errorCode));
    member.syncing = null;
    member.deadlineMs = turn.monotonicMs + member.sessionTimeoutMs;
  }

  // ── Staying and leaving ──

  heartbeat(turn: GroupTurn, claim: Claim): ErrorCode {
    const claimed = this.#members.verify(claim);
    const member = this.#members.get(claim.memberId);
    if (claimed !== ErrorCode.NONE || member === undefined) return claimed;
    if (claim.generation !== this.#generation) return ErrorCode.ILLEGAL_GENERATION;
    this.#heard(turn, member);
    return this.#phase === "PreparingRebalance" ? ErrorCode.REBALANCE_IN_PROGRESS : ErrorCode.NONE;
  }

  #heard(turn: GroupTurn, member: ClassicMember): void {
    if (member.deadlineMs !== Infinity) member.deadlineMs = turn.monotonicMs + member.sessionTimeoutMs;
  }

  /** By member id, or by instance id alone, as an admin names static members. Call `left` when all have. */
  leave(turn: GroupTurn, { memberId, instanceId }: Identity): ErrorCode {
    const byInstance = instanceId === null ? undefined : this.#members.byInstance(instanceId);
    if (instanceId !== null && byInstance === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
    if (byInstance !== undefined && memberId !== "" && memberId !== byInstance)
      return ErrorCode.FENCED_INSTANCE_ID;
    const id = byInstance ?? memberId;
    if (this.#members.uninvite(id)) return ErrorCode.NONE;
    const member = this.#members.get(id);
    if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
    this.#drop(turn, member);
    this.#hasLeft = true;
    return ErrorCode.NONE;
  }

  /** After the last `leave` of a request. */
  left(turn: GroupTurn): void {
    if (this.#hasLeft) this.#rebalance(turn);
    else this.#beginIfAllJoined(turn);
    this.#hasLeft = false;
  }

  #drop(turn: GroupTurn, member: ClassicMember): void {
    refuseWaiting(turn, member, ErrorCode.UNKNOWN_MEMBER_ID);
    this.#members.remove(member);
    this.#unsynced.delete(member.id);
  }

  /** Ends what ran out by now. */
  onTime(turn: GroupTurn): void {
    const now = turn.monotonicMs;
    const ranOut = this.#members.uninviteLate(now);
    const late = this.#syncDeadlineMs <= now;
    for (const member of this.#members) {
      if (member.deadlineMs > now && !(late && this.#unsynced.has(member.id))) continue;
      this.#drop(turn, member);
      this.#hasLeft = true;
    }
    if (late) this.#syncDeadlineMs = Infinity;
    if (this.#hasLeft || ranOut) this.left(turn);
    if (this.#joinDeadlineMs <= now && this.#phase === "PreparingRebalance") this.#joinTimeIsUp(turn);
  }

  /** Monotonic; `Infinity`: nothing will happen by itself. */
  get nextDeadlineMs(): number {
    return Math.min(this.#joinDeadlineMs, this.#syncDeadlineMs, this.#members.nextDeadlineMs);
  }

  // ── What else members may do ──

  /** Whether offsets may be committed by who claims to be `claim`. */
  mayCommit(turn: GroupTurn, claim: Claim, isTransactional: boolean): ErrorCode {
    if (claim.generation < 0 && this.isEmpty) return ErrorCode.NONE;
    if (isUnnamed(claim)) return ErrorCode.UNKNOWN_MEMBER_ID;
    const claimed = this.#members.verify(claim);
    if (claimed !== ErrorCode.NONE) return claimed;
    if (claim.generation !== this.#generation) return ErrorCode.ILLEGAL_GENERATION;
    if (isTransactional) return ErrorCode.NONE;
    // The leader divides right now: whose partition this will be is not known.
    if (this.#phase === "CompletingRebalance") return ErrorCode.REBALANCE_IN_PROGRESS;
    this.#heard(turn, this.#members.get(claim.memberId) as ClassicMember);
    return ErrorCode.NONE;
  }

  /** The broker stops, or the group is deleted: whoever waits looks for its coordinator anew. */
  dismiss(turn: GroupTurn, errorCode: ErrorCode): void {
    for (const member of this.#members) refuseWaiting(turn, member, errorCode);
  }

  // ── Records ──

  #write(turn: GroupTurn): void {
    this.#stateTimestampMs = turn.wallMs;
    const value: GroupMetadataValue = {
      protocolType: this.#protocolType ?? "",
      generation: this.#generation,
      protocol: this.#protocol,
      leader: this.#leader,
      currentStateTimestamp: turn.wallMs,
      members: Array.from(this.#members, (member) => memberRecord(member, this.#protocol)),
    };
    turn.write({ kind: "classic", key: { group: this.id }, value });
  }

  noteWritten(): void {
    this.#written = true;
  }

  /** Goes on behind the epochs of a group of KIP-848, and lets the members that are left join anew. */
  adopt(turn: GroupTurn, members: readonly ClassicMember[], generation: number): void {
    this.#generation = generation;
    // Where the numbers go on is written now: a restart before the next generation would give old ones again.
    if (members.length === 0) return this.#write(turn);
    for (const member of members) this.#members.add(member);
    this.#protocolType = consumerProtocolType;
    this.#protocol = electProtocol(this.#members);
    this.#phase = "Stable";
    this.#write(turn);
    this.#rebalance(turn);
  }

  /** Becomes what a record says; only before the group serves. `nowMs`: monotonic. */
  restore(value: GroupMetadataValue, nowMs: number): void {
    this.#written = true;
    this.#generation = value.generation;
    this.#protocolType = value.protocolType === "" ? null : value.protocolType;
    this.#protocol = value.protocol;
    this.#leader = value.leader;
    this.#stateTimestampMs = value.currentStateTimestamp;
    this.#members.clear();
    this.#unsynced.clear();
    // Nobody could be heard while the broker was away: every session begins anew.
    for (const each of value.members) this.#members.add(memberFrom(each, value.protocol, nowMs));
    // A generation without any part was written before its leader divided: it still may.
    const isDivided = value.members.some(({ assignment }) => assignment.byteLength > 0);
    this.#phase = this.isEmpty ? "Empty" : isDivided ? "Stable" : "CompletingRebalance";
    if (this.#phase === "CompletingRebalance") {
      for (const { id } of this.#members) this.#unsynced.add(id);
      this.#syncDeadlineMs = nowMs + this.#members.rebalanceTimeoutMs;
    }
  }
}
