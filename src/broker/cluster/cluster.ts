/**
 * What the rooms of a broker ask about the other brokers of its cluster. A broker that holds its data
 * directory alone has none (`alone`), and nothing that it says needs proof.
 */
import type { BrokerEpoch } from "../../base/ids.ts";
import type { Api } from "../../protocol/api.ts";
import type { PeerHeartbeatRequest, PeerHeartbeatResponse } from "../../protocol/messages/peer-heartbeat.ts";
import type { PeerHelloRequest, PeerHelloResponse } from "../../protocol/messages/peer-hello.ts";
import type { PeerProveRequest } from "../../protocol/messages/peer-prove.ts";
import type { Journal } from "../../metadata/journal.ts";
import type { ConnectionFacts } from "../context.ts";

export interface Cluster {
  readonly peers: Peers;
  readonly barrier: Barrier;
}

/** The other live brokers. Nothing here is part of safety: order and fencing come from the store (I7). */
export interface Peers {
  /** Epochs of other brokers that answered us under this epoch a moment ago: only these may be given partitions. */
  answering(): ReadonlySet<BrokerEpoch>;
  /**
   * Asks the broker of this epoch over an authenticated connection, in the newest version; requests are
   * pipelined in order. Rejects with `PeerError` when it is not there any more, or the outcome is unknown.
   */
  call<Req, Res>(to: BrokerEpoch, api: Api<Req, Res>, request: Req): Promise<Res>;
  /**
   * Tells everybody that the journal moved; resolves when all who answer have applied it up to and with `slot`,
   * or after `timeoutMs`.
   */
  whenApplied(slot: number, timeoutMs: number): Promise<void>;
  /** Where other brokers come in; absent: none may. */
  readonly door?: PeerDoor;
}

/** What other brokers say to this one (api/peer-*.ts). */
export interface PeerDoor {
  greet(connection: ConnectionFacts, hello: PeerHelloRequest): PeerHelloResponse;
  /**
   * Our proof; from here on `connection.peer` is who it is, and an earlier connection of the same broker for the
   * same purpose (`line`: the client id) ends. Null: it is not who it says.
   */
  prove(connection: ConnectionFacts, proof: PeerProveRequest, line: string | null): Uint8Array | null;
  heartbeat(from: BrokerEpoch, beat: PeerHeartbeatRequest): PeerHeartbeatResponse;
}

/** Whether this broker still owns what it owned, asked before an answer that denies or ages something (fencing, F10). */
export interface Barrier {
  /** Now, for `pass`: taken when a request arrives. */
  mark(): number;
  /**
   * Undefined: no proof is needed, or there is one. Resolves when it is proved that at a moment after `mark`
   * every partition that is open here was still ours; callers share one proof. Rejects when this broker was
   * replaced: no answer leaves. Without a mark it counts from the call.
   */
  pass(mark?: number): Promise<void> | undefined;
  /** For the newest proof: it was ours then, in ms of the monotonic clock. −∞: none yet. */
  readonly lastPassedMs: number;
  /**
   * Undefined: there is nobody else who writes the journal. Resolves when everything is applied here that was
   * decided in it before the call: what our view lacks then was not there. Callers share one reading.
   */
  readTail(): Promise<void> | undefined;
  /** As `readTail`, at most so often: for what clients ask on and on, as for a topic that is nowhere. */
  readTailSparingly(): Promise<void> | undefined;
}

/** So long an answer to a change waits for brokers that are slow to hear of it; they read the journal before they deny it. */
const toldMsMax = 1_000;

/** Resolves when every broker that answers has applied what is applied here, or is too slow. */
export function whenToldToAll(peers: Peers, { state }: Pick<Journal, "state">): Promise<void> {
  return peers.whenApplied(state.nextSlot - 1, toldMsMax);
}

/** The cluster of a broker that has its store to itself. */
export const alone: Cluster = {
  peers: {
    answering: () => new Set(),
    call: () => Promise.reject(new Error("a broker that is alone has nobody to ask")),
    whenApplied: () => Promise.resolve(),
  },
  barrier: {
    mark: () => 0,
    pass: () => undefined,
    lastPassedMs: Infinity,
    readTail: () => undefined,
    readTailSparingly: () => undefined,
  },
};
