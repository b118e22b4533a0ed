/** Moves partitions to other replicas, or cancels such a move (KIP-455). */
import type { NodeId, PartitionIndex } from "../../base/ids.ts";
import {
  array,
  bool,
  branded,
  type Decoded,
  from,
  ignorable,
  int16,
  int32,
  nullable,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const AlterPartitionReassignments = api({
  key: 45,
  name: "AlterPartitionReassignments",
  versions: [0, 1],
  flexibleFrom: 0,
  request: struct({
    timeoutMs: orElse(60_000, int32),
    allowReplicationFactorChange: from(1, orElse(true, bool)),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            /** Null: the move under way is cancelled. */
            replicas: orElse(null, nullable(array(branded<NodeId>(int32)))),
          }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    allowReplicationFactorChange: ignorable(from(1, orElse(true, bool))),
    errorCode: branded<ErrorCode>(int16),
    errorMessage: nullable(string),
    responses: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
            errorMessage: nullable(string),
          }),
        ),
      }),
    ),
  }),
});
export interface AlterPartitionReassignmentsRequest
  extends Decoded<typeof AlterPartitionReassignments.request> {}
export interface AlterPartitionReassignmentsResponse
  extends Decoded<typeof AlterPartitionReassignments.response> {}
