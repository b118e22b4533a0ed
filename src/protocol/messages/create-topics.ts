/** Creates topics; partitions and replication factor are optional (KIP-464). */
import type { NodeId, PartitionIndex } from "../../base/ids.ts";
import {
  array,
  bool,
  branded,
  type Decoded,
  from,
  int8,
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

export const CreateTopics = api({
  key: 19,
  name: "CreateTopics",
  versions: [2, 7],
  flexibleFrom: 5,
  request: struct({
    topics: array(
      struct({
        name: string,
        /** −1: the broker's default, or as many as are assigned. */
        numPartitions: int32,
        replicationFactor: int16,
        assignments: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            brokerIds: array(branded<NodeId>(int32)),
          }),
        ),
        configs: array(struct({ name: string, value: nullable(string) })),
      }),
    ),
    timeoutMs: orElse(60_000, int32),
    validateOnly: from(1, bool),
  }),
  response: struct({
    throttleTimeMs: from(2, int32),
    topics: array(
      struct({
        name: string,
        topicId: from(7, uuid),
        errorCode: branded<ErrorCode>(int16),
        errorMessage: from(1, nullable(string)),
        topicConfigErrorCode: tagged(0, 5, branded<ErrorCode>(int16)),
        numPartitions: from(5, orElse(-1, int32)),
        replicationFactor: from(5, orElse(-1, int16)),
        configs: from(
          5,
          nullable(
            array(
              struct({
                name: from(5, string),
                value: from(5, nullable(string, 5)),
                readOnly: from(5, bool),
                configSource: from(5, orElse(-1, int8)),
                isSensitive: from(5, bool),
              }),
            ),
            5,
          ),
        ),
      }),
    ),
  }),
});
export interface CreateTopicsRequest extends Decoded<typeof CreateTopics.request> {}
export interface CreateTopicsResponse extends Decoded<typeof CreateTopics.response> {}
