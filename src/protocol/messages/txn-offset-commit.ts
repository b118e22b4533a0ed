/** Stores how far a consumer group has got, once its transaction commits (KIP-98, KIP-447); from version 6 on topics are named by id. */
import type { Offset, PartitionIndex, ProducerEpoch, ProducerId } from "../../base/ids.ts";
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

export const TxnOffsetCommit = api({
  key: 28,
  name: "TxnOffsetCommit",
  versions: [0, 6],
  flexibleFrom: 3,
  request: struct({
    transactionalId: string,
    groupId: string,
    producerId: branded<ProducerId>(int64),
    producerEpoch: branded<ProducerEpoch>(int16),
    /** −1 with an empty member id: whoever commits is not known to be a member, and is not held to be one. */
    generationIdOrMemberEpoch: from(3, orElse(-1, int32)),
    memberId: from(3, string),
    groupInstanceId: from(3, orElse(null, nullable(string, 3))),
    topics: array(
      struct({
        name: ignorable(until(5, string)),
        topicId: ignorable(from(6, uuid)),
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            committedOffset: branded<Offset>(int64),
            committedLeaderEpoch: ignorable(from(2, unknownLeaderEpoch)),
            committedMetadata: nullable(string),
          }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    topics: array(
      struct({
        name: ignorable(until(5, string)),
        topicId: ignorable(from(6, uuid)),
        partitions: array(
          struct({ partitionIndex: branded<PartitionIndex>(int32), errorCode: branded<ErrorCode>(int16) }),
        ),
      }),
    ),
  }),
});
export interface TxnOffsetCommitRequest extends Decoded<typeof TxnOffsetCommit.request> {}
export interface TxnOffsetCommitResponse extends Decoded<typeof TxnOffsetCommit.response> {}
