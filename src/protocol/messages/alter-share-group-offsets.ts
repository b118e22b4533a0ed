/** Moves where a share group without members begins to deliver (KIP-932). */
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

export const AlterShareGroupOffsets = api({
  key: 91,
  name: "AlterShareGroupOffsets",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    groupId: string,
    topics: array(
      struct({
        topicName: string,
        partitions: array(
          struct({ partitionIndex: branded<PartitionIndex>(int32), startOffset: branded<Offset>(int64) }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    errorMessage: orElse(null, nullable(string)),
    responses: array(
      struct({
        topicName: string,
        topicId: uuid,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
            errorMessage: orElse(null, nullable(string)),
          }),
        ),
      }),
    ),
  }),
});
export interface AlterShareGroupOffsetsRequest extends Decoded<typeof AlterShareGroupOffsets.request> {}
export interface AlterShareGroupOffsetsResponse extends Decoded<typeof AlterShareGroupOffsets.response> {}
