/**
 * Ours alone: the second half of `PeerHello`. Each side shows the other that it has the key of the cluster,
 * the one that asks first; whoever cannot loses the connection. The answer also says what is spoken.
 */
import { array, bytes, type Decoded, int16, struct } from "../../schema/types.ts";
import { api } from "../api.ts";

export const PeerProve = api({
  key: 10_001,
  name: "PeerProve",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    /** 32 bytes drawn by the one that asks. */
    nonce: bytes,
    proof: bytes,
  }),
  response: struct({
    proof: bytes,
    /** Every API that is answered to a peer, with its versions, both inclusive. */
    apis: array(struct({ key: int16, first: int16, last: int16 })),
  }),
});
export interface PeerProveRequest extends Decoded<typeof PeerProve.request> {}
export interface PeerProveResponse extends Decoded<typeof PeerProve.response> {}
