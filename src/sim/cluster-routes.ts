/** Which broker of a cluster a request is for: the table of those APIs that not every broker answers. */
import { NO_TOPIC_ID, type TopicId } from "../base/ids.ts";
import type { AnyApi, RequestOf } from "../protocol/api.ts";
import { AddOffsetsToTxn } from "../protocol/messages/add-offsets-to-txn.ts";
import { AddPartitionsToTxn } from "../protocol/messages/add-partitions-to-txn.ts";
import { ConsumerGroupDescribe } from "../protocol/messages/consumer-group-describe.ts";
import { ConsumerGroupHeartbeat } from "../protocol/messages/consumer-group-heartbeat.ts";
import { DeleteGroups } from "../protocol/messages/delete-groups.ts";
import { DeleteRecords } from "../protocol/messages/delete-records.ts";
import { DescribeGroups } from "../protocol/messages/describe-groups.ts";
import { DescribeProducers } from "../protocol/messages/describe-producers.ts";
import { DescribeTransactions } from "../protocol/messages/describe-transactions.ts";
import { EndTxn } from "../protocol/messages/end-txn.ts";
import { Fetch } from "../protocol/messages/fetch.ts";
import { Heartbeat } from "../protocol/messages/heartbeat.ts";
import { InitProducerId } from "../protocol/messages/init-producer-id.ts";
import { InitializeShareGroupState } from "../protocol/messages/initialize-share-group-state.ts";
import { JoinGroup } from "../protocol/messages/join-group.ts";
import { LeaveGroup } from "../protocol/messages/leave-group.ts";
import { ListOffsets } from "../protocol/messages/list-offsets.ts";
import { OffsetCommit } from "../protocol/messages/offset-commit.ts";
import { OffsetDelete } from "../protocol/messages/offset-delete.ts";
import { OffsetFetch } from "../protocol/messages/offset-fetch.ts";
import { OffsetForLeaderEpoch } from "../protocol/messages/offset-for-leader-epoch.ts";
import { Produce } from "../protocol/messages/produce.ts";
import { ShareAcknowledge } from "../protocol/messages/share-acknowledge.ts";
import { ShareFetch } from "../protocol/messages/share-fetch.ts";
import { SyncGroup } from "../protocol/messages/sync-group.ts";
import { TxnOffsetCommit } from "../protocol/messages/txn-offset-commit.ts";
import { WriteTxnMarkers } from "../protocol/messages/write-txn-markers.ts";

export type Destination =
  | {
      readonly kind: "partition";
      /** Of topic and partition together. */
      readonly name: string;
      readonly topic: string;
      readonly topicId: TopicId;
      readonly partition: number;
    }
  | { readonly kind: "group" | "transaction" | "share-partition"; readonly name: string };

/** Requests of one session: those that name no partition are for whoever had those that did. */
export const shareSession: ReadonlySet<number> = new Set([ShareFetch.key, ShareAcknowledge.key]);

/** Null: anybody. */
export function destinationOf(api: AnyApi, request: unknown): Destination | null {
  return routes.get(api.key)?.(request) ?? null;
}

const routes = new Map<number, (request: unknown) => Destination | null>();

function route<A extends { readonly key: number }>(
  api: A,
  destination: (request: RequestOf<A>) => Destination | null,
): void {
  routes.set(api.key, (request) => destination(request as RequestOf<A>));
}

const group = (name: string | undefined): Destination | null =>
  name === undefined ? null : { kind: "group", name };
const transaction = (name: string | null | undefined): Destination | null =>
  name === null || name === undefined ? null : { kind: "transaction", name };

/** Simulated clients name one partition in a request. */
function place(
  topic: string | null | undefined,
  partition: number | undefined,
  topicId: TopicId = NO_TOPIC_ID,
) {
  if (partition === undefined) return null;
  const name = topicId === NO_TOPIC_ID ? (topic ?? "") : topicId;
  return { kind: "partition", name: `${name}/${partition}`, topicId, partition, topic: topic ?? "" } as const;
}

route(Produce, ({ topicData: [data] }) => place(data?.name, data?.partitionData[0]?.index, data?.topicId));
route(Fetch, ({ topics: [asked] }) => place(asked?.topic, asked?.partitions[0]?.partition, asked?.topicId));
route(ListOffsets, ({ topics: [asked] }) => place(asked?.name, asked?.partitions[0]?.partitionIndex));
route(OffsetForLeaderEpoch, ({ topics: [asked] }) => place(asked?.topic, asked?.partitions[0]?.partition));
route(DeleteRecords, ({ topics: [asked] }) => place(asked?.name, asked?.partitions[0]?.partitionIndex));
route(DescribeProducers, ({ topics: [asked] }) => place(asked?.name, asked?.partitionIndexes[0]));
route(WriteTxnMarkers, ({ markers: [marker] }) => {
  const [topic] = marker?.topics ?? [];
  return place(topic?.name, topic?.partitionIndexes[0]);
});
route(ShareFetch, ({ topics: [asked] }) => place(null, asked?.partitions[0]?.partitionIndex, asked?.topicId));
route(ShareAcknowledge, ({ topics: [asked] }) =>
  place(null, asked?.partitions[0]?.partitionIndex, asked?.topicId),
);
route(InitializeShareGroupState, ({ groupId, topics: [asked] }) => {
  const name = `${groupId}:${asked?.topicId}:${asked?.partitions[0]?.partition}`;
  return { kind: "share-partition", name };
});
route(JoinGroup, ({ groupId }) => group(groupId));
route(SyncGroup, ({ groupId }) => group(groupId));
route(Heartbeat, ({ groupId }) => group(groupId));
route(LeaveGroup, ({ groupId }) => group(groupId));
route(ConsumerGroupHeartbeat, ({ groupId }) => group(groupId));
route(ConsumerGroupDescribe, ({ groupIds }) => group(groupIds[0]));
route(DescribeGroups, ({ groups }) => group(groups[0]));
route(DeleteGroups, ({ groupsNames }) => group(groupsNames[0]));
route(OffsetCommit, ({ groupId }) => group(groupId));
route(OffsetDelete, ({ groupId }) => group(groupId));
route(OffsetFetch, ({ groupId, groups }) => group(groups[0]?.groupId ?? groupId));
route(TxnOffsetCommit, ({ groupId }) => group(groupId));
route(InitProducerId, ({ transactionalId }) => transaction(transactionalId));
route(AddPartitionsToTxn, ({ v3AndBelowTransactionalId, transactions }) =>
  transaction(transactions[0]?.transactionalId ?? v3AndBelowTransactionalId),
);
route(AddOffsetsToTxn, ({ transactionalId }) => transaction(transactionalId));
route(EndTxn, ({ transactionalId }) => transaction(transactionalId));
route(DescribeTransactions, ({ transactionalIds }) => transaction(transactionalIds[0]));
