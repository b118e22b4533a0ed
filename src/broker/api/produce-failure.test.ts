import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { aBroker } from "../../../test/simulated-broker.ts";
import { NO_TOPIC_ID, partitionIndex } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { buildBatch } from "../../record/builder.ts";

const request = (partitions: readonly number[]) => ({
  transactionalId: null,
  acks: -1,
  timeoutMs: 1000,
  topicData: [
    {
      name: "orders",
      topicId: NO_TOPIC_ID,
      partitionData: partitions.map((index) => ({
        index: partitionIndex(index),
        records: [buildBatch([{ value: "a" }])],
      })),
    },
  ],
});

test("a request that fails inside gives no offset in any partition, and the next one is served", async (t) => {
  const broker = await aBroker(t);
  await broker.createTopic("orders", 2);
  const { partitions, tail, topics } = broker.broker.services;
  // Stands for a codec or an allocation that fails at the second batch.
  const second = partitions.get(topics.idOf("orders") ?? NO_TOPIC_ID, partitionIndex(1));
  assert.ok(second);
  const failing = mock.getter(second, "config", () => {
    throw new RangeError("out of memory");
  });
  await assert.rejects(broker.ask(Produce, request([0, 1]), 9));
  failing.mock.restore();
  assert.equal(tail.unflushedBytes, 0);
  const answer = await broker.ask(Produce, request([0, 1]), 9);
  for (const { errorCode, baseOffset } of answer.responses[0]?.partitionResponses ?? []) {
    assert.deepEqual([errorCode, baseOffset], [ErrorCode.NONE, 0]);
  }
});
