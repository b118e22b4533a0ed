/** ReadShareGroupState: what is known of share-partitions, for the leader that begins to deliver from them (KIP-932). */
import { offset } from "../../base/ids.ts";
import { encodedBatch } from "../../coordinator/share/state-batch.ts";
import { ReadShareGroupState } from "../../protocol/messages/read-share-group-state.ts";
import { handleStates } from "../share/state-requests.ts";

export const readShareGroupState = handleStates(
  ReadShareGroupState,
  (shard, turn, key, { leaderEpoch }) => shard.read(turn, key, leaderEpoch),
  (answered, state) => ({
    ...answered,
    stateEpoch: state?.stateEpoch ?? 0,
    startOffset: state?.startOffset ?? offset(-1),
    stateBatches: state?.batches.map(encodedBatch) ?? [],
  }),
);
