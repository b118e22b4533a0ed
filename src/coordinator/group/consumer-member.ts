/** One member of a group of KIP-848 as its three records have it, and as they are written. */
import type { ConsumerMemberValue, CurrentValue } from "./records.ts";
import { epochsOf, noEpochs, recordedEpochs } from "./assignment-epochs.ts";
import { classicBytes, consumerBytes, partitionsBytes } from "./member-bytes.ts";
import {
  contains,
  noPartitions,
  type PartitionSet,
  partitionSet,
  topicPartitions,
  union,
} from "./partition-set.ts";
import { type Held, MemberState } from "./reconcile.ts";

export interface ConsumerMember {
  readonly id: string;
  about: ConsumerMemberValue;
  /** What it is to have. */
  target: PartitionSet;
  held: Held;
}

/** About what it takes in memory; what it has is there twice: with the epoch since which it has it. */
export function consumerMemberBytes({ about, target, held }: ConsumerMember): number {
  return (
    consumerBytes(about.subscribedTopicNames) +
    classicBytes(about.classicMemberMetadata?.supportedProtocols ?? []) +
    partitionsBytes(target, held.assigned, held.assigned)
  );
}

/** It has said nothing yet. */
export const holdsNothing: Held = {
  epoch: 0,
  previousEpoch: -1,
  state: MemberState.stable,
  assigned: noPartitions,
  revoking: noPartitions,
  since: noEpochs,
};

export const aboutNobody: ConsumerMemberValue = {
  instanceId: null,
  rackId: null,
  clientId: "",
  clientHost: "",
  subscribedTopicNames: [],
  subscribedTopicRegex: null,
  rebalanceTimeoutMs: -1,
  serverAssignor: null,
  classicMemberMetadata: null,
};

export function toCurrent(held: Held): CurrentValue {
  const listed = (set: PartitionSet) =>
    topicPartitions(set).map(({ topicId, partitions }) => {
      const since = held.since.get(topicId);
      return {
        topicId,
        partitions,
        assignmentEpochs: partitions.map((each) => since?.get(each) ?? held.epoch),
      };
    });
  return {
    memberEpoch: held.epoch,
    previousMemberEpoch: held.previousEpoch,
    state: held.state,
    assignedPartitions: listed(held.assigned),
    partitionsPendingRevocation: listed(held.revoking),
  };
}

export function fromCurrent(value: CurrentValue): Held {
  const assigned = partitionSet(value.assignedPartitions);
  const revoking = partitionSet(value.partitionsPendingRevocation);
  const recorded = recordedEpochs([...value.assignedPartitions, ...value.partitionsPendingRevocation]);
  return {
    epoch: value.memberEpoch,
    previousEpoch: value.previousMemberEpoch,
    state: stateOf(value.state),
    assigned,
    revoking,
    since: epochsOf(union(assigned, revoking), recorded, Math.max(0, value.memberEpoch)),
  };
}

/** A state that is not known here is one from which everything is worked out again. */
function stateOf(number: number): MemberState {
  return Object.values(MemberState).find((each) => each === number) ?? MemberState.unreleased;
}

/** A retry of a member that missed its last answer is at its epoch before, and has nothing but what it was given. */
export function isCurrent({ held }: ConsumerMember, epoch: number, owned: PartitionSet | null): boolean {
  if (epoch === held.epoch) return true;
  if (epoch !== held.previousEpoch || owned === null) return false;
  for (const [topicId, partitions] of owned) {
    for (const partition of partitions) if (!contains(held.assigned, topicId, partition)) return false;
  }
  return true;
}

export function isSameWish(a: ConsumerMemberValue, b: ConsumerMemberValue): boolean {
  return (
    a.subscribedTopicRegex === b.subscribedTopicRegex &&
    a.serverAssignor === b.serverAssignor &&
    a.subscribedTopicNames.length === b.subscribedTopicNames.length &&
    a.subscribedTopicNames.every((name, at) => name === b.subscribedTopicNames[at])
  );
}

export function isSameAddress(a: ConsumerMemberValue, b: ConsumerMemberValue): boolean {
  return (
    a.instanceId === b.instanceId &&
    a.rackId === b.rackId &&
    a.clientId === b.clientId &&
    a.clientHost === b.clientHost &&
    a.rebalanceTimeoutMs === b.rebalanceTimeoutMs
  );
}
