/** Every API that this broker serves. What is not in `clientHandlers` is neither advertised nor answered to clients. */
import { addOffsetsToTxn } from "./api/add-offsets-to-txn.ts";
import { addPartitionsToTxn } from "./api/add-partitions-to-txn.ts";
import { alterConfigs } from "./api/alter-configs.ts";
import { alterPartitionReassignments } from "./api/alter-partition-reassignments.ts";
import { alterShareGroupOffsets } from "./api/alter-share-group-offsets.ts";
import { apiVersions } from "./api/api-versions.ts";
import { consumerGroupDescribe } from "./api/consumer-group-describe.ts";
import { consumerGroupHeartbeat } from "./api/consumer-group-heartbeat.ts";
import { createAcls } from "./api/create-acls.ts";
import { createPartitions } from "./api/create-partitions.ts";
import { createTopics } from "./api/create-topics.ts";
import { deleteAcls } from "./api/delete-acls.ts";
import { deleteGroups } from "./api/delete-groups.ts";
import { deleteRecords } from "./api/delete-records.ts";
import { deleteShareGroupOffsets } from "./api/delete-share-group-offsets.ts";
import { deleteShareGroupState } from "./api/delete-share-group-state.ts";
import { deleteTopics } from "./api/delete-topics.ts";
import { describeAcls } from "./api/describe-acls.ts";
import { describeCluster } from "./api/describe-cluster.ts";
import { describeConfigs } from "./api/describe-configs.ts";
import { describeGroups } from "./api/describe-groups.ts";
import { describeLogDirs } from "./api/describe-log-dirs.ts";
import { describeProducers } from "./api/describe-producers.ts";
import { describeShareGroupOffsets } from "./api/describe-share-group-offsets.ts";
import { describeTopicPartitions } from "./api/describe-topic-partitions.ts";
import { describeTransactions } from "./api/describe-transactions.ts";
import { electLeaders } from "./api/elect-leaders.ts";
import { endTxn } from "./api/end-txn.ts";
import { fetch } from "./api/fetch.ts";
import { findCoordinator } from "./api/find-coordinator.ts";
import { getTelemetrySubscriptions } from "./api/get-telemetry-subscriptions.ts";
import { heartbeat } from "./api/heartbeat.ts";
import { incrementalAlterConfigs } from "./api/incremental-alter-configs.ts";
import { initProducerId } from "./api/init-producer-id.ts";
import { initializeShareGroupState } from "./api/initialize-share-group-state.ts";
import { joinGroup } from "./api/join-group.ts";
import { leaveGroup } from "./api/leave-group.ts";
import { listConfigResources } from "./api/list-config-resources.ts";
import { listGroups } from "./api/list-groups.ts";
import { listOffsets } from "./api/list-offsets.ts";
import { listPartitionReassignments } from "./api/list-partition-reassignments.ts";
import { listTransactions } from "./api/list-transactions.ts";
import { metadata } from "./api/metadata.ts";
import { offsetCommit } from "./api/offset-commit.ts";
import { offsetDelete } from "./api/offset-delete.ts";
import { offsetFetch } from "./api/offset-fetch.ts";
import { offsetForLeaderEpoch } from "./api/offset-for-leader-epoch.ts";
import { peerHeartbeat } from "./api/peer-heartbeat.ts";
import { peerHello } from "./api/peer-hello.ts";
import { peerProve } from "./api/peer-prove.ts";
import { produce } from "./api/produce.ts";
import { pushTelemetry } from "./api/push-telemetry.ts";
import { readShareGroupState } from "./api/read-share-group-state.ts";
import { readShareGroupStateSummary } from "./api/read-share-group-state-summary.ts";
import { shareGroupDescribe } from "./api/share-group-describe.ts";
import { shareGroupHeartbeat } from "./api/share-group-heartbeat.ts";
import { shareAcknowledge } from "./api/share-acknowledge.ts";
import { shareFetch } from "./api/share-fetch.ts";
import { syncGroup } from "./api/sync-group.ts";
import { txnOffsetCommit } from "./api/txn-offset-commit.ts";
import { updateFeatures } from "./api/update-features.ts";
import { writeShareGroupState } from "./api/write-share-group-state.ts";
import { writeTxnMarkers } from "./api/write-txn-markers.ts";
import type { AnyHandler } from "./handle.ts";

export const clientHandlers: readonly AnyHandler[] = [
  produce,
  fetch,
  listOffsets,
  metadata,
  offsetCommit,
  offsetFetch,
  findCoordinator,
  joinGroup,
  heartbeat,
  leaveGroup,
  syncGroup,
  describeGroups,
  listGroups,
  apiVersions,
  createTopics,
  deleteTopics,
  initProducerId,
  addPartitionsToTxn,
  addOffsetsToTxn,
  txnOffsetCommit,
  endTxn,
  writeTxnMarkers,
  describeProducers,
  describeTransactions,
  listTransactions,
  offsetForLeaderEpoch,
  describeConfigs,
  alterConfigs,
  describeLogDirs,
  createPartitions,
  deleteGroups,
  incrementalAlterConfigs,
  offsetDelete,
  describeCluster,
  consumerGroupHeartbeat,
  consumerGroupDescribe,
  describeTopicPartitions,
  deleteRecords,
  electLeaders,
  alterPartitionReassignments,
  listPartitionReassignments,
  updateFeatures,
  listConfigResources,
  getTelemetrySubscriptions,
  pushTelemetry,
  describeAcls,
  createAcls,
  deleteAcls,
  shareGroupHeartbeat,
  shareGroupDescribe,
  describeShareGroupOffsets,
  alterShareGroupOffsets,
  deleteShareGroupOffsets,
  shareFetch,
  shareAcknowledge,
  initializeShareGroupState,
  readShareGroupState,
  writeShareGroupState,
  deleteShareGroupState,
  readShareGroupStateSummary,
];

/** What brokers of one cluster ask each other, besides what clients may ask. */
const peerHandlers: readonly AnyHandler[] = [peerHello, peerProve, peerHeartbeat];

export const handlers: readonly AnyHandler[] = [...clientHandlers, ...peerHandlers];
