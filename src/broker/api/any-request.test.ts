/**
 * Whatever well-formed request comes, in whatever version: it is answered, in the bytes of that version,
 * and the broker goes on. `PROPERTY_RUNS` asks for more than the sample.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anything, arbitraryOf, type Draws } from "../../../test/arbitrary.ts";
import { aBroker, type SimulatedBroker } from "../../../test/simulated-broker.ts";
import { NO_TOPIC_ID, offset, partitionIndex, producerEpoch, producerId } from "../../base/ids.ts";
import type { AnyApi } from "../../protocol/api.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { Produce } from "../../protocol/messages/produce.ts";
import { BatchView, Codec } from "../../record/batch.ts";
import { buildBatch } from "../../record/builder.ts";
import { clientHandlers } from "../handlers.ts";

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 2);

/** What is there, what nearly is, and what is too long for old versions once a sentence is around it. */
const texts = [
  "orders",
  "__consumer_offsets",
  "",
  "1",
  "retention.ms",
  "cleanup.policy",
  "compact",
  "x".repeat(32_767),
];

/** Sound batches, also such as no honest producer sends. */
const batch = fc
  .record({
    count: fc.integer({ min: 1, max: 5 }),
    timestamp: fc.constantFrom(-1, 0, 1_767_225_600_000, Number.MAX_SAFE_INTEGER),
    deltas: fc.boolean(),
    codec: fc.constantFrom(Codec.none, Codec.gzip, Codec.snappy, Codec.lz4, Codec.zstd),
    baseOffset: fc.constantFrom(0, 7, Number.MAX_SAFE_INTEGER - 100),
    producer: fc.constantFrom(-1, 0, 1, 1000),
    epoch: fc.constantFrom(-1, 0, 1, 32_767),
    sequence: fc.constantFrom(-1, 0, 1, 5, 2_147_483_647),
    isTransactional: fc.boolean(),
    isControl: fc.boolean(),
  })
  .map(({ count, timestamp, deltas, baseOffset, producer, epoch, sequence, ...fields }) => {
    const records = Array.from({ length: count }, (_, at) => ({
      timestamp,
      value: "value",
      ...(deltas ? { offsetDelta: at * 2 } : {}),
    }));
    const identity = {
      producerId: producerId(producer),
      producerEpoch: producerEpoch(epoch),
      baseSequence: sequence,
    };
    return [buildBatch(records, { ...fields, ...identity, baseOffset: offset(baseOffset) })];
  });

/** Requests that meet what exists more often than chance would. */
const pointed = (topic: string): Draws => ({
  string: fc.oneof(fc.constantFrom(...texts), anything.string),
  scalar: (name) => {
    const any = anything.scalar(name);
    if (name === "uuid") return fc.oneof(fc.constant(topic), any);
    if (name === "bool" || name === "bigint64") return any;
    return fc.oneof(fc.integer({ min: -1, max: 4 }), any);
  },
  records: fc.oneof(batch, anything.records),
});

/** Waiting is for tests of waiting, and a request without an answer has none to look at. */
const answerable = (api: AnyApi, request: unknown): unknown => ({
  ...(request as object),
  ...(api === (Produce as AnyApi) ? { acks: 1 } : {}),
  ...("maxWaitMs" in (request as object) ? { maxWaitMs: 5 } : {}),
});

async function answers(broker: SimulatedBroker, api: AnyApi, version: number): Promise<void> {
  const topic = broker.broker.services.topics.idOf("orders") ?? NO_TOPIC_ID;
  await fc.assert(
    fc.asyncProperty(arbitraryOf(api.request, version, pointed(topic)), async (drawn) => {
      await broker.ask(api, answerable(api, drawn), version);
      assert.equal(broker.broker.health().canAcknowledge, true);
    }),
    { numRuns },
  );
}

test("every API of clients answers any request in every version", async (t) => {
  const broker = await aBroker(t, { "holdfast.partitions.max": "500" });
  await broker.createTopic("orders", 2);
  for (const { api } of clientHandlers) {
    for (let version = api.versions[0]; version <= api.versions[1]; version++)
      await answers(broker, api, version);
  }
});

test("any sound batches are stored or refused, and a restart finds what was stored", async (t) => {
  const broker = await aBroker(t, { "holdfast.wal.file.bytes": "8388608" });
  await broker.createTopic("orders", 2);
  await broker.createTopic("stamped", 2, {
    "message.timestamp.type": "LogAppendTime",
    "compression.type": "lz4",
  });
  const partition = fc.record({ index: fc.nat(1).map(partitionIndex), records: batch });
  const topicData = fc.array(
    fc.record({
      name: fc.constantFrom("orders", "stamped"),
      topicId: fc.constant(NO_TOPIC_ID),
      partitionData: fc.array(partition, { maxLength: 4 }),
    }),
    { maxLength: 3 },
  );
  const anHonestOne = {
    name: "orders" as const,
    topicId: NO_TOPIC_ID,
    partitionData: [{ index: partitionIndex(0), records: [buildBatch([{ value: "value" }])] }],
  };
  const ends = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(topicData, async (topics) => {
      const request = { transactionalId: null, acks: -1, timeoutMs: 1000, topicData: topics };
      const { responses } = await broker.ask(Produce, request, 9);
      for (const [at, { name, partitionResponses }] of responses.entries()) {
        for (const [within, { index, errorCode, baseOffset }] of partitionResponses.entries()) {
          if (errorCode !== ErrorCode.NONE) continue;
          const [sent] = topics[at]?.partitionData[within]?.records ?? [];
          const end = baseOffset + BatchView.at(sent as Uint8Array).recordCount;
          ends.set(`${name}/${index}`, Math.max(end, ends.get(`${name}/${index}`) ?? 0));
        }
      }
    }),
    // Chance alone may draw nothing that is taken.
    { numRuns: numRuns * 20, examples: [[[anHonestOne]]] },
  );
  assert.ok(ends.size > 0);
  const found = () => {
    const { topics, partitions } = broker.broker.services;
    return Array.from(ends.keys(), (key) => {
      const [name, index] = key.split("/") as [string, string];
      return partitions.get(topics.idOf(name) ?? NO_TOPIC_ID, partitionIndex(Number(index)))?.highWatermark;
    });
  };
  assert.deepEqual(found(), [...ends.values()]);
  await broker.restart();
  assert.deepEqual(found(), [...ends.values()]);
});
