/** Offsets by time, or of the ends of a partition (negative times name those). */
import type { NodeId, PartitionIndex } from "../../base/ids.ts";
import {
  array,
  branded,
  clamped64,
  type Decoded,
  from,
  ignorable,
  int8,
  int16,
  int32,
  int64,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { unknownLeaderEpoch, unknownOffset } from "../fields.ts";

export const ListOffsets = api({
  key: 2,
  name: "ListOffsets",
  versions: [1, 11],
  flexibleFrom: 6,
  request: struct({
    replicaId: branded<NodeId>(int32),
    /** 1: the latest offset is the last stable one. */
    isolationLevel: from(2, int8),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            currentLeaderEpoch: ignorable(from(4, unknownLeaderEpoch)),
            /** ms since 1970, or one of `ListedOffset`. */
            timestamp: clamped64,
          }),
        ),
      }),
    ),
    timeoutMs: ignorable(from(10, int32)),
  }),
  response: struct({
    throttleTimeMs: from(2, int32),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
            timestamp: from(1, orElse(-1, int64)),
            offset: from(1, unknownOffset),
            leaderEpoch: from(4, unknownLeaderEpoch),
          }),
        ),
      }),
    ),
  }),
});
export interface ListOffsetsRequest extends Decoded<typeof ListOffsets.request> {}
export interface ListOffsetsResponse extends Decoded<typeof ListOffsets.response> {}

/** The times that are no times. */
export const ListedOffset = {
  latest: -1,
  earliest: -2,
  /** Where the record with the largest timestamp is (KIP-734). */
  maxTimestamp: -3,
  /** First offset that is not in tiered storage alone (KIP-405). */
  earliestLocal: -4,
  /** Last offset that is in tiered storage (KIP-1005). */
  latestTiered: -5,
  /** First offset that waits to be copied into tiered storage (KIP-1023). */
  earliestPendingUpload: -6,
} as const;
