/**
 * The share groups among the groups of one shard: who may be one, and what may be done to it. A name belongs to one
 * kind of group: a share group has no members of other protocols and no committed offsets, and what has either is
 * no share group. What a decision leaves to be done elsewhere goes out as `ShareWork`, and comes back settled.
 */
import type { Offset, PartitionIndex, TopicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { MemberEpoch } from "./consumer-request.ts";
import type { Group } from "./group.ts";
import { consumerBytes } from "./member-bytes.ts";
import type { PartitionSet } from "./partition-set.ts";
import type { GroupTurn } from "./records.ts";
import { refusedShareBeat, type ShareAnswer, type ShareHeartbeat, type ShareWork } from "./share-request.ts";
import type { ShareGroup } from "./share.ts";
import { isNothing, topicsOf } from "./share-state.ts";

/** The groups of the shard. */
export interface GroupRoom {
  find(groupId: string): Group | undefined;
  /** Made where it is not there. */
  grow(groupId: string): Group;
  /** It was changed. */
  settle(group: Group): void;
  /** Whether so many bytes more may be kept in memory. */
  mayGrow(bytes: number): boolean;
}

export interface ShareBeat {
  readonly answer: ShareAnswer;
  /** Null: nothing is to be done elsewhere. */
  readonly work: ShareWork | null;
}

/** Why it is not done, in Kafka's words where its tools show them. */
export interface ShareRefusal {
  readonly kind: "refused";
  readonly errorCode: ErrorCode;
  readonly errorMessage: string;
}

export type ShareDecision = ShareRefusal | { readonly kind: "decided"; readonly work: ShareWork };

export class ShareGroups {
  readonly #room: GroupRoom;

  constructor(room: GroupRoom) {
    this.#room = room;
  }

  /** A share group, or why there is none. */
  find(groupId: string): ShareGroup | ShareRefusal {
    const group = this.#room.find(groupId);
    if (group === undefined) return refused(ErrorCode.GROUP_ID_NOT_FOUND, `Group ${groupId} not found.`);
    return group.share ?? notAShareGroup(groupId);
  }

  beat(turn: GroupTurn, groupId: string, beat: ShareHeartbeat): ShareBeat {
    const found = beat.memberEpoch === MemberEpoch.join ? this.#orNew(groupId) : this.find(groupId);
    if ("kind" in found) {
      return { answer: refusedShareBeat(beat, found.errorCode, found.errorMessage), work: null };
    }
    const mayHear =
      found.hasMember(beat.memberId) || this.#room.mayGrow(consumerBytes(beat.topicNames ?? []));
    const answer = mayHear
      ? found.heartbeat(turn, beat)
      : refusedShareBeat(beat, ErrorCode.GROUP_MAX_SIZE_REACHED, noMemory);
    const work = answer.errorCode === ErrorCode.NONE ? found.work(turn) : null;
    const group = this.#room.grow(groupId);
    // A mere sign of life moves a deadline away: the one that is noted comes too early, and is looked at then.
    if (turn.records.length > 0 || group.isIdle) this.#room.settle(group);
    return { answer, work };
  }

  /** What came of `work`: where share state began, and of which topics all of it is gone. */
  settled(
    turn: GroupTurn,
    groupId: string,
    work: ShareWork,
    { began, gone }: { readonly began: PartitionSet; readonly gone: ReadonlySet<TopicId> },
  ): void {
    const group = this.#room.find(groupId);
    if (!group?.share) return;
    group.share.settled(turn, work, began, gone);
    this.#room.settle(group);
  }

  /** Share state that is to end and nobody is at: an earlier attempt failed, or died with its broker. */
  leftOver(turn: GroupTurn, groupId: string): ShareWork | null {
    const share = this.#room.find(groupId)?.share ?? null;
    return share?.isEmpty === true ? share.work(turn) : null;
  }

  /** Delivery begins anew at these offsets: of a group without members, which is made where it is not there. */
  restart(
    turn: GroupTurn,
    groupId: string,
    beginning: readonly {
      readonly topicId: TopicId;
      readonly partition: PartitionIndex;
      readonly startOffset: Offset;
    }[],
  ): ShareDecision {
    const share = this.#orNew(groupId);
    if ("kind" in share) return share;
    if (!share.isEmpty) return notEmpty;
    if (beginning.some(({ topicId }) => share.state.deleting.has(topicId))) return isChanging(groupId);
    const work = share.restart(turn, beginning);
    this.#room.settle(this.#room.grow(groupId));
    return { kind: "decided", work };
  }

  /** What the group knows of these topics goes, or of all (null): of a group without members. */
  end(turn: GroupTurn, groupId: string, topics: ReadonlySet<TopicId> | null): ShareDecision {
    const share = this.find(groupId);
    if ("kind" in share) return share;
    if (!share.isEmpty) return notEmpty;
    const all = [...topicsOf(share.state)];
    const wanted = new Set(topics === null ? all : all.filter((id) => topics.has(id)));
    if (share.isAt(wanted)) return isChanging(groupId);
    return { kind: "decided", work: share.end(turn, wanted) };
  }

  /** The group goes, once all its share state is gone and nobody came meanwhile. */
  remove(turn: GroupTurn, groupId: string): ErrorCode {
    const group = this.#room.find(groupId);
    if (!group?.share) return ErrorCode.NONE;
    if (!group.share.isEmpty) return ErrorCode.NON_EMPTY_GROUP;
    // Somebody came, had it begun, and left again.
    if (!isNothing(group.share.state)) return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
    group.share.remove(turn);
    this.#room.settle(this.#room.grow(groupId));
    return ErrorCode.NONE;
  }

  #orNew(groupId: string): ShareGroup | ShareRefusal {
    const group = this.#room.find(groupId);
    if (group === undefined || group.isIdle) return this.#room.grow(groupId).asShare();
    return group.share ?? notAShareGroup(groupId);
  }
}

const noMemory = "The broker has no memory left for members of groups (holdfast.groups.bytes.max).";
const refused = (errorCode: ErrorCode, errorMessage: string): ShareRefusal => ({
  kind: "refused",
  errorCode,
  errorMessage,
});
const notAShareGroup = (groupId: string): ShareRefusal =>
  refused(ErrorCode.GROUP_ID_NOT_FOUND, `Group ${groupId} is not a share group.`);
/** Tools try again. */
const isChanging = (groupId: string): ShareRefusal =>
  refused(
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    `What group ${groupId} knows of one of these topics is being begun or deleted; try again.`,
  );
const notEmpty: ShareRefusal = refused(ErrorCode.NON_EMPTY_GROUP, "The group is not empty.");
