/** What Produce answers to idempotent producers (KIP-98, KIP-360), also after a restart. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import { partitionIndex, producerEpoch, producerId } from "../../base/ids.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { buildBatch } from "../../record/builder.ts";

/** One record of producer 7 per batch. */
async function send(broker: SimulatedBroker, sequence: number, epoch = 0) {
  const topic = broker.broker.services.topics.byName("orders");
  assert.ok(topic);
  const batch = buildBatch([{ value: `${epoch}/${sequence}`, timestamp: 1 }], {
    producerId: producerId(7),
    producerEpoch: producerEpoch(epoch),
    baseSequence: sequence,
  });
  const { responses } = await broker.ask(Produce, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 1000,
    topicData: [
      {
        name: topic.name,
        topicId: topic.id,
        partitionData: [{ index: partitionIndex(0), records: [batch] }],
      },
    ],
  });
  const [answer] = responses[0]?.partitionResponses ?? [];
  assert.ok(answer);
  return { errorCode: answer.errorCode, baseOffset: answer.baseOffset, logStart: answer.logStartOffset };
}

describe("Produce with idempotence", () => {
  test("a retry is answered with the first offset, before and after a restart", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    for (const sequence of [0, 1, 2]) await send(broker, sequence);
    const first = { errorCode: ErrorCode.NONE, baseOffset: 1, logStart: 0 };
    assert.deepEqual(await send(broker, 1), first);
    await broker.restart();
    assert.deepEqual(await send(broker, 1), first);
    assert.deepEqual(await send(broker, 3), { ...first, baseOffset: 3 });
  });

  test("a gap is out of order and an older epoch is refused, before and after a restart", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    await send(broker, 0, 1);
    for (const life of [1, 2]) {
      assert.equal((await send(broker, 2, 1)).errorCode, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, `${life}`);
      assert.equal((await send(broker, 0, 0)).errorCode, ErrorCode.INVALID_PRODUCER_EPOCH);
      await broker.restart();
    }
  });

  test("an unknown producer that does not begin at 0 is told so with the log start, and begins anew", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    assert.deepEqual(await send(broker, 5), {
      errorCode: ErrorCode.UNKNOWN_PRODUCER_ID,
      baseOffset: -1,
      logStart: 0,
    });
    assert.equal((await send(broker, 0, 1)).errorCode, ErrorCode.NONE);
  });

  test("a retry older than what is remembered is a duplicate", async (t) => {
    const broker = await aBroker(t);
    await broker.createTopic("orders");
    for (let sequence = 0; sequence < 7; sequence++) await send(broker, sequence);
    await broker.restart();
    assert.equal((await send(broker, 0)).errorCode, ErrorCode.DUPLICATE_SEQUENCE_NUMBER);
  });
});
