/** Names of resources that have configurations (KIP-1142); version 0 lists those of client metrics only (KIP-1000). */
import {
  array,
  branded,
  type Decoded,
  from,
  ignorable,
  int8,
  int16,
  int32,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

/** `ConfigResource.clientMetrics`. */
const clientMetrics = 16;

export const ListConfigResources = api({
  key: 74,
  name: "ListConfigResources",
  versions: [0, 1],
  flexibleFrom: 0,
  request: struct({
    /** Empty: all types. */
    resourceTypes: from(1, array(int8)),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    configResources: array(
      struct({ resourceName: string, resourceType: ignorable(from(1, orElse(clientMetrics, int8))) }),
    ),
  }),
});
export interface ListConfigResourcesRequest extends Decoded<typeof ListConfigResources.request> {}
export interface ListConfigResourcesResponse extends Decoded<typeof ListConfigResources.response> {}
