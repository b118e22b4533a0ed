import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";

const module = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);

/** A program that sends without looking at the promise, to a topic that is not there. */
const program = `
  import { SimulatedBroker } from ${module("../../test/simulated-broker.ts")};
  import { createClient } from ${module("./client.ts")};
  const broker = await SimulatedBroker.start({ "auto.create.topics.enable": "false" });
  await broker.createTopic("orders");
  const client = createClient({ bootstrap: broker.address }, broker.clientPorts());
  const producer = client.producer();
  void producer.send({ topic: "ordres", value: "x" });
  await broker.scheduler.runUntil(producer.flush());
  await broker.scheduler.runUntil(client.close());
  setTimeout(() => console.log("nobody noticed"), 100);
`;

describe("a delivery that fails and that nobody waits for", () => {
  it("ends the process with a sentence that says which record it was, unless the program decides otherwise", () => {
    const run = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { encoding: "utf8" });
    assert.equal(run.status, 1, run.stdout);
    assert.match(run.stderr, /1 record for "ordres" was not written: There is no topic "ordres"/);
    assert.doesNotMatch(run.stdout, /nobody noticed/);
  });
});
