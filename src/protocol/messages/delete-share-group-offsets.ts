/** Ends what a share group without members knows of topics (KIP-932). */
import {
  array,
  branded,
  type Decoded,
  int16,
  int32,
  nullable,
  orElse,
  string,
  struct,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const DeleteShareGroupOffsets = api({
  key: 92,
  name: "DeleteShareGroupOffsets",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    groupId: string,
    topics: array(struct({ topicName: string })),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: branded<ErrorCode>(int16),
    errorMessage: orElse(null, nullable(string)),
    responses: array(
      struct({
        topicName: string,
        topicId: uuid,
        errorCode: branded<ErrorCode>(int16),
        errorMessage: orElse(null, nullable(string)),
      }),
    ),
  }),
});
export interface DeleteShareGroupOffsetsRequest extends Decoded<typeof DeleteShareGroupOffsets.request> {}
export interface DeleteShareGroupOffsetsResponse extends Decoded<typeof DeleteShareGroupOffsets.response> {}
