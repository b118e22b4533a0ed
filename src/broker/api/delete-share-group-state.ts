/** DeleteShareGroupState: ends the state of share-partitions (KIP-932). */
import { DeleteShareGroupState } from "../../protocol/messages/delete-share-group-state.ts";
import { handleStates } from "../share/state-requests.ts";

export const deleteShareGroupState = handleStates(
  DeleteShareGroupState,
  (shard, turn, key, { stateEpoch }) => shard.delete(turn, key, stateEpoch),
  (answered) => answered,
);
