/** The state and the members of groups of the classic protocol. */
import {
  array,
  bool,
  branded,
  bytes,
  type Decoded,
  from,
  ignorable,
  int16,
  int32,
  nullable,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";
import { noAuthorizedOperations } from "../fields.ts";

export const DescribeGroups = api({
  key: 15,
  name: "DescribeGroups",
  versions: [0, 6],
  flexibleFrom: 5,
  request: struct({
    groups: array(string),
    includeAuthorizedOperations: from(3, bool),
  }),
  response: struct({
    throttleTimeMs: ignorable(from(1, int32)),
    groups: array(
      struct({
        errorCode: branded<ErrorCode>(int16),
        errorMessage: from(6, orElse(null, nullable(string))),
        groupId: string,
        groupState: string,
        protocolType: string,
        protocolData: string,
        members: array(
          struct({
            memberId: string,
            groupInstanceId: ignorable(from(4, orElse(null, nullable(string)))),
            clientId: string,
            clientHost: string,
            memberMetadata: bytes,
            memberAssignment: bytes,
          }),
        ),
        authorizedOperations: from(3, noAuthorizedOperations),
      }),
    ),
  }),
});
export interface DescribeGroupsRequest extends Decoded<typeof DescribeGroups.request> {}
export interface DescribeGroupsResponse extends Decoded<typeof DescribeGroups.response> {}
