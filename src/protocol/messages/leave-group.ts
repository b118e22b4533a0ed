/** Members leave a classic group; from version 3 on several at once, also static ones by an admin (KIP-345). */
import {
  array,
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
  until,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const LeaveGroup = api({
  key: 13,
  name: "LeaveGroup",
  versions: [0, 5],
  flexibleFrom: 4,
  request: struct({
    groupId: string,
    memberId: until(2, string),
    members: from(
      3,
      array(
        struct({
          memberId: string,
          groupInstanceId: orElse(null, nullable(string)),
          reason: ignorable(from(5, orElse(null, nullable(string)))),
        }),
      ),
    ),
  }),
  response: struct({
    throttleTimeMs: ignorable(from(1, int32)),
    errorCode: branded<ErrorCode>(int16),
    members: from(
      3,
      array(
        struct({
          memberId: string,
          groupInstanceId: nullable(string),
          errorCode: branded<ErrorCode>(int16),
        }),
      ),
    ),
  }),
});
export interface LeaveGroupRequest extends Decoded<typeof LeaveGroup.request> {}
export interface LeaveGroupResponse extends Decoded<typeof LeaveGroup.response> {}
