/**
 * Ours alone: a broker begins to prove to another one of its cluster who it is. It says which epoch it is and
 * which one it means, and gets what its proof must be about (broker/cluster/peer-proof.ts).
 */
import type { BrokerEpoch } from "../../base/ids.ts";
import { branded, bytes, type Decoded, int16, int64, string, struct } from "../../schema/types.ts";
import { api } from "../api.ts";
import type { ErrorCode } from "../errors.ts";

export const PeerHello = api({
  key: 10_000,
  name: "PeerHello",
  versions: [0, 0],
  flexibleFrom: 0,
  request: struct({
    clusterId: string,
    from: branded<BrokerEpoch>(int64),
    to: branded<BrokerEpoch>(int64),
  }),
  response: struct({
    /** INCONSISTENT_CLUSTER_ID, or STALE_BROKER_EPOCH: another broker has this address now. */
    errorCode: branded<ErrorCode>(int16),
    /** Of the broker that answers. */
    epoch: branded<BrokerEpoch>(int64),
    /** 32 bytes drawn for this connection; empty with an error. */
    nonce: bytes,
  }),
});
export interface PeerHelloRequest extends Decoded<typeof PeerHello.request> {}
export interface PeerHelloResponse extends Decoded<typeof PeerHello.response> {}
