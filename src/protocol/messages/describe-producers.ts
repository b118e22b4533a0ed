/** Which producers a partition knows, and which of them have a transaction open (KIP-664). */
import type { PartitionIndex, ProducerEpoch, ProducerId } from "../../base/ids.ts";
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
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { unknownOffset } from "../fields.ts";

export const DescribeProducers = api({
  key: 61,
  name: "DescribeProducers",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    topics: array(struct({ name: string, partitionIndexes: array(branded<PartitionIndex>(int32)) })),
  }),
  response: struct({
    throttleTimeMs: int32,
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
            errorMessage: orElse(null, nullable(string)),
            activeProducers: array(
              struct({
                producerId: branded<ProducerId>(int64),
                producerEpoch: branded<ProducerEpoch>(int32),
                lastSequence: orElse(-1, int32),
                lastTimestamp: orElse(-1, int64),
                /** −1: it has written no transaction here. */
                coordinatorEpoch: int32,
                /** −1: none is open. */
                currentTxnStartOffset: unknownOffset,
              }),
            ),
          }),
        ),
      }),
    ),
  }),
});
export interface DescribeProducersRequest extends Decoded<typeof DescribeProducers.request> {}
export interface DescribeProducersResponse extends Decoded<typeof DescribeProducers.response> {}
