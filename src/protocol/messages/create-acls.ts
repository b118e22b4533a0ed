/** Grants or denies access rights (KIP-140). */
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

export const CreateAcls = api({
  key: 30,
  name: "CreateAcls",
  versions: [1, 3],
  flexibleFrom: 2,
  request: struct({
    creations: array(
      struct({
        resourceType: int8,
        resourceName: string,
        resourcePatternType: orElse(3, int8),
        principal: string,
        host: string,
        operation: int8,
        permissionType: int8,
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    /** One for each of the request, in its order. */
    results: array(struct({ errorCode: branded<ErrorCode>(int16), errorMessage: nullable(string) })),
  }),
});
export interface CreateAclsRequest extends Decoded<typeof CreateAcls.request> {}
export interface CreateAclsResponse extends Decoded<typeof CreateAcls.response> {}
