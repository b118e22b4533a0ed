/** Acquires records for a member of a share group, and acknowledges earlier ones along the way (KIP-932, KIP-1206, KIP-1222). */
import type { Offset, PartitionIndex } from "../../base/ids.ts";
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
  nullable,
  orElse,
  records,
  string,
  struct,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { acknowledgementBatches, leaderIdAndEpoch, plainNodeEndpoints } from "../fields.ts";

export const ShareFetch = api({
  key: 78,
  name: "ShareFetch",
  versions: [1, 2],
  flexibleFrom: 0,
  request: struct({
    groupId: orElse(null, nullable(string)),
    memberId: nullable(string),
    /** 0: opens a session; −1: closes it; else one more with each request. */
    shareSessionEpoch: int32,
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: orElse(0x7fffffff, int32),
    /** May be exceeded so that batches stay whole, unless `shareAcquireMode` is 1. */
    maxRecords: from(1, int32),
    batchSize: from(1, int32),
    /** 0: whole batches; 1: never more than `maxRecords`. */
    shareAcquireMode: ignorable(from(2, int8)),
    isRenewAck: from(2, bool),
    topics: array(
      struct({
        topicId: uuid,
        partitions: array(struct({ partitionIndex: branded<PartitionIndex>(int32), acknowledgementBatches })),
      }),
    ),
    forgottenTopicsData: array(struct({ topicId: uuid, partitions: array(branded<PartitionIndex>(int32)) })),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    errorMessage: orElse(null, nullable(string)),
    acquisitionLockTimeoutMs: from(1, int32),
    responses: array(
      struct({
        topicId: uuid,
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
            errorMessage: orElse(null, nullable(string)),
            acknowledgeErrorCode: branded<ErrorCode>(int16),
            acknowledgeErrorMessage: orElse(null, nullable(string)),
            currentLeader: leaderIdAndEpoch,
            records,
            acquiredRecords: array(
              struct({
                firstOffset: branded<Offset>(int64),
                /** Inclusive. */
                lastOffset: branded<Offset>(int64),
                deliveryCount: int16,
              }),
            ),
          }),
        ),
      }),
    ),
    nodeEndpoints: plainNodeEndpoints,
  }),
});
export interface ShareFetchRequest extends Decoded<typeof ShareFetch.request> {}
export interface ShareFetchResponse extends Decoded<typeof ShareFetch.response> {}
