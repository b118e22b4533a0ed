/** Replaces all configurations of a resource: what is not named falls back to its default. */
import {
  array,
  bool,
  branded,
  type Decoded,
  int8,
  int16,
  int32,
  nullable,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const AlterConfigs = api({
  key: 33,
  name: "AlterConfigs",
  versions: [0, 2],
  flexibleFrom: 2,
  request: struct({
    resources: array(
      struct({
        resourceType: int8,
        resourceName: string,
        configs: array(struct({ name: string, value: nullable(string) })),
      }),
    ),
    validateOnly: bool,
  }),
  response: struct({
    throttleTimeMs: int32,
    responses: array(
      struct({
        errorCode: branded<ErrorCode>(int16),
        errorMessage: nullable(string),
        resourceType: int8,
        resourceName: string,
      }),
    ),
  }),
});
export interface AlterConfigsRequest extends Decoded<typeof AlterConfigs.request> {}
export interface AlterConfigsResponse extends Decoded<typeof AlterConfigs.response> {}
