/** Gives topics more partitions. */
import type { NodeId } from "../../base/ids.ts";
import {
  array,
  bool,
  branded,
  type Decoded,
  int16,
  int32,
  nullable,
  orElse,
  string,
  struct,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const CreatePartitions = api({
  key: 37,
  name: "CreatePartitions",
  versions: [0, 3],
  flexibleFrom: 2,
  request: struct({
    topics: array(
      struct({
        name: string,
        /** How many the topic shall have, not how many more. */
        count: int32,
        /** Of the added ones; null: the broker chooses. */
        assignments: nullable(array(struct({ brokerIds: array(branded<NodeId>(int32)) }))),
      }),
    ),
    timeoutMs: int32,
    validateOnly: bool,
  }),
  response: struct({
    throttleTimeMs: int32,
    results: array(
      struct({
        name: string,
        errorCode: branded<ErrorCode>(int16),
        errorMessage: orElse(null, nullable(string)),
      }),
    ),
  }),
});
export interface CreatePartitionsRequest extends Decoded<typeof CreatePartitions.request> {}
export interface CreatePartitionsResponse extends Decoded<typeof CreatePartitions.response> {}
