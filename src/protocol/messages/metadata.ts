/** Topics, their partitions and owners, and the brokers' addresses. Version 12 asks by topic id too. */
import type { NodeId, PartitionIndex } from "../../base/ids.ts";
import {
  array,
  between,
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
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { noAuthorizedOperations, unknownLeaderEpoch, unknownNode } from "../fields.ts";

export const Metadata = api({
  key: 3,
  name: "Metadata",
  versions: [0, 13],
  flexibleFrom: 9,
  request: struct({
    /** All topics: null, in version 0 the empty array. */
    topics: nullable(
      array(
        struct({
          topicId: ignorable(from(10, uuid)),
          name: nullable(string, 10),
        }),
      ),
      1,
    ),
    allowAutoTopicCreation: from(4, orElse(true, bool)),
    includeClusterAuthorizedOperations: between(8, 10, bool),
    includeTopicAuthorizedOperations: from(8, bool),
  }),
  response: struct({
    throttleTimeMs: from(3, int32),
    brokers: array(
      struct({
        nodeId: branded<NodeId>(int32),
        host: string,
        port: int32,
        rack: from(1, orElse(null, nullable(string))),
      }),
    ),
    clusterId: from(2, orElse(null, nullable(string))),
    controllerId: from(1, unknownNode),
    topics: array(
      struct({
        errorCode: branded<ErrorCode>(int16),
        /** Null when asked by an id that does not exist. */
        name: nullable(string, 12),
        topicId: from(10, uuid),
        isInternal: from(1, bool),
        partitions: array(
          struct({
            errorCode: branded<ErrorCode>(int16),
            partitionIndex: branded<PartitionIndex>(int32),
            leaderId: branded<NodeId>(int32),
            leaderEpoch: from(7, unknownLeaderEpoch),
            replicaNodes: array(branded<NodeId>(int32)),
            isrNodes: array(branded<NodeId>(int32)),
            offlineReplicas: from(5, array(branded<NodeId>(int32))),
          }),
        ),
        /** A bit per operation; `noAuthorizedOperations`: not asked for. */
        topicAuthorizedOperations: from(8, noAuthorizedOperations),
      }),
    ),
    clusterAuthorizedOperations: between(8, 10, noAuthorizedOperations),
    errorCode: from(13, branded<ErrorCode>(int16)),
  }),
});
export interface MetadataRequest extends Decoded<typeof Metadata.request> {}
export interface MetadataResponse extends Decoded<typeof Metadata.response> {}
