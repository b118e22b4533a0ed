import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
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

test("a write that fails ends the program, unless it wants to do that itself", (t) => {
  const run = (onFailure: string) => {
    const program = `
      import fs from "node:fs";
      import { startBroker } from ${JSON.stringify(join(import.meta.dirname, "broker.ts"))};
      import { createClient } from ${JSON.stringify(join(import.meta.dirname, "client.ts"))};
      const broker = await startBroker({ data: ${JSON.stringify(directory(t))}, port: 0, ${onFailure} });
      const client = createClient({ bootstrap: broker.address });
      await client.admin().createTopic({ topic: "orders" });
      const producer = client.producer();
      await producer.send({ topic: "orders", value: "acknowledged" });
      const refuse = (...args) => args.at(-1)(Object.assign(new Error("refused"), { code: "EIO" }));
      fs.writev = refuse;
      fs.write = refuse;
      await producer.send({ topic: "orders", value: "never acknowledged" });
      console.log("acknowledged");
    `;
    const args = ["--input-type=module", "--eval", program];
    return spawnSync(process.execPath, args, { encoding: "utf8", timeout: 20_000 });
  };
  const thrown = run("");
  assert.notEqual(thrown.status, 0);
  assert.match(thrown.stderr, /WalClosedError: the WAL of epoch 1 stopped/);
  assert.equal(thrown.stdout, "");
  const told = run("onFailure: () => process.exit(7)");
  assert.deepEqual([told.status, told.stdout, told.stderr], [7, "", ""]);
});
