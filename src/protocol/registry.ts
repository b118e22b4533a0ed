/** Every API whose messages are known, by key. Which of them a broker serves is for its dispatch to say. */
import type { AnyApi } from "./api.ts";
import { AlterConfigs } from "./messages/alter-configs.ts";
import { ApiVersions } from "./messages/api-versions.ts";
import { CreatePartitions } from "./messages/create-partitions.ts";
import { CreateTopics } from "./messages/create-topics.ts";
import { DeleteTopics } from "./messages/delete-topics.ts";
import { DescribeCluster } from "./messages/describe-cluster.ts";
import { DescribeConfigs } from "./messages/describe-configs.ts";
import { DescribeLogDirs } from "./messages/describe-log-dirs.ts";
import { DescribeTopicPartitions } from "./messages/describe-topic-partitions.ts";
import { Fetch } from "./messages/fetch.ts";
import { IncrementalAlterConfigs } from "./messages/incremental-alter-configs.ts";
import { InitProducerId } from "./messages/init-producer-id.ts";
import { ListOffsets } from "./messages/list-offsets.ts";
import { Metadata } from "./messages/metadata.ts";
import { OffsetForLeaderEpoch } from "./messages/offset-for-leader-epoch.ts";
import { Produce } from "./messages/produce.ts";

/** In the order of their keys. */
export const apis: readonly AnyApi[] = [
  Produce,
  Fetch,
  ListOffsets,
  Metadata,
  ApiVersions,
  CreateTopics,
  DeleteTopics,
  InitProducerId,
  OffsetForLeaderEpoch,
  DescribeConfigs,
  AlterConfigs,
  DescribeLogDirs,
  CreatePartitions,
  IncrementalAlterConfigs,
  DescribeCluster,
  DescribeTopicPartitions,
];

const byKey: ReadonlyMap<number, AnyApi> = new Map(apis.map((each) => [each.key, each]));

export function apiByKey(key: number): AnyApi | undefined {
  return byKey.get(key);
}
