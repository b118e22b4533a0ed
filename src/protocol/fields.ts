/** Fields that several messages have in common. */
import { type LeaderEpoch, leaderEpoch, type NodeId, nodeId, type Offset, offset } from "../base/ids.ts";
import {
  array,
  branded,
  from,
  int32,
  int64,
  nullable,
  orElse,
  string,
  struct,
  tagged,
} from "../schema/types.ts";

export const unknownLeaderEpoch = orElse(leaderEpoch(-1), branded<LeaderEpoch>(int32));
export const unknownOffset = orElse(offset(-1), branded<Offset>(int64));
export const unknownNode = orElse(nodeId(-1), branded<NodeId>(int32));

/** Stands for "not asked for" where authorized operations are listed as bits. */
export const OPERATIONS_NOT_ASKED = -2_147_483_648;
export const noAuthorizedOperations = orElse(OPERATIONS_NOT_ASKED, int32);

/** Who owns the partition now, told along with an error (KIP-951). */
export const currentLeader = (tag: number, first: number) =>
  tagged(
    tag,
    first,
    struct({ leaderId: from(first, unknownNode), leaderEpoch: from(first, unknownLeaderEpoch) }),
  );

/** Addresses of the owners that `currentLeader` names. */
export const nodeEndpoints = (first: number) =>
  tagged(
    0,
    first,
    array(
      struct({
        nodeId: from(first, branded<NodeId>(int32)),
        host: from(first, string),
        port: from(first, int32),
        rack: from(first, orElse(null, nullable(string))),
      }),
    ),
  );
