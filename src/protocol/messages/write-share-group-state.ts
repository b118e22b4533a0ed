/** What has changed in share-partitions (KIP-932, KIP-1226). */
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
import { stateBatches } from "../fields.ts";

export const WriteShareGroupState = api({
  key: 85,
  name: "WriteShareGroupState",
  versions: [0, 1],
  flexibleFrom: 0,
  request: struct({
    groupId: string,
    topics: array(
      struct({
        topicId: uuid,
        partitions: array(
          struct({
            partition: branded<PartitionIndex>(int32),
            stateEpoch: int32,
            leaderEpoch: branded<LeaderEpoch>(int32),
            /** −1: as it was. */
            startOffset: branded<Offset>(int64),
            deliveryCompleteCount: ignorable(from(1, orElse(-1, int32))),
            stateBatches,
          }),
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
          }),
        ),
      }),
    ),
  }),
});
export interface WriteShareGroupStateRequest extends Decoded<typeof WriteShareGroupState.request> {}
export interface WriteShareGroupStateResponse extends Decoded<typeof WriteShareGroupState.response> {}
