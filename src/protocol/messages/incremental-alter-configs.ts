/** Changes single configuration keys and leaves the others alone (KIP-339). */
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

export const IncrementalAlterConfigs = api({
  key: 44,
  name: "IncrementalAlterConfigs",
  versions: [0, 1],
  flexibleFrom: 1,
  request: struct({
    resources: array(
      struct({
        resourceType: int8,
        resourceName: string,
        configs: array(
          struct({
            name: string,
            /** One of `ConfigOperation`. */
            configOperation: int8,
            value: nullable(string),
          }),
        ),
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
export interface IncrementalAlterConfigsRequest extends Decoded<typeof IncrementalAlterConfigs.request> {}
export interface IncrementalAlterConfigsResponse extends Decoded<typeof IncrementalAlterConfigs.response> {}

/** `append` and `subtract` are for lists. */
export const ConfigOperation = { set: 0, delete: 1, append: 2, subtract: 3 } as const;
