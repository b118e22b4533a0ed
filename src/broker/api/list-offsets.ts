/** ListOffsets: the ends of a partition, or the first record at or after a time, exactly. */
import { leaderEpoch, offset } from "../../base/ids.ts";
import type { Isolation, TimestampAndOffset } from "../../log/outcomes.ts";
import type { Partition } from "../../log/partition.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  ListedOffset,
  ListOffsets,
  type ListOffsetsRequest,
  type ListOffsetsResponse,
} from "../../protocol/messages/list-offsets.ts";
import type { RequestContext } from "../context.ts";
import { handle } from "../handle.ts";
import { placeOf } from "../placement.ts";

type PartitionRequest = ListOffsetsRequest["topics"][number]["partitions"][number];
type PartitionResponse = ListOffsetsResponse["topics"][number]["partitions"][number];

const readCommitted = 1;
const none: TimestampAndOffset = { timestamp: -1, offset: offset(-1), leaderEpoch: leaderEpoch(-1) };

export const listOffsets = handle(ListOffsets, {
  async decide(request, context) {
    const twice = namedTwice(request);
    const topics = await Promise.all(
      request.topics.map(async (topic) => ({
        name: topic.name,
        partitions: await Promise.all(
          topic.partitions.map(async (wanted) => {
            if (twice.has(`${topic.name}/${wanted.partitionIndex}`)) {
              return refuse(wanted, ErrorCode.INVALID_REQUEST);
            }
            return listed(topic.name, wanted, request.isolationLevel === readCommitted, context);
          }),
        ),
      })),
    );
    return { throttleTimeMs: 0, topics };
  },
});

function namedTwice(request: ListOffsetsRequest): ReadonlySet<string> {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const topic of request.topics) {
    for (const { partitionIndex } of topic.partitions) {
      const key = `${topic.name}/${partitionIndex}`;
      if (seen.has(key)) twice.add(key);
      seen.add(key);
    }
  }
  return twice;
}

async function listed(
  name: string,
  wanted: PartitionRequest,
  committed: boolean,
  context: RequestContext,
): Promise<PartitionResponse> {
  const { topics, env } = context.services;
  const { partitionIndex, currentLeaderEpoch } = wanted;
  const id = topics.idOf(name);
  // Also what is on its way to another broker is not asked: its end may have moved there.
  const partition = placeOf(id, partitionIndex, "owner", context.services, currentLeaderEpoch);
  if (typeof partition === "number") return refuse(wanted, partition);
  try {
    const found = await find(wanted.timestamp, partition, committed ? "committed" : "uncommitted");
    if (!partition.takesAppends) return refuse(wanted, ErrorCode.NOT_LEADER_OR_FOLLOWER);
    return { partitionIndex: wanted.partitionIndex, errorCode: ErrorCode.NONE, ...found };
  } catch (cause) {
    if (partition.isClosed) return refuse(wanted, ErrorCode.NOT_LEADER_OR_FOLLOWER);
    env.log.error("list-offsets.unreadable", { topic: name, partition: wanted.partitionIndex, cause });
    return refuse(wanted, ErrorCode.KAFKA_STORAGE_ERROR);
  }
}

async function find(
  timestamp: number,
  partition: Partition,
  isolation: Isolation,
): Promise<TimestampAndOffset> {
  switch (timestamp) {
    case ListedOffset.latest: {
      const end = isolation === "committed" ? partition.lastStable : partition.highWatermark;
      return { timestamp: -1, offset: end, leaderEpoch: partition.leaderEpoch };
    }
    case ListedOffset.earliest:
    case ListedOffset.earliestLocal: {
      const start = partition.logStart;
      return { timestamp: -1, offset: start, leaderEpoch: partition.epochAt(start) };
    }
    case ListedOffset.maxTimestamp:
      return below(partition, isolation, await partition.findMaxTimestamp());
    case ListedOffset.latestTiered:
    case ListedOffset.earliestPendingUpload:
      // There is one tier here; as Kafka answers where tiered storage is off.
      return none;
    default:
      return timestamp < 0 ? none : partition.findTimestamp(timestamp, isolation);
  }
}

/** As in Kafka: a committed reader is not told of the latest record while that is not decided. */
function below(partition: Partition, isolation: Isolation, found: TimestampAndOffset): TimestampAndOffset {
  return isolation === "committed" && found.offset >= partition.lastStable ? none : found;
}

function refuse(wanted: PartitionRequest, errorCode: ErrorCode): PartitionResponse {
  return { partitionIndex: wanted.partitionIndex, errorCode, ...none };
}
