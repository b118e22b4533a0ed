/**
 * What ShareFetch and ShareAcknowledge have in common: who asks, what it says of records that it acquired, and what
 * becomes of that. Acknowledgements count in the order in which they arrive, before the first wait; they are told
 * when what they changed is durable, and so is a refusal (I1).
 */
import type { PartitionIndex, TopicId } from "../../base/ids.ts";
import { type AcknowledgeBatch, AcknowledgeType } from "../../coordinator/share/delivery/acknowledgement.ts";
import { ErrorCode, errorFacts } from "../../protocol/errors.ts";
import type { RequestContext, Services } from "../context.ts";
import { shareGroupsOff } from "../features.ts";
import { placeOf } from "../placement.ts";
import { type Refused, refused, type SharePlace } from "./share-session.ts";
import type { Persisted } from "./state-line.ts";

interface RequestTopic {
  readonly topicId: TopicId;
  readonly partitions: readonly {
    readonly partitionIndex: PartitionIndex;
    readonly acknowledgementBatches: readonly {
      readonly firstOffset: number;
      readonly lastOffset: number;
      readonly acknowledgeTypes: readonly number[];
    }[];
  }[];
}

/** Of one partition. */
export interface Word extends SharePlace {
  readonly batches: readonly AcknowledgeBatch[];
}

export interface Answered extends SharePlace {
  readonly errorCode: ErrorCode;
}

/** What well-kept clients keep to: a UUID as text. */
const memberIdMax = 36;

/** Null: nothing is wrong with who asks. */
export function refuseNames(
  { groupId, memberId }: { readonly groupId: string | null; readonly memberId: string | null },
  services: Services,
): Refused | null {
  const off = shareGroupsOff(services);
  if (off !== null) return refused(off.errorCode, off.errorMessage);
  if (groupId === null || groupId === "")
    return refused(ErrorCode.INVALID_GROUP_ID, "GroupId can't be empty.");
  if (memberId === null || memberId === "" || memberId.length > memberIdMax) {
    return refused(ErrorCode.INVALID_REQUEST, `MemberId must have 1 to ${memberIdMax} characters.`);
  }
  return null;
}

/** What is said of records, by partition; partitions of which nothing is said are left out. */
export function wordsOf(topics: readonly RequestTopic[]): readonly Word[] {
  return topics.flatMap(({ topicId, partitions }) =>
    partitions.flatMap(({ partitionIndex: partition, acknowledgementBatches }) => {
      if (acknowledgementBatches.length === 0) return [];
      const batches = acknowledgementBatches.map(({ firstOffset, lastOffset, acknowledgeTypes }) => ({
        first: firstOffset,
        last: lastOffset,
        types: acknowledgeTypes,
      }));
      return [{ topicId, partition, batches }];
    }),
  );
}

/** About what the records of the state take that one request's acknowledgements write. */
const wordBytes = 200;
const batchBytes = 30;

/** Before stage one: acknowledgements wait for room in memory where producers do. Undefined: there is room. */
export function whenRoom(
  topics: readonly RequestTopic[],
  { tail }: Pick<Services, "tail">,
): Promise<void> | undefined {
  const words = wordsOf(topics);
  if (words.length === 0) return undefined;
  const bytes = words.reduce((sum, { batches }) => sum + wordBytes + batches.length * batchBytes, 0);
  const admitted = tail.admit(bytes);
  // What is appended counts by itself.
  if (admitted === undefined) tail.dismiss(bytes);
  return admitted?.then(() => tail.dismiss(bytes));
}

/** Synchronous: all words count, each as a whole or not at all. Resolves when what they changed is durable. */
export function acknowledge(
  groupId: string,
  memberId: string,
  words: readonly Word[],
  isRenewing: boolean,
  { services }: RequestContext,
): Promise<readonly Answered[]> {
  return Promise.all(
    words.map(async (word): Promise<Answered> => {
      const { topicId, partition } = word;
      const said = say(groupId, memberId, word, isRenewing, services);
      if (said.persisted === null) return { topicId, partition, errorCode: said.errorCode };
      return { topicId, partition, errorCode: (await said.persisted) ?? said.errorCode };
    }),
  );
}

function say(
  groupId: string,
  memberId: string,
  { topicId, partition: index, batches }: Word,
  isRenewing: boolean,
  services: Services,
): { readonly errorCode: ErrorCode; readonly persisted: Promise<Persisted> | null } {
  const refusal = (errorCode: ErrorCode) => ({ errorCode, persisted: null });
  const renews = batches.some(({ types }) => types.includes(AcknowledgeType.renew));
  const mayRenew = isRenewing && services.shares.settingsOf(groupId).mayRenew;
  if (renews && !mayRenew) return refusal(ErrorCode.INVALID_REQUEST);
  const partition = placeOf(topicId, index, "owner", services);
  if (typeof partition === "number") return refusal(partition);
  const share = services.shares.get(groupId, partition);
  // Nothing of it was acquired here, as far as anybody remembers.
  return share?.acknowledge(memberId, batches) ?? refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
}

/** A sentence for an error of a partition; null: there is none. */
export const messageOf = (errorCode: ErrorCode): string | null =>
  errorCode === ErrorCode.NONE ? null : errorFacts(errorCode).text;

/** As answers name them: by topic, in the order in which the topics are met first. */
export function byTopic<T>(
  all: readonly { readonly topicId: TopicId; readonly value: T }[],
): { topicId: TopicId; partitions: T[] }[] {
  const topics = new Map<TopicId, T[]>();
  for (const { topicId, value } of all) {
    const known = topics.get(topicId);
    if (known === undefined) topics.set(topicId, [value]);
    else known.push(value);
  }
  return Array.from(topics, ([topicId, partitions]) => ({ topicId, partitions }));
}
