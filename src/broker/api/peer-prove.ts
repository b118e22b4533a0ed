/** PeerProve: it shows that it has the key of the cluster, and so do we. Whoever cannot loses the connection. */
import { PeerProve } from "../../protocol/messages/peer-prove.ts";
import { RefusedRequestError } from "../dispatch.ts";
import { handle } from "../handle.ts";

export const peerProve = handle(PeerProve, {
  decide(request, { connection, services, clientId }) {
    const proof = services.cluster.peers.door?.prove(connection, request, clientId) ?? null;
    if (proof === null) {
      throw new RefusedRequestError(
        "it says that it is a broker of this cluster and cannot prove it: it has not the key that lies in the store under peer/key",
      );
    }
    const apis = services.handlers.map(({ api: { key, versions } }) => ({
      key,
      first: versions[0],
      last: versions[1],
    }));
    return { proof, apis };
  },
});
