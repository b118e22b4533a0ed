/**
 * Where other brokers of the cluster come in, on the listener that clients use: one says who it is and whom it
 * means, hears a nonce, and proves both with the key of the cluster; from then on the connection is that of a peer.
 * Somebody else's connection ends at the first wrong proof. Who is fenced in the journal is let in no more, and
 * shown out.
 */
import { equalSecrets } from "../../base/hmac.ts";
import type { BrokerEpoch } from "../../base/ids.ts";
import type { Env, Sha256 } from "../../base/ports.ts";
import { isLive } from "../../metadata/state.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { PeerHeartbeatRequest, PeerHeartbeatResponse } from "../../protocol/messages/peer-heartbeat.ts";
import type { PeerHelloRequest, PeerHelloResponse } from "../../protocol/messages/peer-hello.ts";
import type { PeerProveRequest } from "../../protocol/messages/peer-prove.ts";
import type { ConnectionFacts } from "../context.ts";
import type { PeerDoor } from "./cluster.ts";
import type { PeerJournal } from "./peers.ts";
import { namesLine } from "./peer-link.ts";
import { type Handshake, peerNonceBytes, proofOf } from "./peer-proof.ts";

export interface DoorOptions {
  readonly env: Env;
  readonly journal: PeerJournal;
  readonly sha256: Sha256;
  readonly key: Uint8Array;
  /** This broker. */
  readonly epoch: BrokerEpoch;
  /** A peer says that it lives, and that it has applied the journal's slots below `nextSlot`. */
  readonly onHeard: (from: BrokerEpoch, nextSlot: number) => void;
}

export class Door implements PeerDoor {
  readonly #options: DoorOptions;
  /** What the one who knocked has to prove. */
  readonly #knocked = new WeakMap<ConnectionFacts, Omit<Handshake, "fromNonce">>();
  /** Connections at whose other end is a peer, and what it calls each; the listener bounds them. */
  readonly #guests = new Map<BrokerEpoch, Map<ConnectionFacts, string>>();
  #isClosed = false;

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  greet(connection: ConnectionFacts, { clusterId, from, to }: PeerHelloRequest): PeerHelloResponse {
    const { journal, epoch, env } = this.#options;
    const refuse = (errorCode: ErrorCode) => ({ errorCode, epoch, nonce: new Uint8Array(0) });
    if (clusterId !== journal.state.clusterId) return refuse(ErrorCode.INCONSISTENT_CLUSTER_ID);
    if (to !== epoch) return refuse(ErrorCode.STALE_BROKER_EPOCH);
    if (this.#isFenced(from)) return refuse(ErrorCode.BROKER_ID_NOT_REGISTERED);
    const toNonce = env.random.bytes(peerNonceBytes);
    this.#knocked.set(connection, { clusterId, from, to, toNonce });
    return { errorCode: ErrorCode.NONE, epoch, nonce: toNonce };
  }

  prove(
    connection: ConnectionFacts,
    { nonce, proof }: PeerProveRequest,
    line: string | null = null,
  ): Uint8Array | null {
    const asked = this.#knocked.get(connection);
    // Each nonce is good for one try.
    this.#knocked.delete(connection);
    if (asked === undefined || nonce.byteLength !== peerNonceBytes || this.#isClosed) return null;
    const handshake: Handshake = { ...asked, fromNonce: nonce };
    const { sha256, key, journal } = this.#options;
    if (!equalSecrets(proof, proofOf("from", key, handshake, sha256))) return null;
    this.#letIn(asked.from, connection, line ?? "");
    // Of one that has just registered the slot is not read here yet.
    if (asked.from >= journal.state.nextSlot) journal.notice(asked.from + 1);
    return proofOf("to", key, handshake, sha256);
  }

  heartbeat(from: BrokerEpoch, { nextSlot }: PeerHeartbeatRequest): PeerHeartbeatResponse {
    const { journal, onHeard } = this.#options;
    onHeard(from, nextSlot);
    const errorCode = this.#isFenced(from) ? ErrorCode.BROKER_ID_NOT_REGISTERED : ErrorCode.NONE;
    return { errorCode, nextSlot: journal.state.nextSlot };
  }

  /** Ends the connections of those that the journal has fenced. */
  showOutFenced(): void {
    for (const [epoch, guests] of this.#guests) {
      if (!this.#isFenced(epoch)) continue;
      this.#guests.delete(epoch);
      for (const connection of Array.from(guests.keys())) {
        showOut(connection, `it is the broker of epoch ${epoch}, which the journal has fenced`);
      }
    }
  }

  close(): void {
    this.#isClosed = true;
  }

  #isFenced(epoch: BrokerEpoch): boolean {
    const { state } = this.#options.journal;
    return epoch < state.nextSlot && !isLive(state, epoch);
  }

  /** Who comes again has given up the connection that it had: what lies in it unread was asked anew, or is not wanted. */
  #letIn(epoch: BrokerEpoch, connection: ConnectionFacts, line: string): void {
    connection.peer = epoch;
    const guests = this.#guests.get(epoch) ?? new Map<ConnectionFacts, string>();
    for (const [earlier, its] of Array.from(guests)) {
      if (its === line && namesLine(line))
        showOut(earlier, "the broker at its other end has opened another in its place");
    }
    this.#guests.set(epoch, guests.set(connection, line));
    connection.onClose(() => {
      guests.delete(connection);
      if (guests.size === 0 && this.#guests.get(epoch) === guests) this.#guests.delete(epoch);
    });
  }
}

function showOut(connection: ConnectionFacts, why: string): void {
  connection.peer = null;
  connection.close(why);
}
