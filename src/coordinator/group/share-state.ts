/**
 * In which partitions a share group has share state: where it is there, where it begins to be, and of which topics
 * it is about to go. A value that never changes, as its record has it. Only where it is there is anything assigned.
 * What was to begin and failed begins later where it would have begun then.
 */
import type { PartitionIndex, TopicId } from "../../base/ids.ts";
import type { ShareStateValue } from "./records.ts";
import {
  contains,
  minus,
  noPartitions,
  only,
  type PartitionSet,
  partitionSet,
  topicPartitions,
  union,
} from "./partition-set.ts";

export interface ShareState {
  readonly initializing: PartitionSet;
  /** Of these, those that came when there was share state of their topic already. */
  readonly later: PartitionSet;
  readonly initialized: PartitionSet;
  readonly deleting: ReadonlySet<TopicId>;
  /** Of all these topics, also of those that are gone. */
  readonly names: ReadonlyMap<TopicId, string>;
}

export const noShareState: ShareState = {
  initializing: noPartitions,
  later: noPartitions,
  initialized: noPartitions,
  deleting: new Set(),
  names: new Map(),
};

export const isNothing = ({ initializing, initialized, deleting }: ShareState): boolean =>
  initializing.size === 0 && initialized.size === 0 && deleting.size === 0;

/** Topics of which anything is known. */
export const topicsOf = ({ initializing, initialized, deleting }: ShareState): ReadonlySet<TopicId> =>
  new Set([...initializing.keys(), ...initialized.keys(), ...deleting]);

/** Whether the group had begun to read the topic when the partition came: then it has missed nothing of it. */
export function isLater(state: ShareState, topicId: TopicId, partition: PartitionIndex): boolean {
  const { initializing, initialized, later } = state;
  if (contains(initializing, topicId, partition)) return contains(later, topicId, partition);
  return initialized.has(topicId);
}

/** It begins there, or begins anew. What was there stays known until that is done. */
export function withBeginning(state: ShareState, partitions: PartitionSet): ShareState {
  const deleting = new Set([...state.deleting].filter((topicId) => !partitions.has(topicId)));
  const later = only(partitions, (id, index) => isLater(state, id, index));
  return {
    ...state,
    deleting,
    initializing: union(state.initializing, partitions),
    later: union(state.later, later),
  };
}

export function withInitialized(state: ShareState, partitions: PartitionSet): ShareState {
  // What was forgotten or deleted meanwhile does not come back.
  const begun = only(partitions, (id, index) => state.initializing.get(id)?.has(index) ?? false);
  return {
    ...state,
    initializing: minus(state.initializing, begun),
    later: minus(state.later, begun),
    initialized: union(state.initialized, begun),
  };
}

export function withDeleting(state: ShareState, topics: ReadonlySet<TopicId>): ShareState {
  const stays = (topicId: TopicId): boolean => !topics.has(topicId);
  return {
    ...state,
    initializing: only(state.initializing, stays),
    later: only(state.later, stays),
    initialized: only(state.initialized, stays),
    deleting: new Set([...state.deleting, ...topics]),
  };
}

export function withoutTopics(state: ShareState, topics: ReadonlySet<TopicId>): ShareState {
  const rest = withDeleting(state, topics);
  return { ...rest, deleting: new Set([...rest.deleting].filter((topicId) => !topics.has(topicId))) };
}

export function toStateValue(
  state: ShareState,
  nameOf: (id: TopicId) => string | undefined,
): ShareStateValue {
  const name = (topicId: TopicId): string => nameOf(topicId) ?? state.names.get(topicId) ?? "";
  const named = (set: PartitionSet) =>
    topicPartitions(set).map((each) => ({ ...each, topicName: name(each.topicId) }));
  return {
    initializingTopics: named(state.initializing).map((each) => ({
      ...each,
      laterPartitions: each.partitions.filter((partition) => contains(state.later, each.topicId, partition)),
    })),
    initializedTopics: named(state.initialized),
    deletingTopics: Array.from(state.deleting, (topicId) => ({ topicId, topicName: name(topicId) })),
  };
}

export function fromStateValue(value: ShareStateValue): ShareState {
  const { initializingTopics, initializedTopics, deletingTopics } = value;
  const all = [...initializingTopics, ...initializedTopics, ...deletingTopics];
  return {
    initializing: partitionSet(initializingTopics),
    later: partitionSet(
      initializingTopics.map(({ topicId, laterPartitions: partitions }) => ({ topicId, partitions })),
    ),
    initialized: partitionSet(initializedTopics),
    deleting: new Set(deletingTopics.map(({ topicId }) => topicId)),
    names: new Map(all.map(({ topicId, topicName }) => [topicId, topicName])),
  };
}
