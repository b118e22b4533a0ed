/** Says what became of acquired records: accepted, released, rejected, still at work (KIP-932, KIP-1222). */
import type { PartitionIndex } from "../../base/ids.ts";
import {
  array,
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
import { acknowledgementBatches, leaderIdAndEpoch, plainNodeEndpoints } from "../fields.ts";

export const ShareAcknowledge = api({
  key: 79,
  name: "ShareAcknowledge",
  versions: [1, 2],
  flexibleFrom: 0,
  request: struct({
    groupId: orElse(null, nullable(string)),
    memberId: nullable(string),
    shareSessionEpoch: int32,
    isRenewAck: from(2, bool),
    topics: array(
      struct({
        topicId: uuid,
        partitions: array(struct({ partitionIndex: branded<PartitionIndex>(int32), acknowledgementBatches })),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    errorMessage: orElse(null, nullable(string)),
    acquisitionLockTimeoutMs: ignorable(from(2, int32)),
    responses: array(
      struct({
        topicId: uuid,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
            errorMessage: orElse(null, nullable(string)),
            currentLeader: leaderIdAndEpoch,
          }),
        ),
      }),
    ),
    nodeEndpoints: plainNodeEndpoints,
  }),
});
export interface ShareAcknowledgeRequest extends Decoded<typeof ShareAcknowledge.request> {}
export interface ShareAcknowledgeResponse extends Decoded<typeof ShareAcknowledge.response> {}
