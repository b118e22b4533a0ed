/** Partitions become part of a transaction (KIP-98): asked by clients up to version 3, from version 4 on by brokers for several transactions at once, also only whether they are part of it (KIP-890). */
import type { PartitionIndex, ProducerEpoch, ProducerId } from "../../base/ids.ts";
import {
  array,
  bool,
  branded,
  type Decoded,
  from,
  ignorable,
  int16,
  int32,
  int64,
  string,
  struct,
  until,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

const topics = array(struct({ name: string, partitions: array(branded<PartitionIndex>(int32)) }));
const topicResults = array(
  struct({
    name: string,
    resultsByPartition: array(
      struct({
        partitionIndex: branded<PartitionIndex>(int32),
        partitionErrorCode: branded<ErrorCode>(int16),
      }),
    ),
  }),
);

export const AddPartitionsToTxn = api({
  key: 24,
  name: "AddPartitionsToTxn",
  versions: [0, 5],
  flexibleFrom: 3,
  request: struct({
    transactions: from(
      4,
      array(
        struct({
          transactionalId: string,
          producerId: branded<ProducerId>(int64),
          producerEpoch: branded<ProducerEpoch>(int16),
          /** Nothing is added; partitions that are not part of it are an error. */
          verifyOnly: bool,
          topics,
        }),
      ),
    ),
    v3AndBelowTransactionalId: until(3, string),
    v3AndBelowProducerId: until(3, branded<ProducerId>(int64)),
    v3AndBelowProducerEpoch: until(3, branded<ProducerEpoch>(int16)),
    v3AndBelowTopics: until(3, topics),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: ignorable(from(4, branded<ErrorCode>(int16))),
    resultsByTransaction: from(4, array(struct({ transactionalId: string, topicResults }))),
    resultsByTopicV3AndBelow: until(3, topicResults),
  }),
});
export interface AddPartitionsToTxnRequest extends Decoded<typeof AddPartitionsToTxn.request> {}
export interface AddPartitionsToTxnResponse extends Decoded<typeof AddPartitionsToTxn.response> {}
