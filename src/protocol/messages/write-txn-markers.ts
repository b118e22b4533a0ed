/** The coordinator of transactions has their outcome written into the partitions (KIP-98). */
import type { PartitionIndex, ProducerEpoch, ProducerId } from "../../base/ids.ts";
import {
  array,
  bool,
  branded,
  type Decoded,
  from,
  ignorable,
  int8,
  int16,
  int32,
  int64,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const WriteTxnMarkers = api({
  key: 27,
  name: "WriteTxnMarkers",
  versions: [1, 2],
  flexibleFrom: 1,
  request: struct({
    markers: array(
      struct({
        producerId: branded<ProducerId>(int64),
        producerEpoch: branded<ProducerEpoch>(int16),
        /** True: committed. */
        transactionResult: bool,
        topics: array(struct({ name: string, partitionIndexes: array(branded<PartitionIndex>(int32)) })),
        coordinatorEpoch: int32,
        /** 2: each transaction has its own epoch, so that a marker's is higher than its records' (KIP-1228). */
        transactionVersion: ignorable(from(2, int8)),
      }),
    ),
  }),
  response: struct({
    markers: array(
      struct({
        producerId: branded<ProducerId>(int64),
        topics: array(
          struct({
            name: string,
            partitions: array(
              struct({
                partitionIndex: branded<PartitionIndex>(int32),
                errorCode: branded<ErrorCode>(int16),
              }),
            ),
          }),
        ),
      }),
    ),
  }),
});
export interface WriteTxnMarkersRequest extends Decoded<typeof WriteTxnMarkers.request> {}
export interface WriteTxnMarkersResponse extends Decoded<typeof WriteTxnMarkers.response> {}
