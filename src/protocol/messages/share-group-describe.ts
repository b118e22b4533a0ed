/** The state, the members and the assignments of share groups (KIP-932). */
import type { PartitionIndex } from "../../base/ids.ts";
import {
  array,
  bool,
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
import { noAuthorizedOperations } from "../fields.ts";

export const ShareGroupDescribe = api({
  key: 77,
  name: "ShareGroupDescribe",
  versions: [1, 1],
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
            rackId: orElse(null, nullable(string)),
            memberEpoch: int32,
            clientId: string,
            clientHost: string,
            subscribedTopicNames: array(string),
            assignment: struct({
              topicPartitions: array(
                struct({
                  topicId: uuid,
                  topicName: string,
                  partitions: array(branded<PartitionIndex>(int32)),
                }),
              ),
            }),
          }),
        ),
        authorizedOperations: noAuthorizedOperations,
      }),
    ),
  }),
});
export interface ShareGroupDescribeRequest extends Decoded<typeof ShareGroupDescribe.request> {}
export interface ShareGroupDescribeResponse extends Decoded<typeof ShareGroupDescribe.response> {}
