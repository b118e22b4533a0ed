/**
 * The share-partitions whose state lies in one partition of `__share_group_state`, and every decision about it
 * (KIP-932). No I/O and no clock. Two epochs fence: the state epoch rises when a state begins anew, the leader
 * epoch when another broker reads it in order to deliver from it; the reading itself is a record, so that a
 * leader that was replaced writes nothing any more, also after a restart. No state epoch is given twice to a key,
 * whatever clocks and groups say: of all states that were deleted the greatest one is remembered, as a record of
 * nobody's. Snapshots are written every so many
 * updates, and so that what lies before the oldest of them can go (`neededFrom`): the topic is not compacted,
 * since of updates each counts.
 */
import {
  type LeaderEpoch,
  leaderEpoch as toLeaderEpoch,
  NO_TOPIC_ID,
  type Offset,
  offset as toOffset,
  type PartitionIndex,
  partitionIndex,
  type TopicId,
} from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Shard } from "../shard.ts";
import { type KeptBatches, mergedBatches } from "./kept-batches.ts";
import type {
  ShareSnapshotValue,
  ShareStateKey,
  ShareStateRecord,
  ShareStateTurn,
  ShareUpdateValue,
} from "./records.ts";
import { decodedBatch, encodedBatch, keptStates, type StateBatch } from "./state-batch.ts";

export interface ShareStateSettings {
  /** `share.coordinator.snapshot.update.records.per.snapshot`. */
  readonly updatesPerSnapshot: number;
  /** Whether the partition is there now. */
  hasPartition(topic: TopicId, partition: PartitionIndex): boolean;
  /** Whether so many bytes of new states may be kept. */
  mayGrow(bytes: number): boolean;
}

/** A decision: what was asked for, or why not. */
export type Judged<T> =
  | { readonly kind: "told"; readonly value: T }
  | { readonly kind: "refused"; readonly errorCode: ErrorCode; readonly errorMessage: string };

export interface WrittenState {
  readonly stateEpoch: number;
  /** −1: the newest is not asked for. */
  readonly leaderEpoch: LeaderEpoch;
  readonly startOffset: Offset;
  readonly deliveryCompleteCount: number;
  readonly batches: readonly StateBatch[];
}

/** All that is known of one share-partition. */
interface Kept {
  readonly key: ShareStateKey;
  readonly snapshotEpoch: number;
  readonly stateEpoch: number;
  readonly leaderEpoch: LeaderEpoch;
  readonly startOffset: Offset;
  readonly deliveryCompleteCount: number;
  readonly createdMs: number;
  readonly batches: KeptBatches;
  /** Since the newest snapshot. */
  readonly updates: number;
  /** Where that lies in the log. */
  readonly snapshotAt: Offset;
}

const unknownOffset = toOffset(-1);
const noEpoch = toLeaderEpoch(-1);
/** As Kafka numbers a leader epoch that nobody named yet. */
const firstEpoch = toLeaderEpoch(0);
/** About what a state takes in memory, and each of its batches. */
const keptBytes = 400;
const batchBytes = 80;
/** Snapshots that one turn writes only so that older records can go. */
const refreshedMax = 500;
/** No group counts so far, and after each epoch there has to be a next one. */
const stateEpochMax = 2 ** 30;
/** Under no group's name lies what is remembered of states that were deleted. */
const nobody: ShareStateKey = { groupId: "", topicId: NO_TOPIC_ID, partition: partitionIndex(0) };

export class ShareStateShard implements Shard<ShareStateRecord> {
  readonly nextDeadlineMs = Infinity;
  readonly #settings: ShareStateSettings;
  readonly #kept = new Map<string, Kept>();
  /** Its state epoch is the greatest of those that were deleted; undefined: none was. */
  #ended: Kept | undefined;
  #bytes = 0;

  constructor(settings: ShareStateSettings) {
    this.#settings = settings;
  }

  /** Share-partitions. */
  get count(): number {
    return this.#kept.size;
  }
  /** About what all of it takes in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  // ── Records ──

  load(record: ShareStateRecord, at: Offset): void {
    this.apply(record, at);
  }

  loaded(): void {
    // Nothing happens by itself.
  }

  apply(record: ShareStateRecord, at: Offset): void {
    if (record.key.groupId === nobody.groupId) {
      if (record.kind === "snapshot" && record.value !== null)
        this.#ended = ofSnapshot(nobody, record.value, at);
      return;
    }
    const name = nameOf(record.key);
    const known = this.#kept.get(name);
    this.#bytes -= weigh(known);
    if (record.value === null) {
      // Of an update nothing is ever withdrawn by itself.
      if (record.kind === "snapshot") this.#kept.delete(name);
    } else if (record.kind === "snapshot") {
      this.#kept.set(name, ofSnapshot(record.key, record.value, at));
    } else if (known !== undefined && record.value.snapshotEpoch === known.snapshotEpoch) {
      // One whose snapshot is gone with a damaged range would be a part taken for the whole.
      this.#kept.set(name, updated(known, record.value, known.batches));
    }
    this.#bytes += weigh(this.#kept.get(name));
  }

  // ── Decisions ──

  /**
   * A state that is there is begun anew with the offset that is given, once for each state epoch; without one it
   * stays, so that whoever does not know whether it was begun can ask again. What begins has the epoch that is
   * asked for, or the next after all that were deleted, where that is greater.
   */
  initialize(
    turn: ShareStateTurn,
    key: ShareStateKey,
    { stateEpoch, startOffset }: { readonly stateEpoch: number; readonly startOffset: Offset },
  ): Judged<void> {
    const known = this.#kept.get(nameOf(key));
    const isUndecided = startOffset === unknownOffset;
    const refusal = this.#refuse(key, known, {
      stateEpoch: isUndecided ? -1 : stateEpoch,
      leaderEpoch: noEpoch,
    });
    if (refusal !== null) return refusal;
    if (stateEpoch > stateEpochMax) {
      return refused(
        ErrorCode.INVALID_REQUEST,
        `State epochs go up to ${stateEpochMax}; ${stateEpoch} is none.`,
      );
    }
    if (known !== undefined && (isUndecided || stateEpoch === known.stateEpoch)) return told(undefined);
    if (known === undefined && !this.#settings.mayGrow(keptBytes + key.groupId.length)) {
      return refused(
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        "This broker keeps as many states of share-partitions as its memory allows; delete unused share groups, or raise holdfast.memory.bytes.",
      );
    }
    const begun = beginning(known, startOffset, turn.wallMs);
    // Who read the one that was deleted would write into this one.
    const next = known === undefined ? (this.#ended?.stateEpoch ?? -1) + 1 : 0;
    turn.write({ kind: "snapshot", key, value: { ...begun, stateEpoch: Math.max(stateEpoch, next) } });
    return told(undefined);
  }

  /** Its answer must not leave before the epoch of who asks is durable: then no older leader writes any more. */
  read(
    turn: ShareStateTurn,
    key: ShareStateKey,
    leaderEpoch: LeaderEpoch,
  ): Judged<{
    readonly stateEpoch: number;
    readonly startOffset: Offset;
    readonly batches: readonly StateBatch[];
  }> {
    const known = this.#kept.get(nameOf(key));
    const refusal = this.#refuse(key, known, { stateEpoch: -1, leaderEpoch });
    if (refusal !== null) return refusal;
    if (known === undefined) return neverBegun(key);
    const { stateEpoch, startOffset, batches } = known;
    const found = told({ stateEpoch, startOffset, batches: [...batches.all] });
    if (leaderEpoch > known.leaderEpoch) {
      this.#write(turn, known, {
        stateEpoch,
        leaderEpoch,
        startOffset,
        deliveryCompleteCount: known.deliveryCompleteCount,
        batches: [],
      });
    }
    return found;
  }

  write(turn: ShareStateTurn, key: ShareStateKey, state: WrittenState): Judged<void> {
    const known = this.#kept.get(nameOf(key));
    const refusal = this.#refuse(key, known, state) ?? refuseBatches(state.batches);
    if (refusal !== null) return refusal;
    if (known === undefined) return neverBegun(key);
    if (state.stateEpoch > known.stateEpoch) {
      // Nobody read that from this state.
      return refused(
        ErrorCode.FENCED_STATE_EPOCH,
        `The share state of the partition has state epoch ${known.stateEpoch}; ${state.stateEpoch} was never given to it.`,
      );
    }
    // A start never goes back but by beginning anew: what is told late was overtaken.
    const isForward = state.startOffset > known.startOffset;
    const startOffset = isForward ? state.startOffset : known.startOffset;
    const deliveryCompleteCount =
      isForward || state.deliveryCompleteCount > known.deliveryCompleteCount
        ? state.deliveryCompleteCount
        : known.deliveryCompleteCount;
    this.#write(turn, known, { ...state, startOffset, deliveryCompleteCount });
    return told(undefined);
  }

  /** What is not there, or is a later one than `upTo` (−1: none is), has been deleted already. */
  delete(turn: ShareStateTurn, key: ShareStateKey, upTo = -1): Judged<void> {
    const known = this.#kept.get(nameOf(key));
    if (known === undefined || (upTo >= 0 && known.stateEpoch > upTo)) return told(undefined);
    const { stateEpoch } = known;
    if (stateEpoch > (this.#ended?.stateEpoch ?? -1)) {
      const value = { ...beginning(this.#ended, unknownOffset, turn.wallMs), stateEpoch };
      turn.write({ kind: "snapshot", key: nobody, value });
    }
    turn.write({ kind: "snapshot", key, value: null });
    return told(undefined);
  }

  /** Of a state that never began: epoch 0, and no offset. */
  summary(key: ShareStateKey): Judged<Omit<WrittenState, "batches">> {
    const known = this.#kept.get(nameOf(key));
    const refusal = this.#refuse(key, known, { stateEpoch: -1, leaderEpoch: noEpoch });
    if (refusal !== null) return refusal;
    const { stateEpoch, leaderEpoch, startOffset, deliveryCompleteCount } = known ?? nothingKept;
    return told({ stateEpoch, leaderEpoch, startOffset, deliveryCompleteCount });
  }

  /** The states of partitions whose topic is gone go; no id of a topic is given twice, so nothing else follows. */
  forgetTopics(turn: ShareStateTurn, isGone: (topic: TopicId) => boolean): void {
    const gone = Array.from(this.#kept.values()).filter(({ key }) => isGone(key.topicId));
    for (const { key } of gone) turn.write({ kind: "snapshot", key, value: null });
  }

  // ── The log ──

  /** Records before this offset say nothing that later ones do not; null: nothing is kept at all. */
  get neededFrom(): Offset | null {
    let first: Offset | null = null;
    for (const { snapshotAt } of this.#all()) {
      if (first === null || snapshotAt < first) first = snapshotAt;
    }
    return first;
  }

  /** Writes states anew whose snapshot lies before the offset, so that the records around it can go. */
  refresh(turn: ShareStateTurn, before: Offset): void {
    const old = [...this.#all()].filter(({ snapshotAt }) => snapshotAt < before);
    old.sort((a, b) => a.snapshotAt - b.snapshotAt);
    for (const known of old.slice(0, refreshedMax)) this.#snapshot(turn, known);
  }

  *#all(): Generator<Kept, void, void> {
    yield* this.#kept.values();
    if (this.#ended !== undefined) yield this.#ended;
  }

  #write(turn: ShareStateTurn, known: Kept, state: WrittenState): void {
    const { leaderEpoch, startOffset, deliveryCompleteCount } = state;
    const value: ShareUpdateValue = {
      snapshotEpoch: known.snapshotEpoch,
      leaderEpoch: leaderEpoch < known.leaderEpoch ? known.leaderEpoch : leaderEpoch,
      startOffset,
      deliveryCompleteCount,
      stateBatches: mergedBatches([], state.batches, startOffset).all.map(encodedBatch),
    };
    if (known.updates < this.#settings.updatesPerSnapshot) {
      turn.write({ kind: "update", key: known.key, value });
    } else {
      // The state itself changes when the record is written.
      const copy = mergedBatches(known.batches.all, [], unknownOffset);
      this.#snapshot(turn, updated(known, value, copy));
    }
  }

  #snapshot(turn: ShareStateTurn, known: Kept): void {
    const value: ShareSnapshotValue = {
      snapshotEpoch: known.snapshotEpoch + 1,
      stateEpoch: known.stateEpoch,
      leaderEpoch: known.leaderEpoch,
      startOffset: known.startOffset,
      deliveryCompleteCount: known.deliveryCompleteCount,
      createTimestamp: known.createdMs,
      writeTimestamp: turn.wallMs,
      stateBatches: known.batches.all.map(encodedBatch),
    };
    turn.write({ kind: "snapshot", key: known.key, value });
  }

  /** Null: these epochs are of today. −1: one that is not compared. */
  #refuse(
    key: ShareStateKey,
    known: Kept | undefined,
    { stateEpoch, leaderEpoch }: Pick<WrittenState, "stateEpoch" | "leaderEpoch">,
  ): Judged<never> | null {
    if (key.partition < 0) {
      return refused(ErrorCode.INVALID_REQUEST, "The number of a partition cannot be negative.");
    }
    if (known !== undefined && leaderEpoch >= 0 && leaderEpoch < known.leaderEpoch) {
      return refused(
        ErrorCode.FENCED_LEADER_EPOCH,
        `A leader of the partition with epoch ${known.leaderEpoch} has read its share state; epoch ${leaderEpoch} is over.`,
      );
    }
    if (known !== undefined && stateEpoch >= 0 && stateEpoch < known.stateEpoch) {
      return refused(
        ErrorCode.FENCED_STATE_EPOCH,
        `The share state of the partition began anew with state epoch ${known.stateEpoch}; ${stateEpoch} is over.`,
      );
    }
    if (this.#settings.hasPartition(key.topicId, key.partition)) return null;
    return refused(
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      `There is no partition ${key.partition} of a topic with the id ${key.topicId}.`,
    );
  }

  /** Nobody waits for others here. */
  onTime(): void {
    // Nothing is ever due.
  }
  dismiss(): void {
    // Nobody waits.
  }
}

const nothingKept = {
  stateEpoch: 0,
  leaderEpoch: firstEpoch,
  startOffset: unknownOffset,
  deliveryCompleteCount: -1,
};

const nameOf = ({ groupId, topicId, partition }: ShareStateKey): string =>
  `${partition}/${topicId}/${groupId}`;

const told = <T>(value: T): Judged<T> => ({ kind: "told", value });
const refused = (errorCode: ErrorCode, errorMessage: string): Judged<never> => ({
  kind: "refused",
  errorCode,
  errorMessage,
});

function neverBegun({ groupId, partition }: ShareStateKey): Judged<never> {
  return refused(
    ErrorCode.INVALID_REQUEST,
    `The share state of partition ${partition} for group "${groupId}" was never begun, or was deleted.`,
  );
}

function refuseBatches(batches: readonly StateBatch[]): Judged<never> | null {
  for (const { first, last, state } of batches) {
    if (first < 0 || last < first || !keptStates.includes(state)) {
      return refused(
        ErrorCode.INVALID_REQUEST,
        `A state batch from ${first} to ${last} in state ${state} says nothing: offsets go up, and states are 0, 2, 3 and 4.`,
      );
    }
  }
  return null;
}

/** A state, and what is remembered of those that went: nothing but its epoch is known. */
function beginning(
  known: Kept | undefined,
  startOffset: Offset,
  wallMs: number,
): Omit<ShareSnapshotValue, "stateEpoch"> {
  return {
    snapshotEpoch: known === undefined ? 0 : known.snapshotEpoch + 1,
    // A leader that was replaced stays so.
    leaderEpoch: known?.leaderEpoch ?? firstEpoch,
    startOffset,
    deliveryCompleteCount: startOffset === unknownOffset ? -1 : 0,
    createTimestamp: wallMs,
    writeTimestamp: wallMs,
    stateBatches: [],
  };
}

function ofSnapshot(key: ShareStateKey, value: ShareSnapshotValue, snapshotAt: Offset): Kept {
  return {
    key,
    snapshotEpoch: value.snapshotEpoch,
    stateEpoch: value.stateEpoch,
    leaderEpoch: value.leaderEpoch,
    startOffset: value.startOffset,
    deliveryCompleteCount: value.deliveryCompleteCount,
    createdMs: value.createTimestamp,
    batches: mergedBatches([], value.stateBatches.map(decodedBatch), value.startOffset),
    updates: 0,
    snapshotAt,
  };
}

/** `batches`: as `known` has them; they are changed. */
function updated(known: Kept, value: ShareUpdateValue, batches: KeptBatches): Kept {
  const startOffset = value.startOffset === unknownOffset ? known.startOffset : value.startOffset;
  for (const each of value.stateBatches) batches.merge(decodedBatch(each));
  if (startOffset >= 0) batches.prune(startOffset);
  const count = value.deliveryCompleteCount;
  return {
    ...known,
    leaderEpoch: value.leaderEpoch > known.leaderEpoch ? value.leaderEpoch : known.leaderEpoch,
    startOffset,
    deliveryCompleteCount: count < 0 ? known.deliveryCompleteCount : count,
    batches,
    updates: known.updates + 1,
  };
}

function weigh(kept: Kept | undefined): number {
  if (kept === undefined) return 0;
  return keptBytes + kept.key.groupId.length + kept.batches.all.length * batchBytes;
}
