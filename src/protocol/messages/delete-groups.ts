/** Deletes empty groups with all their committed offsets (KIP-229). */
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
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const DeleteGroups = api({
  key: 42,
  name: "DeleteGroups",
  versions: [0, 3],
  flexibleFrom: 2,
  request: struct({
    groupsNames: array(string),
  }),
  response: struct({
    throttleTimeMs: int32,
    results: array(
      struct({
        groupId: string,
        errorCode: branded<ErrorCode>(int16),
        errorMessage: ignorable(from(3, orElse(null, nullable(string)))),
      }),
    ),
  }),
});
export interface DeleteGroupsRequest extends Decoded<typeof DeleteGroups.request> {}
export interface DeleteGroupsResponse extends Decoded<typeof DeleteGroups.response> {}
