/** The state, the members and the assignments of groups of KIP-848. */
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
  int8,
  nullable,
  orElse,
  string,
  struct,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { noAuthorizedOperations } from "../fields.ts";

export const ConsumerGroupDescribe = api({
  key: 69,
  name: "ConsumerGroupDescribe",
  versions: [0, 1],
  flexibleFrom: 0,
  request: struct({
    groupIds: array(string),
    includeAuthorizedOperations: bool,
  }),
  response: struct({
    throttleTimeMs: int32,
    groups: array(
      struct({
        errorCode: branded<ErrorCode>(int16),
        errorMessage: orElse(null, nullable(string)),
        groupId: string,
        groupState: string,
        groupEpoch: int32,
        assignmentEpoch: int32,
        assignorName: string,
        members: array(
          struct({
            memberId: string,
            instanceId: orElse(null, nullable(string)),
            rackId: orElse(null, nullable(string)),
            memberEpoch: int32,
            clientId: string,
            clientHost: string,
            subscribedTopicNames: array(string),
            subscribedTopicRegex: orElse(null, nullable(string)),
            assignment: struct({
              topicPartitions: array(
                struct({
                  topicId: uuid,
                  topicName: string,
                  partitions: array(branded<PartitionIndex>(int32)),
                }),
              ),
            }),
            targetAssignment: struct({
              topicPartitions: array(
                struct({
                  topicId: uuid,
                  topicName: string,
                  partitions: array(branded<PartitionIndex>(int32)),
                }),
              ),
            }),
            memberType: ignorable(from(1, orElse(-1, int8))),
          }),
        ),
        authorizedOperations: noAuthorizedOperations,
      }),
    ),
  }),
});
export interface ConsumerGroupDescribeRequest extends Decoded<typeof ConsumerGroupDescribe.request> {}
export interface ConsumerGroupDescribeResponse extends Decoded<typeof ConsumerGroupDescribe.response> {}
