/** A member enters a group of the classic protocol, or enters again because the group rebalances. */
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

export const JoinGroup = api({
  key: 11,
  name: "JoinGroup",
  versions: [0, 9],
  flexibleFrom: 6,
  request: struct({
    groupId: string,
    sessionTimeoutMs: int32,
    rebalanceTimeoutMs: ignorable(from(1, orElse(-1, int32))),
    memberId: string,
    groupInstanceId: from(5, orElse(null, nullable(string))),
    protocolType: string,
    protocols: array(
      struct({
        name: string,
        metadata: bytes,
      }),
    ),
    reason: ignorable(from(8, orElse(null, nullable(string)))),
  }),
  response: struct({
    throttleTimeMs: ignorable(from(2, int32)),
    errorCode: branded<ErrorCode>(int16),
    generationId: orElse(-1, int32),
    protocolType: ignorable(from(7, orElse(null, nullable(string)))),
    protocolName: nullable(string, 7),
    leader: string,
    skipAssignment: from(9, bool),
    memberId: string,
    members: array(
      struct({
        memberId: string,
        groupInstanceId: ignorable(from(5, orElse(null, nullable(string)))),
        metadata: bytes,
      }),
    ),
  }),
});
export interface JoinGroupRequest extends Decoded<typeof JoinGroup.request> {}
export interface JoinGroupResponse extends Decoded<typeof JoinGroup.response> {}
