/** What tests of the consumer have in common. */
import type { TestContext } from "node:test";
import type { SimulatedBroker } from "./simulated-broker.ts";
import { type Client, createClient } from "../src/client/client.ts";
import type { Consumer } from "../src/client/consumer.ts";
import type { IncomingRecord } from "../src/client/incoming-record.ts";

export function aClient(test: TestContext, broker: SimulatedBroker, options: object = {}): Client {
  const client = createClient({ bootstrap: broker.address, ...options }, broker.clientPorts());
  test.after(() => client.close());
  return client;
}

export const counted = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => String(from + index));

export async function take(consumer: Consumer, count: number): Promise<IncomingRecord[]> {
  const records: IncomingRecord[] = [];
  if (count === 0) return records;
  for await (const record of consumer) if (records.push(record) === count) break;
  return records;
}

export async function all(consumer: Consumer): Promise<IncomingRecord[]> {
  const records: IncomingRecord[] = [];
  for await (const record of consumer) records.push(record);
  return records;
}

export const runFor = (broker: SimulatedBroker, ms: number): Promise<void> =>
  broker.scheduler.run({ untilMs: broker.scheduler.nowMs + ms });
export const sleep = ({ scheduler }: SimulatedBroker, ms: number): Promise<void> =>
  new Promise((resolve) => scheduler.schedule(ms, resolve));
export const values = (records: readonly IncomingRecord[]): string[] =>
  records.map(({ value }) => String(value));
