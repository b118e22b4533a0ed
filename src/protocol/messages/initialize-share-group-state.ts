/** Begins the state of share-partitions, or begins it anew with a higher state epoch (KIP-932). */
import type { Offset, PartitionIndex } from "../../base/ids.ts";
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

export const InitializeShareGroupState = api({
  key: 83,
  name: "InitializeShareGroupState",
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
            stateEpoch: int32,
            /** −1: not known yet. */
            startOffset: branded<Offset>(int64),
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
export interface InitializeShareGroupStateRequest extends Decoded<typeof InitializeShareGroupState.request> {}
export interface InitializeShareGroupStateResponse
  extends Decoded<typeof InitializeShareGroupState.response> {}
