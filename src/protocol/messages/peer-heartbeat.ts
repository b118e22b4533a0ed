/** Ours alone: a broker lives, and says how far it has read the journal. The answer says the same of the other. */
import { branded, type Decoded, int16, int64, struct } from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const PeerHeartbeat = api({
  key: 10_002,
  name: "PeerHeartbeat",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    /** Journal slots below this are applied at the sender. */
    nextSlot: int64,
  }),
  response: struct({
    /** STALE_BROKER_EPOCH: the journal says that the one that asks is fenced. */
    errorCode: branded<ErrorCode>(int16),
    nextSlot: int64,
  }),
});
export interface PeerHeartbeatRequest extends Decoded<typeof PeerHeartbeat.request> {}
export interface PeerHeartbeatResponse extends Decoded<typeof PeerHeartbeat.response> {}
