/** What a handler may see: who asks, over which connection, and the rooms of this broker. */
import type { Budget } from "../base/budget.ts";
import type { BrokerEpoch, NodeId } from "../base/ids.ts";
import type { Env } from "../base/ports.ts";
import type { MemoryTail } from "../log/memory-tail.ts";
import type { Partitions } from "../log/partitions.ts";
import type { Wal } from "../log/wal.ts";
import type { Journal } from "../metadata/journal.ts";
import type { Cluster } from "./cluster/cluster.ts";
import type { BrokerConfig } from "./config.ts";
import type { DiskFloor } from "./disk-floor.ts";
import type { FetchSessions } from "./fetch-session.ts";
import type { Groups } from "./groups.ts";
import type { AnyHandler } from "./handle.ts";
import type { ProducerIds } from "./producer-ids.ts";
import type { ShareRooms } from "./share/share-rooms.ts";
import type { Topics } from "./topics.ts";
import type { Transactions } from "./transactions.ts";

export interface RequestContext {
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  readonly connection: ConnectionFacts;
  readonly services: Services;
}

/** One connection as handlers see it. */
export interface ConnectionFacts {
  /** Kafka's "User:ANONYMOUS" until there is authentication. */
  readonly principal: string;
  /** The epoch of the broker of this cluster that proved to be at the other end; null: a client. */
  peer: BrokerEpoch | null;
  /** The bound on connections beyond which it was let in, because a peer may be behind it: nobody else is answered. */
  readonly beyond?: string | null;
  readonly listenerName: string;
  readonly remoteHost: string;
  /** The address that the client connected to, which is the one it is told (unless `--advertise`). */
  readonly localHost: string;
  readonly localPort: number;
  /** As ApiVersions told (KIP-511); empty before. */
  clientSoftware: { readonly name: string; readonly version: string };
  /** Calls back once when the connection ends, so that nobody waits for it. Returns the end of interest. */
  onClose(listener: () => void): () => void;
  /** Ends the connection once the answers before this one have left; `reason` is for the log. */
  close(reason: string): void;
}

/** The rooms of one broker, put together in broker.ts. */
export interface Services extends ShareRooms {
  readonly env: Env;
  readonly nodeId: NodeId;
  readonly epoch: BrokerEpoch;
  readonly config: BrokerConfig;
  /** Null: the address that each client connected to. */
  readonly advertised: { readonly host: string; readonly port: number } | null;
  readonly journal: Journal;
  readonly wal: Wal;
  readonly tail: MemoryTail;
  readonly partitions: Partitions;
  readonly topics: Topics;
  readonly producerIds: ProducerIds;
  readonly groups: Groups;
  readonly transactions: Transactions;
  readonly fetchSessions: FetchSessions;
  readonly cluster: Cluster;
  readonly diskFloor: DiskFloor;
  /** Bytes of answers that clients have not taken yet, over all connections. */
  readonly answers: Budget;
  /** Every API that is served: what ApiVersions tells. */
  readonly handlers: readonly AnyHandler[];
}
