/** The program under test: takes an order and says so in a topic, with the client that comes with Holdfast. */
import { createClient } from "holdfast/client";

export async function ship(bootstrap: string, orders: readonly string[]): Promise<void> {
  await using client = createClient({ bootstrap, clientId: "shipping" });
  await using producer = client.producer();
  await Promise.all(orders.map((order) => producer.send({ topic: "shipments", key: order, value: "shipped" })));
}
