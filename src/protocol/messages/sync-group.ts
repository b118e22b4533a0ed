/** The leader of a classic group hands in what each member is assigned, and every member hears its own part. */
import {
  array,
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

export const SyncGroup = api({
  key: 14,
  name: "SyncGroup",
  versions: [0, 5],
  flexibleFrom: 4,
  request: struct({
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: from(3, orElse(null, nullable(string))),
    protocolType: ignorable(from(5, orElse(null, nullable(string)))),
    protocolName: ignorable(from(5, orElse(null, nullable(string)))),
    assignments: array(
      struct({
        memberId: string,
        assignment: bytes,
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: ignorable(from(1, int32)),
    errorCode: branded<ErrorCode>(int16),
    protocolType: ignorable(from(5, orElse(null, nullable(string)))),
    protocolName: ignorable(from(5, orElse(null, nullable(string)))),
    assignment: bytes,
  }),
});
export interface SyncGroupRequest extends Decoded<typeof SyncGroup.request> {}
export interface SyncGroupResponse extends Decoded<typeof SyncGroup.response> {}
