/** Committed offsets as they are asked for and stored, one request at a time. What to do about a refusal is the caller's. */
import { type LeaderEpoch, NO_TOPIC_ID, type Offset, partitionIndex, type TopicId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { OffsetCommit, type OffsetCommitResponse } from "../../protocol/messages/offset-commit.ts";
import { OffsetFetch, type OffsetFetchResponse } from "../../protocol/messages/offset-fetch.ts";
import { BrokerRefusedError } from "../errors.ts";
import type { TopicPartition } from "./assignor.ts";
import type { Coordinator, CoordinatorCall } from "../coordinator.ts";
import type { Identity } from "./member.ts";

export interface CommittedOffset extends TopicPartition {
  readonly offset: Offset;
  /** Of the record before it; −1: unknown. */
  readonly epoch: LeaderEpoch;
  readonly metadata: string;
}

/** How a question is named in a failure, and whether it is asked again. */
export type Persistence = Pick<CoordinatorCall<unknown>, "what" | "again">;

export interface TopicQuestion {
  readonly topic: string;
  readonly partitions: readonly number[];
}

/** The last version that names topics instead of giving their ids. */
const namedVersion = 9;

/**
 * Of the partitions that the group has committed; all topics when none is named. Waits for the end of
 * transactions that commit offsets, unless it is told that it need not: whoever only looks. Rejects with `BrokerRefusedError`, and as `Coordinator.call` does.
 */
export async function fetchOffsets(
  coordinator: Coordinator,
  group: string,
  topics: readonly TopicQuestion[] | null,
  persistence: Persistence,
  { requireStable = true }: { readonly requireStable?: boolean } = {},
): Promise<readonly CommittedOffset[]> {
  const wanted =
    topics === null
      ? null
      : topics.map(({ topic, partitions }) => ({
          name: topic,
          topicId: NO_TOPIC_ID,
          partitionIndexes: partitions.map(partitionIndex),
        }));
  const request = {
    groupId: "",
    topics: [],
    groups: [{ groupId: group, memberId: null, memberEpoch: -1, topics: wanted }],
    requireStable,
  };
  const answer = await coordinator.call(OffsetFetch, request, {
    ...persistence,
    versionMax: namedVersion,
    codeOf: firstFetchError,
  });
  const code = firstFetchError(answer);
  if (code !== ErrorCode.NONE) throw new BrokerRefusedError(persistence.what, code);
  return answer.groups.flatMap(({ topics: found }) =>
    found.flatMap(({ name, partitions }) =>
      partitions.flatMap(({ partitionIndex: partition, committedOffset, committedLeaderEpoch, metadata }) =>
        committedOffset < 0
          ? []
          : [
              {
                topic: name,
                partition,
                offset: committedOffset,
                epoch: committedLeaderEpoch,
                metadata: metadata ?? "",
              },
            ],
      ),
    ),
  );
}

function firstFetchError({ groups }: OffsetFetchResponse): number {
  for (const { errorCode, topics } of groups) {
    if (errorCode !== ErrorCode.NONE) return errorCode;
    for (const { partitions } of topics) {
      const failed = partitions.find((each) => each.errorCode !== ErrorCode.NONE);
      if (failed !== undefined) return failed.errorCode;
    }
  }
  return ErrorCode.NONE;
}

export interface OffsetToCommit extends TopicPartition {
  /** `NO_TOPIC_ID`: unknown. With an id the offset cannot be taken for one of a topic that was created since. */
  readonly topicId: TopicId;
  readonly offset: Offset;
  readonly epoch: LeaderEpoch;
  readonly metadata: string | null;
}

export interface CommitResult {
  readonly of: OffsetToCommit;
  readonly errorCode: number;
}

/** Who commits for a group without being a member: an admin, while the group is empty. */
export const noMember: Identity = { memberId: "", generation: -1, instanceId: null };

/** In the order of what is committed. Rejects as `Coordinator.call` does. */
export async function commitOffsets(
  coordinator: Coordinator,
  group: string,
  identity: Identity,
  offsets: readonly OffsetToCommit[],
  persistence: Persistence,
): Promise<readonly CommitResult[]> {
  const topics = new Map<string, OffsetToCommit[]>();
  for (const each of offsets) {
    const together = topics.get(each.topic);
    if (together === undefined) topics.set(each.topic, [each]);
    else together.push(each);
  }
  const request = {
    groupId: group,
    generationIdOrMemberEpoch: identity.generation,
    memberId: identity.memberId,
    groupInstanceId: identity.instanceId,
    retentionTimeMs: -1,
    topics: [...topics].map(([name, each]) => ({
      name,
      topicId: (each[0] as OffsetToCommit).topicId,
      partitions: each.map(({ partition, offset, epoch, metadata }) => ({
        partitionIndex: partitionIndex(partition),
        committedOffset: offset,
        committedLeaderEpoch: epoch,
        committedMetadata: metadata,
      })),
    })),
  };
  const hasIds = offsets.every(({ topicId }) => topicId !== NO_TOPIC_ID);
  const answer = await coordinator.call(OffsetCommit, request, {
    ...persistence,
    ...(hasIds ? {} : { versionMax: namedVersion }),
    codeOf: firstCommitError,
  });
  return offsets.map((of) => ({ of, errorCode: codeFor(answer, of) }));
}

/** Only what concerns the whole coordinator: a topic that is gone keeps nobody else from being committed. */
function firstCommitError({ topics }: OffsetCommitResponse): number {
  const codes = topics.flatMap(({ partitions }) => partitions.map(({ errorCode }) => errorCode as number));
  return codes.find((code) => coordinatorCodes.has(code)) ?? ErrorCode.NONE;
}

const coordinatorCodes: ReadonlySet<number> = new Set([
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
]);

function codeFor({ topics }: OffsetCommitResponse, of: OffsetToCommit): number {
  const topic = topics.find(({ name, topicId }) =>
    name === "" ? topicId === of.topicId : name === of.topic,
  );
  const found = topic?.partitions.find(({ partitionIndex: index }) => index === of.partition);
  return found?.errorCode ?? ErrorCode.UNKNOWN_SERVER_ERROR;
}
