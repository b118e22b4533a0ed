/** Reads record batches, with sessions (KIP-227), leader epochs (KIP-320) and topic ids (KIP-516). */
import { type Offset, offset, type PartitionIndex, type ProducerId } from "../../base/ids.ts";
import {
  array,
  between,
  bigint64,
  branded,
  clamped64,
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
  tagged,
  until,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { currentLeader, nodeEndpoints, unknownLeaderEpoch, unknownNode, unknownOffset } from "../fields.ts";

export const Fetch = api({
  key: 1,
  name: "Fetch",
  versions: [4, 18],
  flexibleFrom: 12,
  request: struct({
    clusterId: ignorable(tagged(0, 12, orElse(null, nullable(string)))),
    /** −1: a consumer. From version 15 on in `replicaState`. */
    replicaId: until(14, unknownNode),
    replicaState: tagged(
      1,
      15,
      struct({
        replicaId: from(15, unknownNode),
        replicaEpoch: from(15, orElse(-1, clamped64)),
      }),
    ),
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: ignorable(from(3, orElse(0x7fffffff, int32))),
    /** 1: only what is below the last stable offset. */
    isolationLevel: ignorable(from(4, int8)),
    sessionId: ignorable(from(7, int32)),
    /** −1: without a session; 0: makes one. */
    sessionEpoch: ignorable(from(7, orElse(-1, int32))),
    topics: array(
      struct({
        topic: ignorable(until(12, string)),
        topicId: ignorable(from(13, uuid)),
        partitions: array(
          struct({
            partition: branded<PartitionIndex>(int32),
            currentLeaderEpoch: ignorable(from(9, unknownLeaderEpoch)),
            fetchOffset: branded<Offset>(clamped64),
            lastFetchedEpoch: from(12, unknownLeaderEpoch),
            logStartOffset: ignorable(from(5, orElse(offset(-1), branded<Offset>(clamped64)))),
            partitionMaxBytes: int32,
            replicaDirectoryId: ignorable(tagged(0, 17, uuid)),
            highWatermark: ignorable(tagged(1, 18, orElse(0x7fff_ffff_ffff_ffffn, bigint64))),
          }),
        ),
      }),
    ),
    forgottenTopicsData: from(
      7,
      array(
        struct({
          topic: ignorable(between(7, 12, string)),
          topicId: ignorable(from(13, uuid)),
          partitions: from(7, array(branded<PartitionIndex>(int32))),
        }),
      ),
    ),
    rackId: ignorable(from(11, string)),
  }),
  response: struct({
    throttleTimeMs: from(1, int32),
    errorCode: from(7, branded<ErrorCode>(int16)),
    sessionId: from(7, int32),
    responses: array(
      struct({
        topic: until(12, string),
        topicId: from(13, uuid),
        partitions: array(
          struct({
            partitionIndex: branded<PartitionIndex>(int32),
            errorCode: branded<ErrorCode>(int16),
            highWatermark: branded<Offset>(int64),
            lastStableOffset: from(4, unknownOffset),
            logStartOffset: from(5, unknownOffset),
            divergingEpoch: tagged(
              0,
              12,
              struct({
                epoch: from(12, unknownLeaderEpoch),
                endOffset: from(12, unknownOffset),
              }),
            ),
            currentLeader: currentLeader(1, 12),
            snapshotId: tagged(2, 12, struct({ endOffset: unknownOffset, epoch: unknownLeaderEpoch })),
            abortedTransactions: from(
              4,
              nullable(
                array(
                  struct({
                    producerId: from(4, branded<ProducerId>(int64)),
                    firstOffset: from(4, branded<Offset>(int64)),
                  }),
                ),
                4,
              ),
            ),
            preferredReadReplica: from(11, unknownNode),
            records: nullable(records),
          }),
        ),
      }),
    ),
    nodeEndpoints: nodeEndpoints(16),
  }),
});
export interface FetchRequest extends Decoded<typeof Fetch.request> {}
export interface FetchResponse extends Decoded<typeof Fetch.response> {}
