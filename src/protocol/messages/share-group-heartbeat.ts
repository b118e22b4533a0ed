/** All that a member of a share group says: join, subscription, leave; and what it is told to read (KIP-932). */
import type { PartitionIndex } from "../../base/ids.ts";
import {
  array,
  branded,
  type Decoded,
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

export const ShareGroupHeartbeat = api({
  key: 76,
  name: "ShareGroupHeartbeat",
  versions: [1, 1],
  flexibleFrom: 0,
  request: struct({
    groupId: string,
    memberId: string,
    /** 0: joins; −1: leaves. */
    memberEpoch: int32,
    rackId: orElse(null, nullable(string)),
    subscribedTopicNames: orElse(null, nullable(array(string))),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    errorMessage: orElse(null, nullable(string)),
    memberId: orElse(null, nullable(string)),
    memberEpoch: int32,
    heartbeatIntervalMs: int32,
    assignment: orElse(
      null,
      nullable(
        struct({
          topicPartitions: array(
            struct({ topicId: uuid, partitions: array(branded<PartitionIndex>(int32)) }),
          ),
        }),
      ),
    ),
  }),
});
export interface ShareGroupHeartbeatRequest extends Decoded<typeof ShareGroupHeartbeat.request> {}
export interface ShareGroupHeartbeatResponse extends Decoded<typeof ShareGroupHeartbeat.response> {}
