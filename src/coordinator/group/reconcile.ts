/**
 * The next step of one member from what it has towards what it is to have (KIP-848). A partition goes to
 * its new owner only when the former one has said that it let go of it, so it never has two; a member
 * comes to the epoch of the target when nothing is left that it must give up. Pure.
 */
import type { PartitionIndex, TopicId } from "../../base/ids.ts";
import { type AssignmentEpochs, epochsOf } from "./assignment-epochs.ts";
import {
  common,
  minus,
  noPartitions,
  only,
  overlap,
  type PartitionSet,
  sizeOf,
  union,
} from "./partition-set.ts";

/** Numbers as records have them. */
export const MemberState = { stable: 0, unrevoked: 1, unreleased: 2 } as const;
export type MemberState = (typeof MemberState)[keyof typeof MemberState];

export interface Held {
  readonly epoch: number;
  readonly previousEpoch: number;
  /** Unrevoked: it still has to give something up. Unreleased: it waits for others to. */
  readonly state: MemberState;
  readonly assigned: PartitionSet;
  readonly revoking: PartitionSet;
  /** Of both. */
  readonly since: AssignmentEpochs;
}

export interface Goal {
  /** Of the target. */
  readonly epoch: number;
  readonly target: PartitionSet;
  /** What the member says that it has now; null: the same as before. */
  readonly owned: PartitionSet | null;
  /** Whether no member has it, or has still to give it up. */
  readonly isFree: (topicId: TopicId, partition: PartitionIndex) => boolean;
}

export function nextStep(held: Held, goal: Goal): Held {
  switch (held.state) {
    case MemberState.stable:
      return held.epoch === goal.epoch ? held : step(held, goal);
    case MemberState.unrevoked:
      // Until it says that it has let go, nothing moves: whoever gets the partition next would share it.
      return goal.owned === null || overlap(goal.owned, held.revoking) ? held : step(held, goal);
    case MemberState.unreleased:
      return step(held, goal);
    default:
      return held.state satisfies never;
  }
}

function step(held: Held, { epoch, target, owned, isFree }: Goal): Held {
  const kept = common(held.assigned, target);
  const revoking = minus(held.assigned, target);
  const wanted = minus(target, held.assigned);
  const free = only(wanted, isFree);
  const isWaiting = sizeOf(free) < sizeOf(wanted);
  // What it never said that it owns it need not give up.
  if (sizeOf(revoking) > 0 && (owned === null || overlap(owned, revoking))) {
    return { ...held, state: MemberState.unrevoked, assigned: kept, revoking };
  }
  const assigned = union(kept, free);
  return {
    epoch,
    previousEpoch: held.epoch === epoch ? held.previousEpoch : held.epoch,
    state: isWaiting ? MemberState.unreleased : MemberState.stable,
    assigned,
    revoking: noPartitions,
    since: epochsOf(assigned, held.since, epoch),
  };
}
