import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import test from "node:test";
import { createClient } from "./client.ts";
import { startBroker } from "./testing.ts";

for (const data of ["memory", "temporary"]) {
  test(`our producer's records are there once and in order, whatever crashes and gets lost: ${data}`, async () => {
    await using broker = await startBroker({ data, seed: 5, topics: [{ name: "orders", partitions: 2 }] });
    await using client = createClient({ bootstrap: broker.address, backoffMs: 5, backoffMaxMs: 20 });
    await using producer = client.producer();
    const sent: Promise<{ readonly partition: number; readonly offset: number }>[] = [];
    for (let number = 0; number < 300; number++) {
      sent.push(producer.send({ topic: "orders", value: String(number), partition: number % 2 }));
      if (number % 40 === 10) broker.faults.dropNextResponse("Produce");
      if (number % 3 === 0) await sent[number - 2];
      if (number % 75 === 60) {
        await broker.crash();
        await broker.restart();
      }
    }
    const places = await Promise.all(sent);
    const there = await Promise.all([0, 1].map((partition) => broker.records("orders", { partition })));
    const values = there.map((records) => records.map(({ value }) => value));
    const wanted = Array.from({ length: 300 }, (_, number) => String(number));
    assert.deepEqual(
      values[0],
      wanted.filter((_, number) => number % 2 === 0),
    );
    assert.deepEqual(
      values[1],
      wanted.filter((_, number) => number % 2 === 1),
    );
    for (const [number, { partition, offset }] of places.entries()) {
      assert.equal(values[partition]?.[offset], String(number));
    }
  });
}

test("our consumer goes on where it was when the broker comes back", async () => {
  await using broker = await startBroker({ topics: ["orders"] });
  await using client = createClient({ bootstrap: broker.address, backoffMs: 5, backoffMaxMs: 20 });
  await using producer = client.producer();
  await using consumer = client.consumer({ topic: "orders" });
  const seen: string[] = [];
  const reading = (async () => {
    for await (const record of consumer) if (seen.push(String(record.value)) === 4) break;
  })();
  await producer.send({ topic: "orders", value: "1" });
  await producer.send({ topic: "orders", value: "2" });
  await broker.crash();
  await broker.restart();
  await producer.send({ topic: "orders", value: "3" });
  await producer.send({ topic: "orders", value: "4" });
  await reading;
  assert.deepEqual(seen, ["1", "2", "3", "4"]);
});

test("a process whose brokers were closed ends by itself, and nothing was printed", () => {
  const program = `
    import { startBroker } from ${JSON.stringify(join(import.meta.dirname, "testing.ts"))};
    for (const data of ["memory", "temporary"]) {
      await using broker = await startBroker({ data, topics: ["orders"] });
      await broker.crash();
      await broker.restart();
    }
    const failed = await startBroker({ topics: ["orders"] });
    failed.faults.failSync();
    await failed.close();
  `;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    encoding: "utf8",
    timeout: 20_000,
  });
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: "", stderr: "" });
});
