/** Appends record batches. The batches are passed on as they came, never copied and never decoded here. */
import type { Offset, PartitionIndex } from "../../base/ids.ts";
import {
  array,
  branded,
  type Decoded,
  from,
  ignorable,
  int16,
  int32,
  int64,
  nullable,
  orElse,
  records,
  string,
  struct,
  until,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { currentLeader, nodeEndpoints, unknownOffset } from "../fields.ts";

export const Produce = api({
  key: 0,
  name: "Produce",
  versions: [3, 13],
  flexibleFrom: 9,
  request: struct({
    transactionalId: from(3, orElse(null, nullable(string))),
    /** 0: no answer is sent. 1 and −1 (all): the answer leaves when the records are durable. */
    acks: int16,
    timeoutMs: int32,
    topicData: array(
      struct({
        name: ignorable(until(12, string)),
        topicId: ignorable(from(13, uuid)),
        partitionData: array(
          struct({
            index: branded<PartitionIndex>(int32),
            records: nullable(records),
          }),
        ),
      }),
    ),
  }),
  response: struct({
    responses: array(
      struct({
        name: until(12, string),
        topicId: from(13, uuid),
        partitionResponses: array(
          struct({
            index: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
            /** −1 with an error. */
            baseOffset: branded<Offset>(int64),
            /** −1 where records keep the time they came with. */
            logAppendTimeMs: from(2, orElse(-1, int64)),
            logStartOffset: from(5, unknownOffset),
            recordErrors: from(
              8,
              array(
                struct({
                  batchIndex: from(8, int32),
                  batchIndexErrorMessage: from(8, orElse(null, nullable(string))),
                }),
              ),
            ),
            errorMessage: from(8, orElse(null, nullable(string))),
            currentLeader: currentLeader(0, 10),
          }),
        ),
      }),
    ),
    throttleTimeMs: from(1, int32),
    nodeEndpoints: nodeEndpoints(10),
  }),
});
export interface ProduceRequest extends Decoded<typeof Produce.request> {}
export interface ProduceResponse extends Decoded<typeof Produce.response> {}
