/** Moves the log start of partitions forward: what lies below is gone (KIP-107). */
import type { Offset, PartitionIndex } from "../../base/ids.ts";
import { array, branded, type Decoded, int16, int32, int64, string, struct } from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const DeleteRecords = api({
  key: 21,
  name: "DeleteRecords",
  versions: [0, 2],
  flexibleFrom: 2,
  request: struct({
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            offset: branded<Offset>(int64),
          }),
        ),
      }),
    ),
    timeoutMs: int32,
  }),
  response: struct({
    throttleTimeMs: int32,
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            lowWatermark: branded<Offset>(int64),
            errorCode: branded<ErrorCode>(int16),
          }),
        ),
      }),
    ),
  }),
});
export interface DeleteRecordsRequest extends Decoded<typeof DeleteRecords.request> {}
export interface DeleteRecordsResponse extends Decoded<typeof DeleteRecords.response> {}
