import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { startBroker } from "./broker.ts";
import { createClient } from "./client.ts";

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "holdfast-embedded-"));
  t.after(() => rmSync(path, { recursive: true }));
  return join(path, "data");
}

test("a broker in a program keeps its data, says that it is well, and measures", async (t) => {
  const data = directory(t);
  {
    await using broker = await startBroker({ data, port: 0 });
    await using client = createClient({ bootstrap: broker.address });
    await client.admin().createTopic({ topic: "orders" });
    await client.producer().send({ topic: "orders", value: "kept" });
    assert.deepEqual(broker.health(), { canAcknowledge: true, reason: null });
    assert.match(await broker.metrics(), /^holdfast_wal_written_entries 1$/m);
    await assert.rejects(startBroker({ data, port: 0 }), /is in use by process/);
  }
  await using broker = await startBroker({ data, port: 0 });
  await using client = createClient({ bootstrap: broker.address });
  const values: string[] = [];
  for await (const { value } of client.consumer({ topic: "orders", until: "end" }))
    values.push(String(value));
  assert.deepEqual(values, ["kept"]);
});

test("a directory that another broker has and an address that lets others in are refused, and leave nothing held", async (t) => {
  const data = directory(t);
  await assert.rejects(startBroker({ data, host: "0.0.0.0", port: 0 }), /set insecure if everybody/);
  await using broker = await startBroker({ data: directory(t), port: 0 });
  await assert.rejects(startBroker({ data, port: broker.port }), /is in use/);
  // The lock was given back.
  await (await startBroker({ data, port: 0 })).stop();
});
