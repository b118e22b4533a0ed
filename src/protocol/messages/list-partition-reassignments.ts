/** Which moves of partitions to other replicas are under way (KIP-455). */
import type { NodeId, PartitionIndex } from "../../base/ids.ts";
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
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const ListPartitionReassignments = api({
  key: 46,
  name: "ListPartitionReassignments",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    timeoutMs: orElse(60_000, int32),
    /** Null: all. */
    topics: orElse(
      null,
      nullable(array(struct({ name: string, partitionIndexes: array(branded<PartitionIndex>(int32)) }))),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    errorMessage: nullable(string),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            replicas: array(branded<NodeId>(int32)),
            addingReplicas: array(branded<NodeId>(int32)),
            removingReplicas: array(branded<NodeId>(int32)),
          }),
        ),
      }),
    ),
  }),
});
export interface ListPartitionReassignmentsRequest
  extends Decoded<typeof ListPartitionReassignments.request> {}
export interface ListPartitionReassignmentsResponse
  extends Decoded<typeof ListPartitionReassignments.response> {}
