/** Deletes committed offsets of topics that the group does not read at the moment (KIP-496). */
import type { PartitionIndex } from "../../base/ids.ts";
import { array, branded, type Decoded, int16, int32, string, struct } from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const OffsetDelete = api({
  key: 47,
  name: "OffsetDelete",
  versions: [0, 0],
  flexibleFrom: Infinity,
  request: struct({
    groupId: string,
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
          }),
        ),
      }),
    ),
  }),
  response: struct({
    errorCode: branded<ErrorCode>(int16),
    throttleTimeMs: int32,
    topics: array(
      struct({
        name: string,
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
export interface OffsetDeleteRequest extends Decoded<typeof OffsetDelete.request> {}
export interface OffsetDeleteResponse extends Decoded<typeof OffsetDelete.response> {}
