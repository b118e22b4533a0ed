/** Who asks is answered while somebody else works, and also when the work fails. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "holdfast/client";
import { startBroker } from "holdfast/testing";
import { type Answer, Desk, work } from "../offload.ts";

async function answered(desk: Desk, id: string): Promise<Answer> {
  for (;;) {
    const answer = desk.ask(id);
    if (answer.state !== "unknown") return answer;
    await sleep(10);
  }
}

test("jobs are done by others, and their results asked for", { timeout: 60_000 }, async () => {
  await using broker = await startBroker({ topics: ["results"] });
  await using desk = await Desk.open(broker.address);
  const early = await desk.submit("6 * 7");
  assert.deepEqual(desk.ask(early), { state: "unknown" });

  await using client = createClient({ bootstrap: broker.address });
  const queue = client.queue("jobs");
  let attempts = 0;
  const working = work(queue, client.producer(), async (job) => {
    if (job !== "flaky" && !/^[\d* ]+$/.test(job)) throw new Error(`no idea what ${job} is`);
    if (job === "flaky" && ++attempts < 3) throw new Error("try again");
    return job === "flaky" ? "at last" : String(job.split("*").reduce((product, each) => product * Number(each), 1));
  });
  assert.deepEqual(await answered(desk, early), { state: "done", result: "42" });
  assert.deepEqual(await answered(desk, await desk.submit("flaky")), { state: "done", result: "at last" });
  assert.deepEqual(await answered(desk, await desk.submit("??")), {
    state: "failed",
    result: "Error: no idea what ?? is",
  });
  await queue.close();
  await working;
});
