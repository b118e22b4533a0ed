/**
 * The offsets that OffsetCommit and TxnOffsetCommit bring along: those whose topic and partition are there go
 * to the group, and the answers to them, put beside those that nobody knows, leave in the order of the request.
 */
import { NO_TOPIC_ID, type PartitionIndex, type TopicId } from "../base/ids.ts";
import type { OffsetToCommit } from "../coordinator/group/commits.ts";
import { ErrorCode } from "../protocol/errors.ts";
import type { OffsetCommitRequest, OffsetCommitResponse } from "../protocol/messages/offset-commit.ts";
import type { Topics } from "./topics.ts";

type TopicRequest = OffsetCommitRequest["topics"][number];
type PartitionRequest = TopicRequest["partitions"][number];
type TopicResponse = OffsetCommitResponse["topics"][number];

/** About what a record takes beside its names and its text. */
const recordBytes = 96;

interface Known {
  readonly id: TopicId;
  readonly name: string;
  readonly partitions: readonly unknown[];
}

export class WantedOffsets {
  /** Of partitions that are there, in the order of the request. */
  readonly offsets: readonly OffsetToCommit[];
  readonly #topics: readonly { readonly topic: TopicRequest; readonly known: Known | null }[];
  readonly #unknownTopic: ErrorCode;

  constructor(wanted: readonly TopicRequest[], byId: boolean, topics: Topics) {
    this.#unknownTopic = byId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    this.#topics = wanted.map((topic) => {
      const known = byId ? topics.byId(topic.topicId) : topics.byName(topic.name);
      return { topic, known: known ?? null };
    });
    this.offsets = this.#topics.flatMap(({ topic, known }) =>
      known === null
        ? []
        : topic.partitions
            .filter(({ partitionIndex }) => partitionIndex in known.partitions)
            .map((each) => toCommit(each, known)),
    );
  }

  /** `codes`: of `offsets`, or one for all of them. */
  answer(codes: readonly ErrorCode[] | ErrorCode): readonly TopicResponse[] {
    const each = typeof codes === "number" ? null : codes[Symbol.iterator]();
    const told = (known: Known | null, partitionIndex: PartitionIndex): ErrorCode => {
      if (known === null) return this.#unknownTopic;
      if (!(partitionIndex in known.partitions)) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      return each === null ? (codes as ErrorCode) : (each.next().value ?? ErrorCode.UNKNOWN_SERVER_ERROR);
    };
    return this.#topics.map(({ topic, known }) => ({
      name: topic.name,
      topicId: topic.topicId,
      partitions: topic.partitions.map(({ partitionIndex }) => ({
        partitionIndex,
        errorCode: told(known, partitionIndex),
      })),
    }));
  }
}

function toCommit(wanted: PartitionRequest, { id, name }: Known): OffsetToCommit {
  return {
    topic: name,
    topicId: id ?? NO_TOPIC_ID,
    partition: wanted.partitionIndex,
    offset: wanted.committedOffset,
    leaderEpoch: wanted.committedLeaderEpoch,
    metadata: wanted.committedMetadata ?? "",
  };
}

/** About how many bytes of records they become. */
export function weighOffsets(groupId: string, topics: readonly TopicRequest[]): number {
  let bytes = 0;
  for (const { name, partitions } of topics) {
    for (const { committedMetadata } of partitions) {
      bytes += recordBytes + groupId.length + name.length + (committedMetadata?.length ?? 0);
    }
  }
  return bytes;
}
