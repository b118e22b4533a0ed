/** Takes access rights away (KIP-140). */
import {
  array,
  branded,
  type Decoded,
  int8,
  int16,
  int32,
  nullable,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const DeleteAcls = api({
  key: 31,
  name: "DeleteAcls",
  versions: [1, 3],
  flexibleFrom: 2,
  request: struct({
    filters: array(
      struct({
        resourceTypeFilter: int8,
        /** Null: any. */
        resourceNameFilter: nullable(string),
        patternTypeFilter: orElse(3, int8),
        principalFilter: nullable(string),
        hostFilter: nullable(string),
        operation: int8,
        permissionType: int8,
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    /** One for each of the request, in its order. */
    filterResults: array(
      struct({
        errorCode: branded<ErrorCode>(int16),
        errorMessage: nullable(string),
        matchingAcls: array(
          struct({
            errorCode: branded<ErrorCode>(int16),
            errorMessage: nullable(string),
            resourceType: int8,
            resourceName: string,
            patternType: orElse(3, int8),
            principal: string,
            host: string,
            operation: int8,
            permissionType: int8,
          }),
        ),
      }),
    ),
  }),
});
export interface DeleteAclsRequest extends Decoded<typeof DeleteAcls.request> {}
export interface DeleteAclsResponse extends Decoded<typeof DeleteAcls.response> {}
