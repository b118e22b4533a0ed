/**
 * What the journal answers to a command. A command that does not hold when its slot is decided is void:
 * an expected outcome, told with its reason, and nothing took effect.
 */
import type { BrokerEpoch, ProducerId } from "../base/ids.ts";
import type { Command } from "./commands.ts";

/** What a command that took effect handed out. */
export type Effect =
  | { readonly kind: "none" }
  | { readonly kind: "registered"; readonly epoch: BrokerEpoch }
  /** Producer ids [first, first + count). */
  | { readonly kind: "producers"; readonly first: ProducerId; readonly count: number };

/** int8 on disk; never reused for another meaning. */
export const voidReasons = [
  /** The author was fenced, or never registered: this process must stop. */
  "author-not-live",
  /** The list was judged in an earlier slot. */
  "judged-before",
  /** INIT outside slot 0, or REGISTER that is not alone. */
  "misplaced",
  "epoch-not-live",
  "epoch-not-fenced",
  /** RECOVER with an end below what is released. */
  "below-released",
  /** An owner is named that is not live. */
  "owner-not-live",
  "not-owner",
  "leader-epoch",
  /** FLUSH from another offset than the flushed one. */
  "not-at-flushed",
  /** More than `recentSegmentsMax` recent references: fold first. */
  "too-many-segments",
  /** Offsets that contradict each other or what the state has. */
  "offsets",
  /** FOLD whose old pointer is not the current one. */
  "list-changed",
  "name-taken",
  "unknown-topic",
  "unknown-partition",
  "partition-count",
  /** LEVEL below the current one, or above what a live broker can; a command that the level does not have yet. */
  "level",
  /** REPLACE of references that are not the oldest recent ones any more. */
  "segments-changed",
  /** MOVE to the owner itself. */
  "same-owner",
  /** MOVE of a partition that depends on too many dead or former owners: flush it first. */
  "too-many-dependencies",
  /** PREFER of a node id that is none. */
  "node-id",
] as const;
export type VoidReason = (typeof voidReasons)[number];

export type Applied = { readonly kind: "applied"; readonly effect: Effect };
export type Void = { readonly kind: "void"; readonly reason: VoidReason };
export type CommandOutcome = Applied | Void;

/** Told to listeners in journal order, after the state has changed. */
export type JournalEvent =
  | {
      readonly kind: "slot";
      readonly slot: number;
      readonly author: BrokerEpoch;
      readonly commands: readonly { readonly command: Command; readonly outcome: CommandOutcome }[];
    }
  /** The state was replaced by one read from a snapshot: what was derived from it is derived anew. */
  | { readonly kind: "reloaded" };
