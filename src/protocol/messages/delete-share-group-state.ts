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
  tagged,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { ownTagsFrom } from "../fields.ts";

export const DeleteShareGroupState = api({
  key: 86,
  name: "DeleteShareGroupState",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    groupId: string,
    topics: array(
      struct({
        topicId: uuid,
        partitions: array(
          struct({
            partition: branded<PartitionIndex>(int32),
            /** Ours: a state with a later epoch stays. −1: none does. */
            stateEpoch: tagged(ownTagsFrom, 0, orElse(-1, int32)),
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
export interface DeleteShareGroupStateRequest extends Decoded<typeof DeleteShareGroupState.request> {}
export interface DeleteShareGroupStateResponse extends Decoded<typeof DeleteShareGroupState.response> {}
