import assert from "node:assert/strict";
import test from "node:test";
import { createClient, HandlerError, ProducerFencedError } from "holdfast/client";
import { startBroker, type TestBroker } from "holdfast/testing";
import { type Invoice, Invoicer, invoices } from "../invoices.ts";

const orders = Array.from({ length: 100 }, (_, number) => `order ${number}`);
const price = (order: string): number => order.length * 100;
const wanted: readonly Invoice[] = orders.map((order) => ({ order, cents: price(order) }));
const byOrder = (a: Invoice, b: Invoice): number => a.order.localeCompare(b.order);

async function aShop(): Promise<TestBroker> {
  const broker = await startBroker({ topics: [{ name: "orders", partitions: 3 }, "invoices"] });
  await using client = createClient({ bootstrap: broker.address });
  await using producer = client.producer();
  await producer.sendMany(orders.map((value, number) => ({ topic: "orders", key: String(number), value })));
  return broker;
}

async function until(broker: TestBroker, count: number): Promise<void> {
  while ((await invoices(broker.address)).length < count) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("each order has one invoice, although the broker crashes and a newer process puts an older one out", async () => {
  await using broker = await aShop();
  await using older = new Invoicer(broker.address, "ann", price);
  // Put out, unless there was nothing left for it to do.
  const putOut = older.done.catch((cause: unknown) => assert(cause instanceof ProducerFencedError, String(cause)));
  await until(broker, 10);
  await broker.crash();
  await broker.restart();
  await using _ = new Invoicer(broker.address, "ann", price);
  await until(broker, orders.length);
  assert.deepEqual((await invoices(broker.address)).toSorted(byOrder), wanted.toSorted(byOrder));
  await older[Symbol.asyncDispose]();
  await putOut;
});

test("nothing of a transaction is seen whose handler fails, and whoever comes next begins with it again", async () => {
  await using broker = await aShop();
  {
    const failing = (order: string): number => {
      if (order === "order 42") throw new Error("no price");
      return price(order);
    };
    await using invoicer = new Invoicer(broker.address, "ann", failing);
    await assert.rejects(invoicer.done, HandlerError);
    assert(!(await invoices(broker.address)).some(({ order }) => order === "order 42"));
  }
  await using _ = new Invoicer(broker.address, "ann", price);
  await until(broker, orders.length);
  assert.deepEqual((await invoices(broker.address)).toSorted(byOrder), wanted.toSorted(byOrder));
});
