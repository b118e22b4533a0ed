/** A member of a classic group says that it is alive, and hears whether the group rebalances. */
import {
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
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const Heartbeat = api({
  key: 12,
  name: "Heartbeat",
  versions: [0, 4],
  flexibleFrom: 4,
  request: struct({
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: from(3, orElse(null, nullable(string))),
  }),
  response: struct({
    throttleTimeMs: ignorable(from(1, int32)),
    errorCode: branded<ErrorCode>(int16),
  }),
});
export interface HeartbeatRequest extends Decoded<typeof Heartbeat.request> {}
export interface HeartbeatResponse extends Decoded<typeof Heartbeat.response> {}
