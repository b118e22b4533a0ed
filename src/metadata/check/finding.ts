/** What a check of a store finds, one thing at a time. */
export type CheckFinding = Damage | Orphan | CheckSummary;

/** Something that the cluster needs is not there, or is not as it was written. */
export interface Damage {
  readonly kind: "damage";
  readonly object: string;
  /** A clause: what is wrong, and which offsets of which partition it concerns. */
  readonly reason: string;
}

/** An object that nothing names and nothing can name again (P4): it can be deleted while brokers run. */
export interface Orphan {
  readonly kind: "orphan";
  readonly object: string;
  readonly bytes: number;
}

/** Once, last. */
export interface CheckSummary {
  readonly kind: "summary";
  readonly clusterId: string;
  /** Slots of the journal that were applied. */
  readonly slots: number;
  readonly topics: number;
  readonly partitions: number;
  /** Under `seg/`, `wal/` and in the journal. */
  readonly objects: number;
  readonly bytes: number;
  /** Segments of partitions that were looked at, and bytes of them that were read. */
  readonly segments: number;
  readonly readBytes: number;
  /** Slots of object WALs that are still needed. */
  readonly walSlots: number;
  readonly damages: number;
  readonly orphans: number;
  readonly orphanBytes: number;
  /** Named by nothing so far, of authors that may still name them. */
  readonly pending: number;
  /** Of epochs that the journal does not know: left alone. */
  readonly unknown: number;
}

export const damage = (object: string, reason: string): Damage => ({ kind: "damage", object, reason });
