/** WriteShareGroupState: what the leader of share-partitions has decided; answered when it is durable (KIP-932). */
import { decodedBatch } from "../../coordinator/share/state-batch.ts";
import { WriteShareGroupState } from "../../protocol/messages/write-share-group-state.ts";
import { handleStates } from "../share/state-requests.ts";

export const writeShareGroupState = handleStates(
  WriteShareGroupState,
  (shard, turn, key, { stateBatches, ...state }) =>
    shard.write(turn, key, { ...state, batches: stateBatches.map(decodedBatch) }),
  (answered) => answered,
);
