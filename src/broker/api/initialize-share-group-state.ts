/** InitializeShareGroupState: begins the state of share-partitions, for the coordinator of their group (KIP-932). */
import { InitializeShareGroupState } from "../../protocol/messages/initialize-share-group-state.ts";
import { handleStates } from "../share/state-requests.ts";

export const initializeShareGroupState = handleStates(
  InitializeShareGroupState,
  (shard, turn, key, asked) => shard.initialize(turn, key, asked),
  (answered) => answered,
);
