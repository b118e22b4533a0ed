import assert from "node:assert/strict";
import test from "node:test";
import { createClient } from "holdfast/client";
import { startBroker, type TestBroker } from "holdfast/testing";
import { Worker } from "../orders.ts";

const orders = Array.from({ length: 60 }, (_, number) => `order ${number}`);

async function place(broker: TestBroker): Promise<void> {
  await using client = createClient({ bootstrap: broker.address });
  await using producer = client.producer();
  await producer.sendMany(orders.map((value, number) => ({ topic: "orders", key: String(number), value })));
}

/** What each department was given, and by whom it was done. */
class Ledger {
  readonly #done = new Map<string, Map<string, string>>();
  #waiting: (() => void)[] = [];

  work(department: string): (order: string, worker: string) => Promise<void> {
    const done = new Map<string, string>();
    this.#done.set(department, done);
    return async (order, worker) => {
      await new Promise((resolve) => setTimeout(resolve, 2));
      done.set(order, worker);
      for (const wake of this.#waiting.splice(0)) wake();
    };
  }

  by(department: string): ReadonlyMap<string, string> {
    return this.#done.get(department) ?? new Map();
  }

  async until(department: string, count: number): Promise<void> {
    while (this.by(department).size < count) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
}

test("every department gets every order, and its workers share them", async () => {
  await using broker = await startBroker({ topics: [{ name: "orders", partitions: 4 }] });
  const ledger = new Ledger();
  const billing = ledger.work("billing");
  const packing = ledger.work("packing");
  await using ann = new Worker(broker.address, { department: "packing", name: "ann", work: packing });
  await using bob = new Worker(broker.address, { department: "packing", name: "bob", work: packing });
  await using _ = new Worker(broker.address, { department: "billing", name: "eve", work: billing });
  await Promise.all([ann.ready(), bob.ready()]);
  // The second worker is given a half once the first has let go of it.
  while (ann.partitions.length !== 2 || bob.partitions.length !== 2) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await place(broker);
  await Promise.all([ledger.until("packing", orders.length), ledger.until("billing", orders.length)]);
  for (const department of ["packing", "billing"]) {
    assert.deepEqual([...ledger.by(department).keys()].toSorted(), orders.toSorted());
  }
  assert.deepEqual(new Set(ledger.by("packing").values()), new Set(["ann", "bob"]));
});

test("a worker that leaves hands over to the others, and the broker may crash in between: no order is missed", async () => {
  await using broker = await startBroker({ topics: [{ name: "orders", partitions: 4 }] });
  const ledger = new Ledger();
  const work = ledger.work("packing");
  await place(broker);
  {
    await using ann = new Worker(broker.address, { department: "packing", name: "ann", work });
    await ann.ready();
    await ledger.until("packing", 20);
  }
  await broker.crash();
  await broker.restart();
  await using _ = new Worker(broker.address, { department: "packing", name: "bob", work });
  await ledger.until("packing", orders.length);
  const workers = [...ledger.by("packing").values()];
  assert(workers.filter((name) => name === "ann").length >= 20);
  assert.equal(workers.length, orders.length);
});
