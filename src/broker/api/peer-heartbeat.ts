/** PeerHeartbeat: another broker of this cluster lives. */
import { assert } from "../../base/assert.ts";
import { PeerHeartbeat } from "../../protocol/messages/peer-heartbeat.ts";
import { handleForPeers } from "../handle.ts";

export const peerHeartbeat = handleForPeers(PeerHeartbeat, {
  decide(request, { connection, services }) {
    const { door } = services.cluster.peers;
    assert(door !== undefined && connection.peer !== null, "who proved to be a peer came in by the door");
    return door.heartbeat(connection.peer, request);
  },
});
