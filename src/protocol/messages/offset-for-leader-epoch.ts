/** Where a leader epoch ended, so that a reader finds out whether what it has was cut away (KIP-320). */
import { type LeaderEpoch, type NodeId, nodeId, type PartitionIndex } from "../../base/ids.ts";
import {
  array,
  branded,
  type Decoded,
  from,
  ignorable,
  int16,
  int32,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { unknownLeaderEpoch, unknownOffset } from "../fields.ts";

export const OffsetForLeaderEpoch = api({
  key: 23,
  name: "OffsetForLeaderEpoch",
  versions: [2, 4],
  flexibleFrom: 4,
  request: struct({
    replicaId: ignorable(from(3, orElse(nodeId(-2), branded<NodeId>(int32)))),
    topics: array(
      struct({
        topic: string,
        partitions: array(
          struct({
            partition: branded<PartitionIndex>(int32),
            currentLeaderEpoch: ignorable(from(2, unknownLeaderEpoch)),
            leaderEpoch: branded<LeaderEpoch>(int32),
          }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: from(2, int32),
    topics: array(
      struct({
        topic: string,
        partitions: array(
          struct({
            errorCode: branded<ErrorCode>(int16),
            partition: branded<PartitionIndex>(int32),
            leaderEpoch: from(1, unknownLeaderEpoch),
            endOffset: unknownOffset,
          }),
        ),
      }),
    ),
  }),
});
export interface OffsetForLeaderEpochRequest extends Decoded<typeof OffsetForLeaderEpoch.request> {}
export interface OffsetForLeaderEpochResponse extends Decoded<typeof OffsetForLeaderEpoch.response> {}
