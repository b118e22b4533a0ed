/**
 * DescribeShareGroupOffsets: where share groups begin to deliver in each partition, and how many records are not
 * done there (KIP-1226). Share state and ends lie where they lie in the cluster, so nothing of it is one moment's.
 */
import {
  leaderEpoch,
  NO_TOPIC_ID,
  type Offset,
  offset,
  type PartitionIndex,
  type TopicId,
} from "../../base/ids.ts";
import { topicPartitions } from "../../coordinator/group/partition-set.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  DescribeShareGroupOffsets,
  type DescribeShareGroupOffsetsRequest,
  type DescribeShareGroupOffsetsResponse,
} from "../../protocol/messages/describe-share-group-offsets.ts";
import type { Services } from "../context.ts";
import { shareGroupsOff } from "../features.ts";
import { handle } from "../handle.ts";
import { type Refusal, refusal } from "../refusal.ts";
import { inTurns, noSuchPartition, refusalOf } from "../share/group-work.ts";
import { endKey, partitionEnds } from "../share/partition-ends.ts";
import type { StateSummary, Told } from "../share/persister.ts";

type WantedGroup = DescribeShareGroupOffsetsRequest["groups"][number];
type DescribedGroup = DescribeShareGroupOffsetsResponse["groups"][number];
type DescribedPartition = DescribedGroup["topics"][number]["partitions"][number];

interface WantedTopic {
  readonly topicName: string;
  /** Undefined: there is none of the name. */
  readonly topicId: TopicId | undefined;
  readonly partitions: readonly PartitionIndex[];
}

/** As Kafka tells what is not known. */
const noOffset: Offset = offset(-1);
const noEpoch = leaderEpoch(0);
const noLag = -1;

export const describeShareGroupOffsets = handle(DescribeShareGroupOffsets, {
  prepare(request, { services }) {
    return services.groups.enter(request.groups.map(({ groupId }) => groupId))?.then(() => request);
  },
  async decide({ groups }, { services }) {
    const off = shareGroupsOff(services);
    const described = groups.map(async (wanted) =>
      off === null ? describe(wanted, services) : refused(wanted, off),
    );
    return { throttleTimeMs: 0, groups: await Promise.all(described) };
  },
});

const refused = ({ groupId }: WantedGroup, why: Refusal): DescribedGroup => ({ groupId, topics: [], ...why });

async function describe(wanted: WantedGroup, services: Services): Promise<DescribedGroup> {
  const { groupId } = wanted;
  const found = await services.groups.run<readonly WantedTopic[] | Refusal>(
    groupId,
    (shard) => {
      const share = shard.share.find(groupId);
      if (wanted.topics !== null) return named(wanted.topics, services);
      if ("kind" in share) return refusal(share.errorCode, share.errorMessage);
      return topicPartitions(share.state.initialized).map(({ topicId, partitions }) => ({
        topicName: services.topics.byId(topicId)?.name ?? share.state.names.get(topicId) ?? "",
        topicId,
        partitions,
      }));
    },
    (elsewhere) => refusal(elsewhere),
  );
  if ("errorCode" in found) return refused(wanted, found);
  const topics = await look(groupId, found, services);
  return { groupId, topics, errorCode: ErrorCode.NONE, errorMessage: null };
}

const named = (
  topics: readonly { readonly topicName: string; readonly partitions: readonly PartitionIndex[] }[],
  services: Services,
): readonly WantedTopic[] =>
  topics.map(({ topicName, partitions }) => ({
    topicName,
    topicId: services.topics.idOf(topicName),
    partitions,
  }));

async function look(
  groupId: string,
  wanted: readonly WantedTopic[],
  services: Services,
): Promise<DescribedGroup["topics"]> {
  const all = wanted.flatMap(({ topicId, partitions }) =>
    topicId === undefined ? [] : partitions.map((partition) => ({ topicId, partition })),
  );
  const told = await inTurns(all, (each) => services.sharePersister.readSummary({ groupId, ...each }));
  const begun = all.filter((_, at) => hasLag(told[at]));
  const ends = await partitionEnds(begun, services);
  const summaries = new Map(all.map((each, at) => [endKey(each), told[at] as Told<StateSummary>]));
  return wanted.map(({ topicName, topicId, partitions }) => ({
    topicName,
    topicId: topicId ?? NO_TOPIC_ID,
    partitions: partitions.map((partition) => {
      if (topicId === undefined) return unknown(partition, noSuchPartition);
      const key = endKey({ topicId, partition });
      return describePartition(partition, summaries.get(key) as Told<StateSummary>, ends.get(key));
    }),
  }));
}

/** Of what was never read there is nothing to count. */
function hasLag(told: Told<StateSummary> | undefined): boolean {
  return told?.kind === "told" && told.value.startOffset >= 0 && told.value.deliveryCompleteCount >= 0;
}

function unknown(partitionIndex: PartitionIndex, why: Refusal): DescribedPartition {
  return { partitionIndex, startOffset: noOffset, leaderEpoch: noEpoch, lag: noLag, ...why };
}

function describePartition(
  partitionIndex: PartitionIndex,
  told: Told<StateSummary>,
  end: Offset | { readonly errorCode: ErrorCode } | undefined,
): DescribedPartition {
  if (told.kind !== "told") return unknown(partitionIndex, refusalOf(told));
  if (typeof end === "object") return unknown(partitionIndex, refusal(end.errorCode));
  const { startOffset, leaderEpoch: epoch, deliveryCompleteCount } = told.value;
  // What was delivered and written down since the end was asked may be beyond it.
  const lag = end === undefined ? noLag : Math.max(0, end - startOffset - deliveryCompleteCount);
  return {
    partitionIndex,
    startOffset,
    leaderEpoch: epoch,
    lag,
    errorCode: ErrorCode.NONE,
    errorMessage: null,
  };
}
