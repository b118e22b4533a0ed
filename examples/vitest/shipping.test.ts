/** Runs with Vitest. The program under test uses KafkaJS here; any Kafka client will do. */
import { Kafka, logLevel } from "kafkajs";
import { startBroker, type TestBroker } from "holdfast/testing";
import { afterAll, beforeAll, expect, test } from "vitest";

let broker: TestBroker;
beforeAll(async () => {
  broker = await startBroker({ topics: ["shipments"] });
});
afterAll(() => broker.close());

async function ship(order: string): Promise<void> {
  const kafka = new Kafka({ clientId: "shipping", brokers: [broker.address], logLevel: logLevel.NOTHING });
  const producer = kafka.producer({ idempotent: true });
  await producer.connect();
  try {
    await producer.send({ topic: "shipments", messages: [{ key: order, value: "shipped" }] });
  } finally {
    await producer.disconnect();
  }
}

test("an order whose acknowledgement got lost is shipped once", async () => {
  broker.faults.dropNextResponse("Produce");
  await ship("o-1");
  expect(await broker.records("shipments")).toMatchObject([{ key: "o-1", value: "shipped" }]);
});

test("an order is shipped although the power fails meanwhile", async () => {
  const shipping = ship("o-2");
  await broker.crash();
  await broker.restart();
  await shipping;
  const shipments = await broker.waitFor({ topic: "shipments", count: 2 });
  expect(shipments.map(({ key }) => key)).toEqual(["o-1", "o-2"]);
});
