/** What is known of share-partitions, for the leader that begins to deliver from them; it makes its epoch known (KIP-932). */
import type { LeaderEpoch, Offset, PartitionIndex } from "../../base/ids.ts";
import {
  array,
  branded,
  type Decoded,
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

export const ReadShareGroupState = api({
  key: 84,
  name: "ReadShareGroupState",
  versions: [0, 0],
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
            startOffset: branded<Offset>(int64),
            stateBatches,
          }),
        ),
      }),
    ),
  }),
});
export interface ReadShareGroupStateRequest extends Decoded<typeof ReadShareGroupState.request> {}
export interface ReadShareGroupStateResponse extends Decoded<typeof ReadShareGroupState.response> {}
