/** Topics page by page, for clusters with very many partitions (KIP-966). */
import type { NodeId, PartitionIndex } from "../../base/ids.ts";
import {
  array,
  bool,
  branded,
  type Decoded,
  int16,
  int32,
  nullable,
  orElse,
  string,
  struct,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { noAuthorizedOperations, unknownLeaderEpoch } from "../fields.ts";

const cursor = () =>
  orElse(null, nullable(struct({ topicName: string, partitionIndex: branded<PartitionIndex>(int32) })));

export const DescribeTopicPartitions = api({
  key: 75,
  name: "DescribeTopicPartitions",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    /** Empty: all. */
    topics: array(struct({ name: string })),
    responsePartitionLimit: orElse(2000, int32),
    /** Where to go on, from an answer's `nextCursor`. */
    cursor: cursor(),
  }),
  response: struct({
    throttleTimeMs: int32,
    topics: array(
      struct({
        errorCode: branded<ErrorCode>(int16),
        name: nullable(string),
        topicId: uuid,
        isInternal: bool,
        partitions: array(
          struct({
            errorCode: branded<ErrorCode>(int16),
            partitionIndex: branded<PartitionIndex>(int32),
            leaderId: branded<NodeId>(int32),
            leaderEpoch: unknownLeaderEpoch,
            replicaNodes: array(branded<NodeId>(int32)),
            isrNodes: array(branded<NodeId>(int32)),
            eligibleLeaderReplicas: orElse(null, nullable(array(branded<NodeId>(int32)))),
            lastKnownElr: orElse(null, nullable(array(branded<NodeId>(int32)))),
            offlineReplicas: array(branded<NodeId>(int32)),
          }),
        ),
        topicAuthorizedOperations: noAuthorizedOperations,
      }),
    ),
    nextCursor: cursor(),
  }),
});
export interface DescribeTopicPartitionsRequest extends Decoded<typeof DescribeTopicPartitions.request> {}
export interface DescribeTopicPartitionsResponse extends Decoded<typeof DescribeTopicPartitions.response> {}
