/** How far delivery from share-partitions has come, without their batches (KIP-932, KIP-1226). */
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

export const ReadShareGroupStateSummary = api({
  key: 87,
  name: "ReadShareGroupStateSummary",
  versions: [0, 1],
  flexibleFrom: 0,
  request: struct({
    groupId: string,
    topics: array(
      struct({
        topicId: uuid,
        partitions: array(
          struct({ partition: branded<PartitionIndex>(int32), leaderEpoch: branded<LeaderEpoch>(int32) }),
        ),
      }),
    ),
  }),
  response: struct({
    results: array(
      struct({
        topicId: uuid,
        partitions: array(
          struct({
            partition: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
            errorMessage: orElse(null, nullable(string)),
            stateEpoch: int32,
            leaderEpoch: branded<LeaderEpoch>(int32),
            startOffset: branded<Offset>(int64),
            deliveryCompleteCount: ignorable(from(1, orElse(-1, int32))),
          }),
        ),
      }),
    ),
  }),
});
export interface ReadShareGroupStateSummaryRequest
  extends Decoded<typeof ReadShareGroupStateSummary.request> {}
export interface ReadShareGroupStateSummaryResponse
  extends Decoded<typeof ReadShareGroupStateSummary.response> {}
