/**
 * The metadata journal (P1) as its users see it: a totally ordered list of commands in numbered objects,
 * and the state that they make.
 */
import type { BrokerEpoch, ProducerId } from "../base/ids.ts";
import type { Env, ObjectStore, Sha256 } from "../base/ports.ts";
import type { Command, Register } from "./commands.ts";
import type { Applied, JournalEvent, Void } from "./outcomes.ts";
import type { ClusterState } from "./state.ts";

export interface JournalOptions {
  readonly store: ObjectStore;
  readonly env: Env;
  readonly sha256: Sha256;
  /** A store with another kind is refused; an empty store becomes a cluster of this kind. */
  readonly walKind: "file" | "object";
  /** Null: the one found, or on an empty store one drawn by chance. Another one found is refused. */
  readonly clusterId?: string | null;
  /** Slots per chapter. The same for all processes of a cluster; small in tests. */
  readonly chapterSlots?: number;
}

/** `await Journal.open(options)` reads the whole journal and gives one of these. */
export interface Journal {
  /** As of the newest slot this process has applied. Changes between awaits. */
  readonly state: ClusterState;
  /** The epoch that `register` gave, or null. */
  readonly epoch: BrokerEpoch | null;
  /**
   * Resolves once the slot is decided and applied here. Commands given while one slot is being decided
   * share the next. Rejects with a retriable `DiskError` when the store is full: nothing took effect and
   * the journal goes on; with `JournalClosedError` after any other failure: the outcome is unknown.
   */
  append(command: Command): Promise<Applied | Void>;
  /** Makes this process a broker; at most once per journal. */
  register(broker: Omit<Register, "nonce" | "levelMax">): Promise<BrokerEpoch>;
  /** A block of producer ids: [first, first + count). */
  takeProducerIds(): Promise<{ readonly first: ProducerId; readonly count: number }>;
  /** Applies every slot that was decided before the call: whoever denies something asks this first. */
  catchUp(): Promise<void>;
  /** Called in journal order; must not throw. Returns a function that ends it. */
  onApplied(listener: (event: JournalEvent) => void): () => void;
  /** Waits for what is in flight; no command is taken afterwards. */
  close(): Promise<void>;
}
