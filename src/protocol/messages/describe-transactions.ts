/** What a coordinator knows of transactional ids (KIP-664). */
import type { PartitionIndex, ProducerEpoch, ProducerId } from "../../base/ids.ts";
import { array, branded, type Decoded, int16, int32, int64, string, struct } from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const DescribeTransactions = api({
  key: 65,
  name: "DescribeTransactions",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({ transactionalIds: array(string) }),
  response: struct({
    throttleTimeMs: int32,
    transactionStates: array(
      struct({
        errorCode: branded<ErrorCode>(int16),
        transactionalId: string,
        transactionState: string,
        transactionTimeoutMs: int32,
        /** −1: none is open. */
        transactionStartTimeMs: int64,
        producerId: branded<ProducerId>(int64),
        producerEpoch: branded<ProducerEpoch>(int16),
        /** Of one that is being ended: those that lack their marker yet. */
        topics: array(struct({ topic: string, partitions: array(branded<PartitionIndex>(int32)) })),
      }),
    ),
  }),
});
export interface DescribeTransactionsRequest extends Decoded<typeof DescribeTransactions.request> {}
export interface DescribeTransactionsResponse extends Decoded<typeof DescribeTransactions.response> {}
