/** Which broker looks after a group or a transactional id; from version 4 on several keys at once (KIP-699). */
import type { NodeId } from "../../base/ids.ts";
import {
  array,
  between,
  branded,
  type Decoded,
  from,
  ignorable,
  int16,
  int32,
  int8,
  nullable,
  string,
  struct,
  until,
} from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const FindCoordinator = api({
  key: 10,
  name: "FindCoordinator",
  versions: [0, 6],
  flexibleFrom: 3,
  request: struct({
    key: until(3, string),
    keyType: from(1, int8),
    coordinatorKeys: from(4, array(string)),
  }),
  response: struct({
    throttleTimeMs: ignorable(from(1, int32)),
    errorCode: until(3, branded<ErrorCode>(int16)),
    errorMessage: ignorable(between(1, 3, nullable(string))),
    nodeId: until(3, branded<NodeId>(int32)),
    host: until(3, string),
    port: until(3, int32),
    coordinators: from(
      4,
      array(
        struct({
          key: string,
          nodeId: branded<NodeId>(int32),
          host: string,
          port: int32,
          errorCode: branded<ErrorCode>(int16),
          errorMessage: nullable(string),
        }),
      ),
    ),
  }),
});
export interface FindCoordinatorRequest extends Decoded<typeof FindCoordinator.request> {}
export interface FindCoordinatorResponse extends Decoded<typeof FindCoordinator.response> {}

/** What a key of FindCoordinator names. */
export const CoordinatorType = { group: 0, transaction: 1, share: 2 } as const;
