/** Stores how far a consumer group has got, per partition; from version 10 on topics are named by id. */
import type { Offset, PartitionIndex } from "../../base/ids.ts";
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
  until,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { unknownLeaderEpoch } from "../fields.ts";

export const OffsetCommit = api({
  key: 8,
  name: "OffsetCommit",
  versions: [2, 10],
  flexibleFrom: 8,
  request: struct({
    groupId: string,
    generationIdOrMemberEpoch: ignorable(orElse(-1, int32)),
    memberId: ignorable(string),
    groupInstanceId: from(7, orElse(null, nullable(string))),
    retentionTimeMs: ignorable(until(4, orElse(-1, int64))),
    topics: array(
      struct({
        name: ignorable(until(9, string)),
        topicId: ignorable(from(10, uuid)),
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            committedOffset: branded<Offset>(int64),
            committedLeaderEpoch: ignorable(from(6, unknownLeaderEpoch)),
            committedMetadata: nullable(string),
          }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: ignorable(from(3, int32)),
    topics: array(
      struct({
        name: ignorable(until(9, string)),
        topicId: ignorable(from(10, uuid)),
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
          }),
        ),
      }),
    ),
  }),
});
export interface OffsetCommitRequest extends Decoded<typeof OffsetCommit.request> {}
export interface OffsetCommitResponse extends Decoded<typeof OffsetCommit.response> {}
