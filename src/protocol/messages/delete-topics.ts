/** Deletes topics by name, from version 6 on also by id. */
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
  until,
  uuid,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const DeleteTopics = api({
  key: 20,
  name: "DeleteTopics",
  versions: [1, 6],
  flexibleFrom: 4,
  request: struct({
    /** By name, or by id where the name is null. */
    topics: from(
      6,
      array(
        struct({
          name: from(6, orElse(null, nullable(string))),
          topicId: from(6, uuid),
        }),
      ),
    ),
    topicNames: ignorable(until(5, array(string))),
    timeoutMs: int32,
  }),
  response: struct({
    throttleTimeMs: from(1, int32),
    responses: array(
      struct({
        name: nullable(string, 6),
        topicId: from(6, uuid),
        errorCode: branded<ErrorCode>(int16),
        errorMessage: from(5, orElse(null, nullable(string))),
      }),
    ),
  }),
});
export interface DeleteTopicsRequest extends Decoded<typeof DeleteTopics.request> {}
export interface DeleteTopicsResponse extends Decoded<typeof DeleteTopics.response> {}
