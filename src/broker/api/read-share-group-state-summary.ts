/** ReadShareGroupStateSummary: how far delivery from share-partitions has come (KIP-932, KIP-1226). */
import { leaderEpoch, offset } from "../../base/ids.ts";
import { ReadShareGroupStateSummary } from "../../protocol/messages/read-share-group-state-summary.ts";
import { handleStates } from "../share/state-requests.ts";

export const readShareGroupStateSummary = handleStates(
  ReadShareGroupStateSummary,
  (shard, _turn, key) => shard.summary(key),
  (answered, summary) => ({
    ...answered,
    stateEpoch: summary?.stateEpoch ?? 0,
    leaderEpoch: summary?.leaderEpoch ?? leaderEpoch(0),
    startOffset: summary?.startOffset ?? offset(-1),
    deliveryCompleteCount: summary?.deliveryCompleteCount ?? -1,
  }),
);
