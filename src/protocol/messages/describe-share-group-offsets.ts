/** Where share groups begin to deliver in each partition, and how much is before them (KIP-932, KIP-1226). */
import type { LeaderEpoch, Offset, PartitionIndex } from "../../base/ids.ts";
import {
  array,
  branded,
  type Decoded,
  from,
  ignorable,
  int16,
  int32,
  int64,
  nullable,
  orElse,
  string,
  struct,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const DescribeShareGroupOffsets = api({
  key: 90,
  name: "DescribeShareGroupOffsets",
  versions: [0, 1],
  flexibleFrom: 0,
  request: struct({
    groups: array(
      struct({
        groupId: string,
        /** Null: all. */
        topics: nullable(
          array(struct({ topicName: string, partitions: array(branded<PartitionIndex>(int32)) })),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    groups: array(
      struct({
        groupId: string,
        topics: array(
          struct({
            topicName: string,
            topicId: uuid,
            partitions: array(
              struct({
                partitionIndex: branded<PartitionIndex>(int32),
                startOffset: branded<Offset>(int64),
                leaderEpoch: branded<LeaderEpoch>(int32),
                lag: ignorable(from(1, orElse(-1, int64))),
                errorCode: branded<ErrorCode>(int16),
                errorMessage: orElse(null, nullable(string)),
              }),
            ),
          }),
        ),
        errorCode: branded<ErrorCode>(int16),
        errorMessage: orElse(null, nullable(string)),
      }),
    ),
  }),
});
export interface DescribeShareGroupOffsetsRequest extends Decoded<typeof DescribeShareGroupOffsets.request> {}
export interface DescribeShareGroupOffsetsResponse
  extends Decoded<typeof DescribeShareGroupOffsets.response> {}
