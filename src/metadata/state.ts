/**
 * The cluster as the journal tells it: the result of applying slots 0, 1, 2, … to the empty state.
 * Owned and changed by `apply.ts` alone; everybody else holds this read-only view and must not keep parts
 * of it across an await without looking again.
 */
import {
  type BrokerEpoch,
  brokerEpoch,
  type LeaderEpoch,
  type NodeId,
  nodeId,
  type Offset,
  type PartitionIndex,
  type ProducerId,
  type TopicId,
  type WalPosition,
} from "../base/ids.ts";
import type { Compacted, ListPointer, SegmentRef } from "../log/segment-ref.ts";
import type { CommandOutcome } from "./outcomes.ts";

export interface ClusterState {
  /** Empty before INIT. */
  readonly clusterId: string;
  /** Format level: a broker writes only what it allows (I14). */
  readonly level: number;
  readonly walKind: "file" | "object";
  /** C: slots [c·C, (c+1)·C) are chapter c, and are truncated together. */
  readonly chapterSlots: number;
  /** The next slot to be decided. */
  readonly nextSlot: number;
  readonly brokers: ReadonlyMap<BrokerEpoch, BrokerState>;
  readonly topics: ReadonlyMap<TopicId, TopicState>;
  readonly topicIds: ReadonlyMap<string, TopicId>;
  /** Dynamic configs by resource: "" is the cluster-wide default, "features" are levels of features, "group:NAME" is one group, else a node id as text. */
  readonly brokerConfigs: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Ids below were handed out in blocks. */
  readonly nextProducerId: ProducerId;
  /** SHA-256 of the object in slot `nextSlot − 1`; the next slot names it, so that histories cannot be mixed. Empty at slot 0. */
  readonly previousHash: Uint8Array;
}

export interface BrokerState {
  readonly epoch: BrokerEpoch;
  /** 16 random bytes as hex, drawn by the process: how it finds its own REGISTER again. */
  readonly nonce: string;
  readonly nodeId: NodeId;
  /** The same in every life of one broker: its advertised host:port. Null: it registered at format level 1. */
  readonly name: string | null;
  readonly rack: string | null;
  readonly listeners: readonly { readonly name: string; readonly host: string; readonly port: number }[];
  /** W: how many WAL objects it keeps in flight at most; 0 with a file WAL. */
  readonly window: number;
  /** The highest format level that its software can read and write. */
  readonly levelMax: number;
  /** Name and version of its software, for people. */
  readonly software: string;
  /** live → fenced (nothing of it counts any more) → sealed (its WAL ends at `end`). */
  readonly status: "live" | "fenced" | "sealed";
  /** It is about to stop: nothing is given to it any more. */
  readonly draining: boolean;
  /** r(e): everything below is in segments. Frozen by FENCE. */
  readonly released: WalPosition;
  /** N(e), once sealed. */
  readonly end: WalPosition | null;
  /** What recovery found damaged, by partition (I10). */
  readonly holes: readonly Hole[];
  /** Both copies of an index were gone: its partitions went on 2^40 offsets further. */
  readonly jumped: boolean;
  /** Over the kept headers and indexes; a second reading must give the same. Empty: nothing was kept. */
  readonly recoveryHash: Uint8Array;
  /** Objects of this author with a counter below this are settled: published or garbage. */
  readonly below: number;
  /**
   * What became of its newest list of commands, so that it can be told after the slot was truncated.
   * A list whose number is not above this one was judged already and is void. Null: none yet, or not live.
   */
  readonly lastList: { readonly number: number; readonly outcomes: readonly CommandOutcome[] } | null;
}

/** Offsets [from, to) of a partition that cannot be read any more. */
export interface Hole {
  readonly topicId: TopicId;
  readonly partition: PartitionIndex;
  readonly from: Offset;
  readonly to: Offset;
}

export interface TopicState {
  readonly id: TopicId;
  readonly name: string;
  readonly partitions: readonly PartitionState[];
  /** Explicit topic configs only. */
  readonly configs: ReadonlyMap<string, string>;
}

export interface PartitionState {
  readonly index: PartitionIndex;
  readonly owner: BrokerEpoch;
  readonly leaderEpoch: LeaderEpoch;
  /** The node that an admin wants as owner; null: whoever. */
  readonly preferred: NodeId | null;
  /** Log start as far as the journal knows. */
  readonly start: Offset;
  /** flushed(p): the end of what segments hold. */
  readonly flushed: Offset;
  /** References older than `recent`, in a list object. */
  readonly folded: ListPointer | null;
  /** Ascending, without gaps in what they cover except reported holes; at most 64 before a FOLD. */
  readonly recent: readonly SegmentRef[];
  /** How far compaction has come; null: it never was here. */
  readonly compacted: Compacted | null;
  /** deps(p): parts of WALs of former owners whose records are not in segments yet, in the order of their offsets. */
  readonly dependencies: readonly Dependency[];
}

/** Positions [from, to) of the WAL of `epoch`, which is sealed, or gave the partition away at `to`. Those of one epoch do not overlap. */
export interface Dependency {
  readonly epoch: BrokerEpoch;
  readonly from: WalPosition;
  readonly to: WalPosition;
}

/** No journal has this epoch: the author of INIT and REGISTER, which come before an epoch exists. */
export const NO_BROKER = brokerEpoch(-1);

/** In a command: no node is named, or the one that REGISTER shall find. */
export const NO_NODE = nodeId(-1);

export function isLive(state: ClusterState, epoch: BrokerEpoch): boolean {
  return state.brokers.get(epoch)?.status === "live";
}
