/** All that a member of a KIP-848 group says: join, subscription, what it owns, leave; and what it is told to own. */
import type { PartitionIndex } from "../../base/ids.ts";
import {
  array,
  branded,
  type Decoded,
  from,
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

export const ConsumerGroupHeartbeat = api({
  key: 68,
  name: "ConsumerGroupHeartbeat",
  versions: [0, 1],
  flexibleFrom: 0,
  request: struct({
    groupId: string,
    memberId: string,
    memberEpoch: int32,
    instanceId: orElse(null, nullable(string)),
    rackId: orElse(null, nullable(string)),
    rebalanceTimeoutMs: orElse(-1, int32),
    subscribedTopicNames: orElse(null, nullable(array(string))),
    subscribedTopicRegex: from(1, orElse(null, nullable(string))),
    serverAssignor: orElse(null, nullable(string)),
    topicPartitions: orElse(
      null,
      nullable(
        array(
          struct({
            topicId: uuid,
            partitions: array(branded<PartitionIndex>(int32)),
          }),
        ),
      ),
    ),
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
            struct({
              topicId: uuid,
              partitions: array(branded<PartitionIndex>(int32)),
            }),
          ),
        }),
      ),
    ),
  }),
});
export interface ConsumerGroupHeartbeatRequest extends Decoded<typeof ConsumerGroupHeartbeat.request> {}
export interface ConsumerGroupHeartbeatResponse extends Decoded<typeof ConsumerGroupHeartbeat.response> {}
