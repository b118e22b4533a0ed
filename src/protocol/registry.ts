/**
 * Every API of Kafka whose messages are known, by key. Which of them a broker serves is for its dispatch to say.
 * `peerApis` are what brokers of one cluster say to each other: they are no part of Kafka's protocol, nobody else
 * is told of them or answered, and they may change with the software.
 */
import type { AnyApi } from "./api.ts";
import { AddOffsetsToTxn } from "./messages/add-offsets-to-txn.ts";
import { AddPartitionsToTxn } from "./messages/add-partitions-to-txn.ts";
import { AlterConfigs } from "./messages/alter-configs.ts";
import { AlterPartitionReassignments } from "./messages/alter-partition-reassignments.ts";
import { AlterShareGroupOffsets } from "./messages/alter-share-group-offsets.ts";
import { ApiVersions } from "./messages/api-versions.ts";
import { ConsumerGroupDescribe } from "./messages/consumer-group-describe.ts";
import { ConsumerGroupHeartbeat } from "./messages/consumer-group-heartbeat.ts";
import { CreateAcls } from "./messages/create-acls.ts";
import { CreatePartitions } from "./messages/create-partitions.ts";
import { CreateTopics } from "./messages/create-topics.ts";
import { DeleteAcls } from "./messages/delete-acls.ts";
import { DeleteGroups } from "./messages/delete-groups.ts";
import { DeleteRecords } from "./messages/delete-records.ts";
import { DeleteShareGroupOffsets } from "./messages/delete-share-group-offsets.ts";
import { DeleteShareGroupState } from "./messages/delete-share-group-state.ts";
import { DeleteTopics } from "./messages/delete-topics.ts";
import { DescribeAcls } from "./messages/describe-acls.ts";
import { DescribeCluster } from "./messages/describe-cluster.ts";
import { DescribeConfigs } from "./messages/describe-configs.ts";
import { DescribeGroups } from "./messages/describe-groups.ts";
import { DescribeLogDirs } from "./messages/describe-log-dirs.ts";
import { DescribeProducers } from "./messages/describe-producers.ts";
import { DescribeShareGroupOffsets } from "./messages/describe-share-group-offsets.ts";
import { DescribeTopicPartitions } from "./messages/describe-topic-partitions.ts";
import { DescribeTransactions } from "./messages/describe-transactions.ts";
import { ElectLeaders } from "./messages/elect-leaders.ts";
import { EndTxn } from "./messages/end-txn.ts";
import { Fetch } from "./messages/fetch.ts";
import { FindCoordinator } from "./messages/find-coordinator.ts";
import { GetTelemetrySubscriptions } from "./messages/get-telemetry-subscriptions.ts";
import { Heartbeat } from "./messages/heartbeat.ts";
import { IncrementalAlterConfigs } from "./messages/incremental-alter-configs.ts";
import { InitProducerId } from "./messages/init-producer-id.ts";
import { InitializeShareGroupState } from "./messages/initialize-share-group-state.ts";
import { JoinGroup } from "./messages/join-group.ts";
import { LeaveGroup } from "./messages/leave-group.ts";
import { ListConfigResources } from "./messages/list-config-resources.ts";
import { ListGroups } from "./messages/list-groups.ts";
import { ListOffsets } from "./messages/list-offsets.ts";
import { ListPartitionReassignments } from "./messages/list-partition-reassignments.ts";
import { ListTransactions } from "./messages/list-transactions.ts";
import { Metadata } from "./messages/metadata.ts";
import { OffsetCommit } from "./messages/offset-commit.ts";
import { OffsetDelete } from "./messages/offset-delete.ts";
import { OffsetFetch } from "./messages/offset-fetch.ts";
import { OffsetForLeaderEpoch } from "./messages/offset-for-leader-epoch.ts";
import { PeerHeartbeat } from "./messages/peer-heartbeat.ts";
import { PeerHello } from "./messages/peer-hello.ts";
import { PeerProve } from "./messages/peer-prove.ts";
import { Produce } from "./messages/produce.ts";
import { PushTelemetry } from "./messages/push-telemetry.ts";
import { ReadShareGroupStateSummary } from "./messages/read-share-group-state-summary.ts";
import { ReadShareGroupState } from "./messages/read-share-group-state.ts";
import { ShareAcknowledge } from "./messages/share-acknowledge.ts";
import { ShareFetch } from "./messages/share-fetch.ts";
import { ShareGroupDescribe } from "./messages/share-group-describe.ts";
import { ShareGroupHeartbeat } from "./messages/share-group-heartbeat.ts";
import { SyncGroup } from "./messages/sync-group.ts";
import { TxnOffsetCommit } from "./messages/txn-offset-commit.ts";
import { UpdateFeatures } from "./messages/update-features.ts";
import { WriteShareGroupState } from "./messages/write-share-group-state.ts";
import { WriteTxnMarkers } from "./messages/write-txn-markers.ts";

/** In the order of their keys. */
export const apis: readonly AnyApi[] = [
  Produce,
  Fetch,
  ListOffsets,
  Metadata,
  OffsetCommit,
  OffsetFetch,
  FindCoordinator,
  JoinGroup,
  Heartbeat,
  LeaveGroup,
  SyncGroup,
  DescribeGroups,
  ListGroups,
  ApiVersions,
  CreateTopics,
  DeleteTopics,
  DeleteRecords,
  InitProducerId,
  OffsetForLeaderEpoch,
  AddPartitionsToTxn,
  AddOffsetsToTxn,
  EndTxn,
  WriteTxnMarkers,
  TxnOffsetCommit,
  DescribeAcls,
  CreateAcls,
  DeleteAcls,
  DescribeConfigs,
  AlterConfigs,
  DescribeLogDirs,
  CreatePartitions,
  DeleteGroups,
  ElectLeaders,
  IncrementalAlterConfigs,
  AlterPartitionReassignments,
  ListPartitionReassignments,
  OffsetDelete,
  UpdateFeatures,
  DescribeCluster,
  DescribeProducers,
  DescribeTransactions,
  ListTransactions,
  ConsumerGroupHeartbeat,
  ConsumerGroupDescribe,
  GetTelemetrySubscriptions,
  PushTelemetry,
  ListConfigResources,
  DescribeTopicPartitions,
  ShareGroupHeartbeat,
  ShareGroupDescribe,
  ShareFetch,
  ShareAcknowledge,
  InitializeShareGroupState,
  ReadShareGroupState,
  WriteShareGroupState,
  DeleteShareGroupState,
  ReadShareGroupStateSummary,
  DescribeShareGroupOffsets,
  AlterShareGroupOffsets,
  DeleteShareGroupOffsets,
];

/** Keys from here on are ours; Kafka's are far below. */
export const peerKeysFrom = 10_000;
export const peerApis: readonly AnyApi[] = [
  PeerHello as AnyApi,
  PeerProve as AnyApi,
  PeerHeartbeat as AnyApi,
];

const byKey: ReadonlyMap<number, AnyApi> = new Map(apis.map((each) => [each.key, each]));

export function apiByKey(key: number): AnyApi | undefined {
  return byKey.get(key);
}
