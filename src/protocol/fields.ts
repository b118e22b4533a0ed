/** Fields that several messages have in common. */
import {
  type LeaderEpoch,
  leaderEpoch,
  NO_PRODUCER,
  type NodeId,
  nodeId,
  type Offset,
  offset,
  type ProducerId,
} from "../base/ids.ts";
import {
  array,
  branded,
  clamped64,
  from,
  int8,
  int16,
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

/** The same two without a tag, as the messages of share groups have them. */
export const leaderIdAndEpoch = struct({
  leaderId: branded<NodeId>(int32),
  leaderEpoch: branded<LeaderEpoch>(int32),
});
export const plainNodeEndpoints = array(
  struct({
    nodeId: branded<NodeId>(int32),
    host: string,
    port: int32,
    rack: orElse(null, nullable(string)),
  }),
);

/** Offsets that a member of a share group acknowledges: one type for all of them, or one for each. */
export const acknowledgementBatches = array(
  struct({
    firstOffset: branded<Offset>(clamped64),
    /** Inclusive. */
    lastOffset: branded<Offset>(clamped64),
    /** 0: a gap, 1: accept, 2: release, 3: reject, 4: renew. */
    acknowledgeTypes: array(int8),
  }),
);

/** Tags of ours, far above what Kafka numbers; whoever does not know them passes over them (KIP-482). */
export const ownTagsFrom = 10_000;

/** What became of records of a share-partition, as brokers tell it and as it is kept. */
export const stateBatches = array(
  struct({
    firstOffset: branded<Offset>(int64),
    /** Inclusive. */
    lastOffset: branded<Offset>(int64),
    /** 0: available, 2: acknowledged, 3: archiving, 4: archived. */
    deliveryState: int8,
    deliveryCount: int16,
    /** As whom dead letters are written while their records are archiving: of ours. */
    letterProducerId: tagged(ownTagsFrom, 0, orElse(NO_PRODUCER, branded<ProducerId>(int64))),
    letterSequence: tagged(ownTagsFrom + 1, 0, orElse(-1, int32)),
  }),
);
