/** PeerHello: somebody says that it is a broker of this cluster, and hears what its proof must be about. */
import { PeerHello } from "../../protocol/messages/peer-hello.ts";
import { RefusedRequestError } from "../dispatch.ts";
import { handle } from "../handle.ts";

export const peerHello = handle(PeerHello, {
  decide(request, { connection, services }) {
    const { door } = services.cluster.peers;
    if (door === undefined) {
      throw new RefusedRequestError(
        "it says that it is a broker of this cluster, and this broker has its store to itself",
      );
    }
    return door.greet(connection, request);
  },
});
