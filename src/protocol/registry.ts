/** Every API whose messages are known, by key. Which of them a broker serves is for its dispatch to say. */
import type { AnyApi } from "./api.ts";
import { AlterConfigs } from "./messages/alter-configs.ts";
import { ApiVersions } from "./messages/api-versions.ts";
import { ConsumerGroupDescribe } from "./messages/consumer-group-describe.ts";
import { ConsumerGroupHeartbeat } from "./messages/consumer-group-heartbeat.ts";
import { CreatePartitions } from "./messages/create-partitions.ts";
import { CreateTopics } from "./messages/create-topics.ts";
import { DeleteGroups } from "./messages/delete-groups.ts";
import { DeleteRecords } from "./messages/delete-records.ts";
import { DeleteTopics } from "./messages/delete-topics.ts";
import { DescribeCluster } from "./messages/describe-cluster.ts";
import { DescribeConfigs } from "./messages/describe-configs.ts";
import { DescribeGroups } from "./messages/describe-groups.ts";
import { DescribeLogDirs } from "./messages/describe-log-dirs.ts";
import { DescribeTopicPartitions } from "./messages/describe-topic-partitions.ts";
import { Fetch } from "./messages/fetch.ts";
import { FindCoordinator } from "./messages/find-coordinator.ts";
import { Heartbeat } from "./messages/heartbeat.ts";
import { IncrementalAlterConfigs } from "./messages/incremental-alter-configs.ts";
import { InitProducerId } from "./messages/init-producer-id.ts";
import { JoinGroup } from "./messages/join-group.ts";
import { LeaveGroup } from "./messages/leave-group.ts";
import { ListGroups } from "./messages/list-groups.ts";
import { ListOffsets } from "./messages/list-offsets.ts";
import { Metadata } from "./messages/metadata.ts";
import { OffsetCommit } from "./messages/offset-commit.ts";
import { OffsetDelete } from "./messages/offset-delete.ts";
import { OffsetFetch } from "./messages/offset-fetch.ts";
import { OffsetForLeaderEpoch } from "./messages/offset-for-leader-epoch.ts";
import { Produce } from "./messages/produce.ts";
import { SyncGroup } from "./messages/sync-group.ts";

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
  DescribeConfigs,
  AlterConfigs,
  DescribeLogDirs,
  CreatePartitions,
  DeleteGroups,
  IncrementalAlterConfigs,
  OffsetDelete,
  DescribeCluster,
  ConsumerGroupHeartbeat,
  ConsumerGroupDescribe,
  DescribeTopicPartitions,
];

const byKey: ReadonlyMap<number, AnyApi> = new Map(apis.map((each) => [each.key, each]));

export function apiByKey(key: number): AnyApi | undefined {
  return byKey.get(key);
}
