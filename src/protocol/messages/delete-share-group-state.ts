/** Ends the state of share-partitions (KIP-932). */
import type { PartitionIndex } from "../../base/ids.ts";
import {
  array,
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

export const DeleteShareGroupState = api({
  key: 86,
  name: "DeleteShareGroupState",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    groupId: string,
    topics: array(
      struct({ topicId: uuid, partitions: array(struct({ partition: branded<PartitionIndex>(int32) })) }),
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
export interface DeleteShareGroupStateRequest extends Decoded<typeof DeleteShareGroupState.request> {}
export interface DeleteShareGroupStateResponse extends Decoded<typeof DeleteShareGroupState.response> {}
