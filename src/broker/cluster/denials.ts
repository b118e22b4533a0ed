/**
 * Which answers need proof in a cluster, API by API (fencing, section 4 and F10). A broker that was paused and
 * replaced may go on to show what it knows to be so for ever: records below its high watermark, and whatever
 * its own log has just taken. What denies ("no such offset", "you are not a member") or ages (the latest
 * offset, a committed one, a list) must be true at some time between the request and its answer; it leaves
 * when the barrier passed. What rests on our view of the journal ("no such topic") is looked up there first.
 *
 * An API that is not in the table says nothing of either kind. Fetch is not in it for its answers: records and
 * empty polls need no proof, and what a fetch denies is held by its handler, one partition at a time.
 */
import { NO_TOPIC_ID, type TopicId } from "../../base/ids.ts";
import type { AnyApi, Api } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { AddOffsetsToTxn } from "../../protocol/messages/add-offsets-to-txn.ts";
import { AddPartitionsToTxn } from "../../protocol/messages/add-partitions-to-txn.ts";
import { AlterConfigs } from "../../protocol/messages/alter-configs.ts";
import { AlterPartitionReassignments } from "../../protocol/messages/alter-partition-reassignments.ts";
import { AlterShareGroupOffsets } from "../../protocol/messages/alter-share-group-offsets.ts";
import { ConsumerGroupDescribe } from "../../protocol/messages/consumer-group-describe.ts";
import { ConsumerGroupHeartbeat } from "../../protocol/messages/consumer-group-heartbeat.ts";
import { CreatePartitions } from "../../protocol/messages/create-partitions.ts";
import { CreateTopics } from "../../protocol/messages/create-topics.ts";
import { DeleteGroups } from "../../protocol/messages/delete-groups.ts";
import { DeleteRecords } from "../../protocol/messages/delete-records.ts";
import { DeleteShareGroupOffsets } from "../../protocol/messages/delete-share-group-offsets.ts";
import { DeleteShareGroupState } from "../../protocol/messages/delete-share-group-state.ts";
import { DeleteTopics } from "../../protocol/messages/delete-topics.ts";
import { DescribeConfigs } from "../../protocol/messages/describe-configs.ts";
import { DescribeGroups } from "../../protocol/messages/describe-groups.ts";
import { DescribeProducers } from "../../protocol/messages/describe-producers.ts";
import { DescribeShareGroupOffsets } from "../../protocol/messages/describe-share-group-offsets.ts";
import { DescribeTopicPartitions } from "../../protocol/messages/describe-topic-partitions.ts";
import { DescribeTransactions } from "../../protocol/messages/describe-transactions.ts";
import { ElectLeaders } from "../../protocol/messages/elect-leaders.ts";
import { EndTxn } from "../../protocol/messages/end-txn.ts";
import { Fetch } from "../../protocol/messages/fetch.ts";
import { Heartbeat } from "../../protocol/messages/heartbeat.ts";
import { IncrementalAlterConfigs } from "../../protocol/messages/incremental-alter-configs.ts";
import { InitProducerId } from "../../protocol/messages/init-producer-id.ts";
import { InitializeShareGroupState } from "../../protocol/messages/initialize-share-group-state.ts";
import { JoinGroup } from "../../protocol/messages/join-group.ts";
import { LeaveGroup } from "../../protocol/messages/leave-group.ts";
import { ListConfigResources } from "../../protocol/messages/list-config-resources.ts";
import { ListGroups } from "../../protocol/messages/list-groups.ts";
import { ListOffsets } from "../../protocol/messages/list-offsets.ts";
import { ListPartitionReassignments } from "../../protocol/messages/list-partition-reassignments.ts";
import { ListTransactions } from "../../protocol/messages/list-transactions.ts";
import { Metadata } from "../../protocol/messages/metadata.ts";
import { OffsetCommit } from "../../protocol/messages/offset-commit.ts";
import { OffsetDelete } from "../../protocol/messages/offset-delete.ts";
import { OffsetFetch } from "../../protocol/messages/offset-fetch.ts";
import { OffsetForLeaderEpoch } from "../../protocol/messages/offset-for-leader-epoch.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { ReadShareGroupState } from "../../protocol/messages/read-share-group-state.ts";
import { ReadShareGroupStateSummary } from "../../protocol/messages/read-share-group-state-summary.ts";
import { ShareGroupDescribe } from "../../protocol/messages/share-group-describe.ts";
import { ShareGroupHeartbeat } from "../../protocol/messages/share-group-heartbeat.ts";
import { ShareAcknowledge } from "../../protocol/messages/share-acknowledge.ts";
import { ShareFetch } from "../../protocol/messages/share-fetch.ts";
import { SyncGroup } from "../../protocol/messages/sync-group.ts";
import { TxnOffsetCommit } from "../../protocol/messages/txn-offset-commit.ts";
import { UpdateFeatures } from "../../protocol/messages/update-features.ts";
import { WriteShareGroupState } from "../../protocol/messages/write-share-group-state.ts";
import { WriteTxnMarkers } from "../../protocol/messages/write-txn-markers.ts";
import type { Topics } from "../topics.ts";

/** What needs proof in the answers of one API. */
export interface Denials<Req, Res> {
  /** Whether the answer denies or ages something: it leaves after the barrier. */
  readonly denies?: (response: Res, request: Req) => boolean;
  /** Gives `look` what the request names, of which our view of the journal may lack something. */
  readonly names?: (request: Req, look: Look) => void;
  /** Whether it is about everything, or decided by what stands in the journal now: the tail is read in any case. */
  readonly needsTail?: (request: Req, apiVersion: number) => boolean;
}

/** By name, or by id where the name is empty or null. An epoch or index that is not given is −1. */
export type Look = (name: string | null, id: TopicId, index?: number, leaderEpoch?: number) => void;

interface Coded {
  readonly errorCode: ErrorCode;
}

/** "Ask again, or somebody else", and what no other broker would say otherwise: nothing is denied by it. */
const harmless: ReadonlySet<ErrorCode> = new Set([
  ErrorCode.NONE,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.REBALANCE_IN_PROGRESS,
  ErrorCode.MEMBER_ID_REQUIRED,
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.KAFKA_STORAGE_ERROR,
  // Epochs only rise: an older one stays fenced. A newer one has the tail read before it is called unknown.
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.UNKNOWN_LEADER_EPOCH,
]);

const denied = ({ errorCode }: Coded): boolean => !harmless.has(errorCode);
const told = ({ errorCode }: Coded): boolean => errorCode === ErrorCode.NONE;
const toldOrDenied = (coded: Coded): boolean => told(coded) || denied(coded);
const always = (): boolean => true;

/**
 * Whether the request names what our view of the journal lacks: then its tail is read before stage one, and
 * what is still not there was not there when the request came.
 */
export function namesUnknown<Req>(
  { names }: Denials<Req, never>,
  request: Req,
  topics: Pick<Topics, "byId" | "byName">,
): boolean {
  let isLacking = false;
  names?.(request, (name, id, index = -1, leaderEpoch = -1) => {
    if (isLacking) return;
    const topic = id === NO_TOPIC_ID ? topics.byName(name ?? "") : topics.byId(id);
    const partition = topic?.partitions[index];
    const lacksPartition = index >= 0 && (partition === undefined || partition.leaderEpoch < leaderEpoch);
    isLacking = topic === undefined || lacksPartition;
  });
  return isLacking;
}

const table = new Map<AnyApi, Denials<unknown, unknown>>();
function row<Req, Res>(api: Api<Req, Res>, denials: Denials<Req, Res>): void {
  table.set(api as AnyApi, denials as Denials<unknown, unknown>);
}

/** Undefined: nothing that this API answers needs proof. */
export const denialsOf = (api: AnyApi): Denials<unknown, unknown> | undefined => table.get(api);

// ── Records ──

// Refusals that rest on producers: their successor may know them, or a later sequence.
row(Produce, {
  denies: ({ responses }) => responses.some(({ partitionResponses }) => partitionResponses.some(denied)),
  names({ topicData }, look) {
    for (const { name, topicId, partitionData } of topicData) {
      for (const { index } of partitionData) look(name, topicId, index);
    }
  },
});

row(Fetch, {
  names({ topics }, look) {
    for (const { topic, topicId, partitions } of topics) {
      for (const each of partitions) look(topic, topicId, each.partition, each.currentLeaderEpoch);
    }
  },
});

// Its end and "none" age with each record, its start and the first record at a time with each deletion.
row(ListOffsets, {
  denies: ({ topics }) => topics.some(({ partitions }) => partitions.some(toldOrDenied)),
  names({ topics }, look) {
    for (const { name, partitions } of topics) {
      for (const each of partitions) look(name, NO_TOPIC_ID, each.partitionIndex, each.currentLeaderEpoch);
    }
  },
});

row(OffsetForLeaderEpoch, {
  denies: ({ topics }) => topics.some(({ partitions }) => partitions.some(toldOrDenied)),
  names({ topics }, look) {
    for (const { topic, partitions } of topics) {
      for (const each of partitions) look(topic, NO_TOPIC_ID, each.partition, each.currentLeaderEpoch);
    }
  },
});

row(DeleteRecords, {
  denies: ({ topics }) => topics.some(({ partitions }) => partitions.some(denied)),
  names({ topics }, look) {
    for (const { name, partitions } of topics) {
      for (const { partitionIndex } of partitions) look(name, NO_TOPIC_ID, partitionIndex);
    }
  },
});

row(DescribeProducers, {
  denies: ({ topics }) => topics.some(({ partitions }) => partitions.some(toldOrDenied)),
  names({ topics }, look) {
    for (const { name, partitionIndexes } of topics) {
      for (const index of partitionIndexes) look(name, NO_TOPIC_ID, index);
    }
  },
});

// ── Groups. A heartbeat that changes nothing is `Groups`' own affair: it counts how old the newest proof is. ──

row(OffsetFetch, {
  denies: (response) => denied(response) || response.groups.some(toldOrDenied),
  names({ groups }, look) {
    for (const { topics } of groups) {
      for (const { name, topicId } of topics ?? []) if (topicId !== NO_TOPIC_ID) look(name, topicId);
    }
  },
});
row(OffsetCommit, {
  denies: ({ topics }) => topics.some(({ partitions }) => partitions.some(denied)),
  names({ topics }, look) {
    for (const { name, topicId, partitions } of topics) {
      for (const { partitionIndex } of partitions) look(name, topicId, partitionIndex);
    }
  },
});
row(OffsetDelete, {
  denies: (response) => denied(response) || response.topics.some(({ partitions }) => partitions.some(denied)),
  names({ topics }, look) {
    for (const { name, partitions } of topics) {
      for (const { partitionIndex } of partitions) look(name, NO_TOPIC_ID, partitionIndex);
    }
  },
});
// A generation and its assignment are of today only if we still are.
row(JoinGroup, { denies: toldOrDenied });
row(SyncGroup, { denies: toldOrDenied });
row(Heartbeat, { denies: denied });
row(ConsumerGroupHeartbeat, { denies: denied });
row(LeaveGroup, { denies: (response) => denied(response) || response.members.some(denied) });
row(DeleteGroups, { denies: ({ results }) => results.some(denied) });
row(DescribeGroups, { denies: ({ groups }) => groups.some(toldOrDenied) });
row(ConsumerGroupDescribe, { denies: ({ groups }) => groups.some(toldOrDenied) });
row(ListGroups, { denies: toldOrDenied });
row(ShareGroupHeartbeat, { denies: denied });
row(ShareGroupDescribe, { denies: ({ groups }) => groups.some(toldOrDenied) });
row(DescribeShareGroupOffsets, {
  denies: ({ groups }) => groups.some(toldOrDenied),
  names({ groups }, look) {
    for (const { topics } of groups) {
      for (const { topicName, partitions } of topics ?? []) {
        for (const index of partitions) look(topicName, NO_TOPIC_ID, index);
      }
    }
  },
});
row(AlterShareGroupOffsets, {
  denies: (response) =>
    denied(response) || response.responses.some(({ partitions }) => partitions.some(denied)),
  names({ topics }, look) {
    for (const { topicName, partitions } of topics) {
      for (const { partitionIndex } of partitions) look(topicName, NO_TOPIC_ID, partitionIndex);
    }
  },
});
row(DeleteShareGroupOffsets, {
  denies: (response) => denied(response) || response.responses.some(denied),
  names({ topics }, look) {
    for (const { topicName } of topics) look(topicName, NO_TOPIC_ID);
  },
});

// ── Transactions ──

row(InitProducerId, { denies: denied });
row(AddPartitionsToTxn, {
  denies({ errorCode, resultsByTransaction, resultsByTopicV3AndBelow }) {
    const all = [...resultsByTransaction.flatMap((each) => each.topicResults), ...resultsByTopicV3AndBelow];
    return (
      denied({ errorCode }) ||
      all.some(({ resultsByPartition }) =>
        resultsByPartition.some((each) => denied({ errorCode: each.partitionErrorCode })),
      )
    );
  },
  names({ transactions, v3AndBelowTopics }, look) {
    for (const { name, partitions } of [
      ...transactions.flatMap(({ topics }) => topics),
      ...v3AndBelowTopics,
    ]) {
      for (const index of partitions) look(name, NO_TOPIC_ID, index);
    }
  },
});
row(AddOffsetsToTxn, { denies: denied });
row(EndTxn, { denies: denied });
row(TxnOffsetCommit, {
  denies: ({ topics }) => topics.some(({ partitions }) => partitions.some(denied)),
  names({ topics }, look) {
    for (const { name, topicId, partitions } of topics) {
      for (const { partitionIndex } of partitions) look(name, topicId, partitionIndex);
    }
  },
});
// "No such partition" ends what the coordinator has to do there.
row(WriteTxnMarkers, {
  denies: ({ markers }) =>
    markers.some(({ topics }) => topics.some(({ partitions }) => partitions.some(denied))),
  names({ markers }, look) {
    for (const { topics } of markers) {
      for (const { name, partitionIndexes } of topics) {
        for (const index of partitionIndexes) look(name, NO_TOPIC_ID, index);
      }
    }
  },
});
row(DescribeTransactions, { denies: ({ transactionStates }) => transactionStates.some(toldOrDenied) });
row(ListTransactions, { denies: toldOrDenied });

// ── Share groups. Records that are acquired are the handler's affair: it asks for a proof that is younger than that. ──

interface ShareRequest {
  readonly topics: readonly {
    readonly topicId: TopicId;
    readonly partitions: readonly { readonly partitionIndex: number }[];
  }[];
}
const shareNames = ({ topics }: ShareRequest, look: Look): void => {
  for (const { topicId, partitions } of topics) {
    for (const { partitionIndex } of partitions) look(null, topicId, partitionIndex);
  }
};
row(ShareFetch, {
  denies: ({ responses }) =>
    responses.some(({ partitions }) =>
      partitions.some((each) => denied(each) || denied({ errorCode: each.acknowledgeErrorCode })),
    ),
  names: shareNames,
});
row(ShareAcknowledge, {
  denies: ({ responses }) => responses.some(({ partitions }) => partitions.some(denied)),
  names: shareNames,
});

// ── The state of share-partitions. What was written is proved by its own slot; what is told from memory is not. ──

/** Of any of these requests. */
interface OfPartitions {
  readonly topics: readonly {
    readonly topicId: TopicId;
    readonly partitions: readonly { readonly partition: number }[];
  }[];
}
interface StateResults {
  readonly results: readonly { readonly partitions: readonly Coded[] }[];
}
const statesOf = (judge: (coded: Coded) => boolean) => ({
  denies: ({ results }: StateResults) => results.some(({ partitions }) => partitions.some(judge)),
  names({ topics }: OfPartitions, look: Look) {
    for (const { topicId, partitions } of topics) {
      for (const { partition } of partitions) look(null, topicId, partition);
    }
  },
});
row(InitializeShareGroupState, statesOf(toldOrDenied));
row(ReadShareGroupState, statesOf(toldOrDenied));
row(WriteShareGroupState, statesOf(denied));
row(DeleteShareGroupState, statesOf(toldOrDenied));
row(ReadShareGroupStateSummary, statesOf(toldOrDenied));

// ── What stands in the journal, and is the same at every broker once it was read to its end ──

row(Metadata, {
  // In version 0 none stands for all.
  needsTail: ({ topics }, apiVersion) => topics === null || (apiVersion === 0 && topics.length === 0),
  names({ topics }, look) {
    for (const { name, topicId } of topics ?? []) look(name, topicId);
  },
});
row(DescribeTopicPartitions, {
  needsTail: ({ topics }) => topics.length === 0,
  names({ topics }, look) {
    for (const { name } of topics) look(name, NO_TOPIC_ID);
  },
});
row(CreateTopics, { needsTail: always });
row(DeleteTopics, { needsTail: always });
row(CreatePartitions, { needsTail: always });
row(DescribeConfigs, { needsTail: always });
row(AlterConfigs, { needsTail: always });
row(IncrementalAlterConfigs, { needsTail: always });
row(ListConfigResources, { needsTail: always });
row(ElectLeaders, { needsTail: always });
row(AlterPartitionReassignments, { needsTail: always });
row(ListPartitionReassignments, { needsTail: always });
row(UpdateFeatures, { needsTail: always });
