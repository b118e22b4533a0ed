/** Groups described over the wire. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { aBroker } from "../../../test/simulated-broker.ts";
import { leaderEpoch, NO_TOPIC_ID, offset, partitionIndex } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { ConsumerGroupDescribe } from "../../protocol/messages/consumer-group-describe.ts";
import { OffsetCommit } from "../../protocol/messages/offset-commit.ts";

test("a group that is not there is told apart from one that does not speak KIP-848", async (t) => {
  const broker = await aBroker(t, { "offsets.topic.num.partitions": "3" });
  await broker.createTopic("orders");
  const committed = {
    partitionIndex: partitionIndex(0),
    committedOffset: offset(0),
    committedLeaderEpoch: leaderEpoch(-1),
    committedMetadata: "",
  };
  const byHand = {
    groupId: "by-hand",
    generationIdOrMemberEpoch: -1,
    memberId: "",
    groupInstanceId: null,
    retentionTimeMs: -1,
    topics: [{ name: "orders", topicId: NO_TOPIC_ID, partitions: [committed] }],
  };
  await broker.ask(OffsetCommit, byHand, 9);
  const request = { groupIds: ["by-hand", "nobody"], includeAuthorizedOperations: false };
  const { groups } = await broker.ask(ConsumerGroupDescribe, request, 1);
  assert.deepEqual(
    groups.map(({ errorCode, errorMessage }) => [errorCode, errorMessage]),
    [
      [ErrorCode.GROUP_ID_NOT_FOUND, "Group by-hand is not a consumer group."],
      [ErrorCode.GROUP_ID_NOT_FOUND, "Group nobody not found."],
    ],
  );
});
