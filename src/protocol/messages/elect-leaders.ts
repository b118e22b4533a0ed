/** Asks for an election of partitions' leaders: of the preferred replica, or of any that lives (KIP-460). */
import type { PartitionIndex } from "../../base/ids.ts";
import {
  array,
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

export const ElectLeaders = api({
  key: 43,
  name: "ElectLeaders",
  versions: [0, 2],
  flexibleFrom: 2,
  request: struct({
    electionType: from(1, int8),
    /** Null: all. */
    topicPartitions: nullable(
      array(struct({ topic: string, partitions: array(branded<PartitionIndex>(int32)) })),
    ),
    timeoutMs: orElse(60_000, int32),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: from(1, branded<ErrorCode>(int16)),
    replicaElectionResults: array(
      struct({
        topic: string,
        partitionResult: array(
          struct({
            partitionId: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
            errorMessage: nullable(string),
          }),
        ),
      }),
    ),
  }),
});
export interface ElectLeadersRequest extends Decoded<typeof ElectLeaders.request> {}
export interface ElectLeadersResponse extends Decoded<typeof ElectLeaders.response> {}

export const ElectionType = { preferred: 0, unclean: 1 } as const;
