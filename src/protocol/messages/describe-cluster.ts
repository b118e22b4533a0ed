/** The brokers and the id of the cluster (KIP-700). */
import type { NodeId } from "../../base/ids.ts";
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
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { noAuthorizedOperations, unknownNode } from "../fields.ts";

export const DescribeCluster = api({
  key: 60,
  name: "DescribeCluster",
  versions: [0, 2],
  flexibleFrom: 0,
  request: struct({
    includeClusterAuthorizedOperations: bool,
    /** 1: brokers, 2: controllers (KIP-919). */
    endpointType: from(1, orElse(1, int8)),
    includeFencedBrokers: from(2, bool),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    errorMessage: orElse(null, nullable(string)),
    endpointType: from(1, orElse(1, int8)),
    clusterId: string,
    controllerId: unknownNode,
    brokers: array(
      struct({
        brokerId: branded<NodeId>(int32),
        host: string,
        port: int32,
        rack: orElse(null, nullable(string)),
        isFenced: from(2, bool),
      }),
    ),
    clusterAuthorizedOperations: noAuthorizedOperations,
  }),
});
export interface DescribeClusterRequest extends Decoded<typeof DescribeCluster.request> {}
export interface DescribeClusterResponse extends Decoded<typeof DescribeCluster.response> {}
