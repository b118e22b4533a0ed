/** OffsetForLeaderEpoch: where an epoch ended, up to what is durable (KIP-320). */
import { leaderEpoch, offset } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  OffsetForLeaderEpoch,
  type OffsetForLeaderEpochRequest,
  type OffsetForLeaderEpochResponse,
} from "../../protocol/messages/offset-for-leader-epoch.ts";
import type { Services } from "../context.ts";
import { handle } from "../handle.ts";
import { placeOf } from "../placement.ts";

type PartitionRequest = OffsetForLeaderEpochRequest["topics"][number]["partitions"][number];
type PartitionResponse = OffsetForLeaderEpochResponse["topics"][number]["partitions"][number];

export const offsetForLeaderEpoch = handle(OffsetForLeaderEpoch, {
  decide(request, { services }) {
    const topics = request.topics.map(({ topic, partitions }) => ({
      topic,
      partitions: partitions.map((wanted) => epochEnd(topic, wanted, services)),
    }));
    return { throttleTimeMs: 0, topics };
  },
});

function epochEnd(topic: string, wanted: PartitionRequest, services: Services): PartitionResponse {
  const id = services.topics.idOf(topic);
  const partition = placeOf(id, wanted.partition, "owner", services, wanted.currentLeaderEpoch);
  if (typeof partition === "number") return refuse(wanted, partition);
  const end = partition.epochEnd(wanted.leaderEpoch);
  return { errorCode: ErrorCode.NONE, partition: wanted.partition, ...end };
}

function refuse(wanted: PartitionRequest, errorCode: ErrorCode): PartitionResponse {
  return { errorCode, partition: wanted.partition, leaderEpoch: leaderEpoch(-1), endOffset: offset(-1) };
}
