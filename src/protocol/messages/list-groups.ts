/** Every group of a broker, on request only those of some states (KIP-518) or types (KIP-848). */
import {
  array,
  branded,
  type Decoded,
  from,
  ignorable,
  int16,
  int32,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const ListGroups = api({
  key: 16,
  name: "ListGroups",
  versions: [0, 5],
  flexibleFrom: 3,
  request: struct({
    statesFilter: from(4, array(string)),
    typesFilter: from(5, array(string)),
  }),
  response: struct({
    throttleTimeMs: ignorable(from(1, int32)),
    errorCode: branded<ErrorCode>(int16),
    groups: array(
      struct({
        groupId: string,
        protocolType: string,
        groupState: ignorable(from(4, string)),
        groupType: ignorable(from(5, string)),
      }),
    ),
  }),
});
export interface ListGroupsRequest extends Decoded<typeof ListGroups.request> {}
export interface ListGroupsResponse extends Decoded<typeof ListGroups.response> {}
