/** Asks which access rights there are (KIP-140). */
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

export const DescribeAcls = api({
  key: 29,
  name: "DescribeAcls",
  versions: [1, 3],
  flexibleFrom: 2,
  request: struct({
    resourceTypeFilter: int8,
    /** Null: any. */
    resourceNameFilter: nullable(string),
    patternTypeFilter: orElse(3, int8),
    principalFilter: nullable(string),
    hostFilter: nullable(string),
    operation: int8,
    permissionType: int8,
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    errorMessage: nullable(string),
    resources: array(
      struct({
        resourceType: int8,
        resourceName: string,
        patternType: orElse(3, int8),
        acls: array(struct({ principal: string, host: string, operation: int8, permissionType: int8 })),
      }),
    ),
  }),
});
export interface DescribeAclsRequest extends Decoded<typeof DescribeAcls.request> {}
export interface DescribeAclsResponse extends Decoded<typeof DescribeAcls.response> {}
